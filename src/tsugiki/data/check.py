"""What is in the data, what is wrong with it, and which rows are left to work with.

Called by the study and by `tsugiki check`, after shapes.py and before split.py. Never alters a text and never drops a
row in silence: rows = used + excluded, and each exclusion carries its row number and reason.

Excluded are rows that cannot teach or test anything: an empty prompt or completion, an error value of a spreadsheet, a
field or row that is too long, half characters that no encoding can hold, and copies of an earlier row (prompt and
completion equal up to width and white space; the first one stays). Everything else is a warning, and the row stays:

    the same prompt with different answers is either a labelling error or true ambiguity, and only the owner can tell;
    such rows share a group, so they never stand on both sides of a split;
    personal data and secrets are for the owner to judge before training; the values themselves are never reported.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tsugiki.data.duplicates import NearDuplicates, near_duplicates
from tsugiki.data.keys import Links, closed_labels, text_key
from tsugiki.data.profile import (
    Labels,
    Language,
    Spread,
    control_characters,
    half_character,
    is_formula,
    labels,
    language,
    spread,
    spreadsheet_error,
)
from tsugiki.data.rows import counted, shown
from tsugiki.data.sensitive import SensitiveFinding, masked, sensitive_findings
from tsugiki.data.shapes import Example, Exclusion

NAMED_CHARACTERS = 12  # named one by one in a message; the rest is counted
NAMED_PAIRS = 3


@dataclass(frozen=True)
class Limits:
    characters: int = 20_000  # of one field
    tokens: int = 512  # of prompt and completion together; applies where tokens can be counted


@dataclass(frozen=True)
class Concern:
    """Something to look at; the rows stay in use."""

    kind: str
    message: str
    rows: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...] = ()  # rows that contradict each other, where that is the concern


@dataclass(frozen=True)
class Findings:
    rows: int
    examples: tuple[Example, ...]  # what is used
    groups: tuple[int, ...]  # one per example; rows with the same number never cross a split
    excluded: tuple[Exclusion, ...]
    concerns: tuple[Concern, ...]
    sensitive: tuple[SensitiveFinding, ...]
    closed: bool  # the completions are labels from a closed set (rule: keys.closed_labels)
    labels: Labels | None  # None unless closed; masked where they look like personal data or secrets
    prompt_characters: Spread | None
    completion_characters: Spread | None
    tokens: Spread | None  # None where no tokenizer was given
    languages: dict[Language, int]

    @property
    def used(self) -> int:
        return len(self.examples)

    def as_json(self) -> dict[str, Any]:
        """Counts and row numbers only, no example texts other than labels, contradicting answers, masked excerpts."""
        grouped: dict[int, list[int]] = defaultdict(list)
        for example, group in zip(self.examples, self.groups, strict=True):
            grouped[group].append(example.row)
        return {
            "rows": self.rows,
            "used": self.used,
            "excluded": [asdict(exclusion) for exclusion in self.excluded],
            "concerns": [asdict(concern) for concern in self.concerns],
            "sensitive": [asdict(finding) for finding in self.sensitive],
            "closed_labels": self.closed,
            "labels": None if self.labels is None else asdict(self.labels),
            "prompt_characters": _or_null(self.prompt_characters),
            "completion_characters": _or_null(self.completion_characters),
            "tokens": _or_null(self.tokens),
            "languages": dict(self.languages),
            "groups": [rows for rows in grouped.values() if len(rows) > 1],
        }


def check(
    examples: Sequence[Example],
    *,
    excluded: Sequence[Exclusion] = (),
    limits: Limits | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Findings:
    """Look at every example; `excluded` are the rows that shapes.py could not read, carried into the findings."""
    limits = limits or Limits()
    exclusions = list(excluded)
    kept: list[Example] = []
    tokens: list[int] = []
    for example in examples:
        count = None
        reason = _unusable(example, limits)
        if reason is None and count_tokens is not None:
            count = count_tokens(example.prompt) + count_tokens(example.completion)
            reason = f"{count:,} tokens, the limit is {limits.tokens:,}" if count > limits.tokens else None
        if reason is not None:
            exclusions.append(Exclusion(example.row, reason))
            continue
        kept.append(example)
        if count is not None:
            tokens.append(count)
    used, counts, copies = _without_copies(kept, tokens)
    near = near_duplicates([example.prompt for example in used])
    completions = [example.completion for example in used]
    closed = closed_labels(completions)
    return Findings(
        rows=len(examples) + len(excluded),
        examples=tuple(used),
        groups=_groups(used, near),
        excluded=tuple(sorted([*exclusions, *copies], key=lambda exclusion: exclusion.row)),
        concerns=tuple(_concerns(used, near, closed)),
        sensitive=tuple(sensitive_findings(_fields(examples))),
        closed=closed,
        labels=_masked(labels(completions)) if closed else None,
        prompt_characters=spread([len(example.prompt) for example in used]),
        completion_characters=spread([len(completion) for completion in completions]),
        tokens=spread(counts),
        languages=_languages(used),
    )


def _masked(found: Labels) -> Labels:
    counts = tuple((masked(label), count) for label, count in found.counts)
    return replace(found, counts=counts, rare=tuple(map(masked, found.rare)))


def _unusable(example: Example, limits: Limits) -> str | None:
    for field, text in (("prompt", example.prompt), ("completion", example.completion)):
        if not text.strip():
            return f"the {field} is empty" if not text else f"the {field} is white space only"
        if (error := spreadsheet_error(text)) is not None:
            return f"the {field} is the spreadsheet error {error}"
        if len(text) > limits.characters:
            return f"the {field} has {len(text):,} characters, the limit is {limits.characters:,}"
        if (half := half_character(text)) is not None:
            return f"the {field} holds half a character ({half})"
    return None


def _without_copies(kept: Sequence[Example], tokens: Sequence[int]) -> tuple[list[Example], list[int], list[Exclusion]]:
    first: dict[tuple[str, str], Example] = {}
    used: list[Example] = []
    counts: list[int] = []
    copies: list[Exclusion] = []
    for place, example in enumerate(kept):
        key = (text_key(example.prompt), text_key(example.completion))
        if key in first:
            same = (example.prompt, example.completion) == (first[key].prompt, first[key].completion)
            upto = "" if same else " up to width and spaces"
            copies.append(Exclusion(example.row, f"same as row {first[key].row}{upto}"))
            continue
        first[key] = example
        used.append(example)
        counts.extend(tokens[place : place + 1])
    return used, counts, copies


def _groups(examples: Sequence[Example], near: NearDuplicates) -> tuple[int, ...]:
    """Near duplicates, equal prompts and the owner's groups, closed under all three."""
    links = Links(len(examples))
    links.link_equal(near.groups)
    links.link_equal(text_key(example.prompt) for example in examples)
    links.link_equal(example.group for example in examples)
    return links.roots()


def _concerns(examples: Sequence[Example], near: NearDuplicates, closed: bool) -> Iterator[Concern]:
    yield from _contradictions(examples)
    yield from _near(examples, near)
    if same := tuple(e.row for e in examples if text_key(e.prompt) == text_key(e.completion)):
        yield Concern("copy", "The completion equals the prompt: nothing to learn but copying.", same)
    answers = Counter(text_key(example.completion) for example in examples)
    if len(answers) == 1 and len(examples) > 1:
        yield Concern("constant", "All completions are the same: there is nothing to tell apart.", ())
    if closed and max(answers.values()) >= 0.8 * len(examples):
        share = max(answers.values()) / len(examples)
        yield Concern("imbalance", f"One label covers {share:.0%} of the rows: always giving it scores as much.", ())
    yield from _characters(examples)
    formulas = tuple(e.row for e in examples if is_formula(e.prompt) or is_formula(e.completion))
    if formulas:
        yield Concern("formula", "Looks like a spreadsheet formula, which is learned as text.", formulas)


def _contradictions(examples: Sequence[Example]) -> Iterator[Concern]:
    answers: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        answers[text_key(example.prompt)].append(example)
    # Copies are gone, so two rows with one prompt always differ in their answers.
    several = [same for same in answers.values() if len(same) > 1]
    if several:
        pairs = "; ".join(
            f"row {first.row} and row {second.row}: same prompt, answers {_answer(first)} / {_answer(second)}"
            for first, second, *_ in several[:NAMED_PAIRS]
        )
        more = f"; and {counted(len(several) - NAMED_PAIRS, 'more prompt')}" if len(several) > NAMED_PAIRS else ""
        text = (
            f"{counted(len(several), 'prompt')} with several different answers; correct or merge them ({pairs}{more})."
        )
        rows = sorted(example.row for same in several for example in same)
        groups = tuple(tuple(example.row for example in same) for same in several)
        yield Concern("contradiction", text, tuple(rows), groups)


def _answer(example: Example) -> str:
    return shown(masked(example.completion), 20)


def _near(examples: Sequence[Example], near: NearDuplicates) -> Iterator[Concern]:
    if not near.searched:
        text = "Too much text to search for near duplicates; only equal prompts are kept together."
        yield Concern("near-duplicates-not-searched", text, ())
    sizes = Counter(near.groups)
    prompts: dict[int, set[str]] = defaultdict(set)
    for example, group in zip(examples, near.groups, strict=True):
        if sizes[group] > 1:
            prompts[group].add(text_key(example.prompt))
    alike = {group for group, keys in prompts.items() if len(keys) > 1}
    if alike:
        rows = tuple(e.row for e, group in zip(examples, near.groups, strict=True) if group in alike)
        text = f"{len(rows)} rows have nearly the same prompt as another ({counted(len(alike), 'group')}, kept whole)."
        yield Concern("near-duplicate", text, rows)
    for family in near.families:
        text = (
            f"{len(family)} prompts form one chain of similar texts, too large to keep whole; only closer copies among "
            "them are kept together, so test results may look slightly too good."
        )
        yield Concern("large-family", text, tuple(examples[place].row for place in family))


def _characters(examples: Sequence[Example]) -> Iterator[Concern]:
    names: dict[str, None] = {}
    rows: list[int] = []
    for example in examples:
        found = control_characters(example.prompt) + control_characters(example.completion)
        if found:
            rows.append(example.row)
            names.update(dict.fromkeys(found))
    if rows:
        named = list(names)[:NAMED_CHARACTERS] + (
            [f"{len(names) - NAMED_CHARACTERS} more"] * (len(names) > NAMED_CHARACTERS)
        )
        text = f"Invisible, private or damaged characters ({', '.join(named)}); they are learned as they are."
        yield Concern("control-character", text, tuple(rows))


def _languages(examples: Sequence[Example]) -> dict[Language, int]:
    counts = Counter(language(f"{example.prompt}\n{example.completion}") for example in examples)
    return {name: counts[name] for name in ("ja", "en", "other")}


def _fields(examples: Sequence[Example]) -> Iterator[tuple[int, Any, str]]:
    for example in examples:
        yield example.row, "prompt", example.prompt
        yield example.row, "completion", example.completion


def _or_null(value: Spread | None) -> dict[str, Any] | None:
    return None if value is None else asdict(value)
