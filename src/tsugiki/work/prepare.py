"""From the user's data file to what a study trains and tests on, written into the study folder.

Called by `study` before anything is trained, and by `tsugiki train`. The rows that are not used are listed with their
reasons in data/check.json; the parts are data/train.jsonl, dev.jsonl and test.jsonl. Holds no model: the tokens of a
row were counted by the inspection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tsugiki.config import Design, MetricName
from tsugiki.data.check import Concern, Findings, Limits, check
from tsugiki.data.keys import text_key
from tsugiki.data.read import Table, read_table
from tsugiki.data.rows import counted
from tsugiki.data.shapes import Columns, Example, Guess, to_examples
from tsugiki.data.split import Splits, nested_subsets, split, split_by_column
from tsugiki.errors import DataError
from tsugiki.files import write_json
from tsugiki.work.examples import read_examples, write_examples

ALL, TRAIN, DEV, TEST = "data/examples.jsonl", "data/train.jsonl", "data/dev.jsonl", "data/test.jsonl"
CHECK = "data/check.json"
GROUP_COLUMN = "group"  # taken where a table has it and the user has named no other
SPLIT_SEED = 0
FEWEST_TEST_GROUPS = 5  # below which no interval is made (measure.stats.FEWEST_UNITS)


@dataclass(frozen=True)
class DataSpec:
    """The data file and what the user said about its columns."""

    path: Path
    columns: Columns = field(default_factory=Columns)
    sheet: str | None = None
    split_column: str | None = None


@dataclass(frozen=True)
class Source:
    """The data file as it was read; nothing checked yet but its form."""

    spec: DataSpec
    table: Table
    examples: tuple[Example, ...]
    guess: Guess

    def as_lock(self) -> dict[str, Any]:
        return {
            "file": self.spec.path.name,
            "digest": self.table.digest,
            "sheet": self.spec.sheet,
            "columns": list(self.guess.columns),
            "split_column": self.spec.split_column,
        }


def read_source(spec: DataSpec) -> Source:
    """Read as every command reads; a prompt of a column that ends in no white space gets a line end behind it."""
    table = read_table(spec.path, sheet=spec.sheet)
    if spec.split_column is not None:
        table.column(spec.split_column)  # a wrong name is an error that lists the right ones
    columns = spec.columns
    if columns.group is None:
        columns = replace(columns, group=_group_column(table, columns))
    found, guess = to_examples(table, columns)
    examples = tuple(map(_with_line_end, found))
    ended = sum(before is not after for before, after in zip(found, examples, strict=True))
    if ended:
        sentence = (
            f"{ended:,} of {len(examples):,} prompts end without white space; a line end was put behind each, so that "
            "the answer stands on a line of its own."
        )
        guess = replace(guess, sentence=f"{guess.sentence} {sentence}")
    return Source(spec, table, examples, guess)


def _group_column(table: Table, columns: Columns) -> str | None:
    """`Group` and `ＧＲＯＵＰ` are taken too, as other column names are; one that has another use is not."""
    free = [column for column in table.columns if column not in (columns.prompt, columns.completion)]
    return next((column for column in free if text_key(column).casefold() == GROUP_COLUMN), None)


def _with_line_end(example: Example) -> Example:
    """Glued to its prompt (`AB-0000-0締結`), an answer is part of a word that no tokenizer cuts where it begins."""
    prompt = example.prompt
    if example.messages is not None or not prompt or prompt[-1].isspace():
        return example
    return replace(example, prompt=prompt + "\n")


def study_examples(source: Source, design: Design, metric: MetricName) -> tuple[Example, ...]:
    """The usable rows; refuses what a study could not split or score later, before any base is loaded."""
    from tsugiki.measure.metrics import scores_of  # not at the top: a trial imports this file and measures its memory

    findings = usable_findings(source)
    divided(source, findings, design)
    completions = [example.completion for example in findings.examples]
    scores_of(metric, completions, completions)  # the references themselves must be scorable
    return findings.examples


def write_parts(source: Source, folder: Path, findings: Findings, splits: Splits) -> None:
    """Write parts and findings; check.json comes last."""
    for name, part in ((TRAIN, splits.train), (DEV, splits.dev), (TEST, splits.test)):
        write_examples(folder / name, part)
    write_json(
        folder / CHECK,
        {
            **_after_split(findings, splits).as_json(),
            "reading": source.guess.sentence,
            "notes": list(source.table.notes),
            "digest": source.table.digest,
            "parts": {"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test)},
            "train_groups": list(splits.train_groups),
        },
    )


def _after_split(findings: Findings, splits: Splits) -> Findings:
    """What was said of similar rows, as the user's own split has it."""
    if not splits.crossing:
        return findings
    text = f"{counted(len(splits.crossing), 'test row')} nearly equal to rows outside the test part."
    others = tuple(concern for concern in findings.concerns if concern.kind != "near-duplicate")
    return replace(findings, concerns=(*others, Concern("crossing", text, splits.crossing)))


def read_check(folder: Path) -> dict[str, Any] | None:
    path = folder / CHECK
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def subset_name(size: int, seed: int) -> str:
    return f"data/train-n{size}-s{seed}.jsonl"


def write_subsets(folder: Path, found: Mapping[str, Any], wanted: Sequence[tuple[int, int]]) -> None:
    """Nested training subsets for (size, seed); each seed draws its own, so that the curve shows that spread too."""
    train = read_examples(folder / TRAIN)
    for seed in sorted({seed for _, seed in wanted}):
        sizes = [size for size, other in wanted if other == seed]
        subsets = nested_subsets(
            train, sizes, seed=seed, groups=found["train_groups"], closed=bool(found["closed_labels"])
        )
        for size, part in subsets.items():
            write_examples(folder / subset_name(size, seed), part)


def usable_findings(source: Source) -> Findings:
    """The rows that a tokenizer may see, and the others with their reasons."""
    findings = check(source.examples, excluded=source.guess.excluded)
    refuse_none(source, findings)
    return findings


def refuse_none(source: Source, findings: Findings) -> None:
    if not findings.examples:
        raise DataError(
            f"None of the {findings.rows} rows of {source.spec.path.name} can be used: row "
            f"{findings.excluded[0].row}: {findings.excluded[0].reason}.",
            fix="Run `tsugiki check` on it to see every row.",
        )


def checked(source: Source, usable: Sequence[Example], lengths: Sequence[Sequence[int]], longest: int) -> Findings:
    """`lengths` are tokens of the rendered prompt and the completion; a text that is both counts as the longer one."""
    counts: dict[str, int] = {}
    for example, (prompt, completion) in zip(usable, lengths, strict=True):
        for text, count in ((example.prompt, prompt), (example.completion, completion)):
            counts[text_key(text)] = max(count, counts.get(text_key(text), 0))  # a copy is as long as its first row
    return check(
        source.examples,
        excluded=source.guess.excluded,
        limits=Limits(tokens=longest),
        count_tokens=lambda text: counts.get(text_key(text), 0),
    )


@contextmanager
def blaming_length(lengths: Sequence[Sequence[int]], longest: int) -> Iterator[None]:
    """Where rows were left out for their length, a refusal of the rest says so: more rows would not help."""
    too_long = [tokens for tokens in map(sum, lengths) if tokens > longest]
    try:
        yield
    except DataError as refusal:
        if not too_long:
            raise
        rows = "1 row is" if len(too_long) == 1 else f"{len(too_long):,} rows are"
        raise DataError(
            f"{refusal.problem} {rows} left out for being longer than {longest:,} tokens (up to {max(too_long):,}).",
            fix=f"Pass --max-length {max(too_long)}, which needs more memory, or shorten them.",
        ) from None


def divided(source: Source, findings: Findings, design: Design) -> Splits:
    """The parts of a study; nothing is written yet."""
    if source.spec.split_column is not None:
        cells = source.table.column(source.spec.split_column)
        splits = split_by_column(findings.examples, findings.groups, cells)
    else:
        splits = split(
            findings.examples,
            findings.groups,
            test_share=design.test_share,
            dev_share=design.dev_share,
            seed=SPLIT_SEED,
            closed=findings.closed,
        )
    _refuse_few_tests(findings, splits)
    return splits


def _refuse_few_tests(findings: Findings, splits: Splits) -> None:
    """A study of fewer could only end without an interval, whatever it trains."""
    group_of = {example.row: group for example, group in zip(findings.examples, findings.groups, strict=True)}
    apart = len({group_of[example.row] for example in splits.test})
    if apart < FEWEST_TEST_GROUPS:
        raise DataError(
            f"The test part has {counted(len(splits.test), 'row')} in {counted(apart, 'group')} that stay together, "
            f"and at least {FEWEST_TEST_GROUPS} groups (or single rows) are needed to tell anything.",
            fix="Add rows, raise --test-share, or choose a finer group column.",
        )
