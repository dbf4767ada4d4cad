"""The table of verdicts, combination by combination."""

import itertools
from typing import get_args

from tsugiki.work import ruling as rules
from tsugiki.work.ruling import TABLE, ruling

FINDINGS = [
    get_args(kind)
    for kind in (
        rules.QualityFinding, rules.ReferenceFinding, rules.FullFinding,
        rules.RetentionFinding, rules.SeedFinding, rules.ShiftFinding,
    )
]  # fmt: skip


def documented_table():
    """The table as the module docstring prints it, cut at the columns of its heading."""
    heading, *lines = rules.__doc__.split("combinations):\n\n")[1].split("\n\n")[0].splitlines()
    names = ("quality", "references", "against full", "retention", "seeds", "shift", "verdict", "rule")
    edges = [*map(heading.index, names), None]
    return tuple(tuple(line[a:b].strip() for a, b in itertools.pairwise(edges)) for line in lines)


def test_the_docstring_prints_the_table():
    assert documented_table() == TABLE


def test_every_combination_has_exactly_one_verdict_and_every_line_is_needed():
    combinations = list(itertools.product(*FINDINGS))
    assert len(combinations) == 1728
    outcomes = {combination: ruling(*combination) for combination in combinations}
    assert {value for value, _ in outcomes.values()} == set(get_args(rules.Value))
    assert {rule for _, rule in outcomes.values()} == {row[-1] for row in TABLE}
    known = {word for finding in FINDINGS for word in finding} | {"any"}
    assert {word for row in TABLE for cell in row[:6] for word in cell.split()} <= known


def test_a_worse_finding_never_gives_a_better_verdict():
    """Along each finding, from best to worst, with the others held: the verdict never moves towards adopt."""
    order = {"adopt": 0, "conditional": 1, "undecidable": 2, "stop": 3}
    chains = [("reached", "near", "possible"), ("better", "unclear", "worse"), ("holds", "undecided", "not_compared"),
              ("kept", "unmeasured"), ("enough", "few"), ("covered", "undecided"),
              ("covered", "not_covered")]  # fmt: skip
    places = (0, 1, 2, 3, 4, 5, 5)
    for place, chain in zip(places, chains, strict=True):
        for combination in itertools.product(*FINDINGS):
            ranks = [order[ruling(*combination[:place], word, *combination[place + 1 :])[0]] for word in chain]
            assert ranks == sorted(ranks), (chain, combination)


def test_only_one_combination_adopts_with_or_without_shifted_rows():
    adopting = [each for each in itertools.product(*FINDINGS) if ruling(*each)[0] == "adopt"]
    shown = ("reached", "better", "holds", "kept", "enough")
    assert adopting == [(*shown, "none"), (*shown, "covered")]
