"""From the user's data file to what a study trains and tests on, written into the study folder.

Called by `study` before anything is trained, and by `tsugiki train`. The rows that are not used are listed with their
reasons in data/check.json; the parts are data/train.jsonl, dev.jsonl and test.jsonl, and shift.jsonl where the user's
split names shifted rows. Holds no model: the tokens of a row were counted by the inspection.
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
from tsugiki.data.dates import holds_dates, moment_text, read_moments
from tsugiki.data.keys import text_key
from tsugiki.data.read import Table, read_table
from tsugiki.data.rows import counted, shown
from tsugiki.data.shapes import Columns, Example, Guess, to_examples
from tsugiki.data.split import Splits, nested_subsets, split, split_by_column
from tsugiki.data.time_split import time_split
from tsugiki.errors import DataError, StudyError, UsageError
from tsugiki.files import write_json
from tsugiki.work.examples import read_examples, write_examples
from tsugiki.work.slice_columns import SliceColumn, named_columns, slice_columns_of, write_slice_columns

ALL, TRAIN, DEV, TEST = "data/examples.jsonl", "data/train.jsonl", "data/dev.jsonl", "data/test.jsonl"
SHIFT = "data/shift.jsonl"  # only where the user's split has shifted rows
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
    time_column: str | None = None  # the newest rows test
    slice_columns: tuple[str, ...] = ()  # as the user wrote them: names, or lists of names with commas


@dataclass(frozen=True)
class Source:
    """The data file as it was read; nothing checked yet but its form."""

    spec: DataSpec
    table: Table
    examples: tuple[Example, ...]
    guess: Guess
    slice_columns: tuple[str, ...] = ()
    date_column: str | None = None  # holds dates, and nothing was said about it

    @property
    def suggestions(self) -> tuple[str, ...]:
        """What the user might want to say as well; nothing is taken for said."""
        if self.date_column is None or self.spec.time_column is not None or self.spec.split_column is not None:
            return ()
        name = shown(self.date_column)
        return (f"The column {name} holds dates; --time-column {name} would test on its newest rows.",)

    def as_lock(self) -> dict[str, Any]:
        return {
            "file": self.spec.path.name,
            "digest": self.table.digest,
            "sheet": self.spec.sheet,
            "columns": list(self.guess.columns),
            "split_column": self.spec.split_column,
            "time_column": self.spec.time_column,
            "slice_columns": list(self.slice_columns),
        }


def read_source(spec: DataSpec) -> Source:
    """Read as every command reads; a prompt of a column that ends in no white space gets a line end behind it."""
    if spec.split_column is not None and spec.time_column is not None:
        raise UsageError(
            f"--split-column {spec.split_column!r} and --time-column {spec.time_column!r} both say which rows test.",
            fix="Leave one of them out.",
        )
    table = read_table(spec.path, sheet=spec.sheet)
    for name in (spec.split_column, spec.time_column):
        if name is not None:
            table.column(name)  # a wrong name is an error that lists the right ones
    slice_columns = named_columns(table, spec.slice_columns)
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
    return Source(spec, table, examples, guess, slice_columns, _date_column(table, guess))


def _date_column(table: Table, guess: Guess) -> str | None:
    return next((name for name in guess.unused if holds_dates(row.get(name) for row in table.rows)), None)


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
    for name, part in ((TRAIN, splits.train), (DEV, splits.dev), (TEST, splits.test), (SHIFT, splits.shift)):
        if part or name != SHIFT:
            write_examples(folder / name, part)
    write_slice_columns(folder, columns_to_slice(source, (*splits.test, *splits.shift)))
    shifted = {"shift": len(splits.shift)} if splits.shift else {}
    write_json(
        folder / CHECK,
        {
            **_after_split(findings, splits).as_json(),
            "reading": source.guess.sentence,
            "notes": [*source.table.notes, *source.suggestions],
            "digest": source.table.digest,
            "parts": {"train": len(splits.train), "dev": len(splits.dev), "test": len(splits.test), **shifted},
            "split": _how_split(source, splits),
            "train_groups": list(splits.train_groups),
        },
    )


def columns_to_slice(source: Source, tested: Sequence[Example]) -> list[SliceColumn]:
    """Those that the user named, and those that are taken without being asked for."""
    return slice_columns_of(
        source.table,
        [example.row for example in tested],
        named=source.slice_columns,
        unused=source.guess.unused,
        time_column=source.spec.time_column or source.date_column,
        split_column=source.spec.split_column,
    )


def _how_split(source: Source, splits: Splits) -> dict[str, Any]:
    """`by`: chance, column or time; of a split by time also the first moments of dev and test."""
    if splits.timeline is None:
        column = source.spec.split_column
        return {"by": "chance" if column is None else "column", "column": column}
    starts = {"dev_from": moment_text(splits.timeline.dev_from), "test_from": moment_text(splits.timeline.test_from)}
    return {"by": "time", "column": source.spec.time_column, **starts}


def _after_split(findings: Findings, splits: Splits) -> Findings:
    """What was said of similar rows, as the user's own split has it, and what a split by time or shift brings."""
    concerns = findings.concerns
    if splits.crossing:
        text = f"{counted(len(splits.crossing), 'test row')} nearly equal to rows outside the test part."
        others = (concern for concern in concerns if concern.kind != "near-duplicate")
        concerns = (*others, Concern("crossing", text, splits.crossing))
    if splits.shift_crossing:
        text = f"{counted(len(splits.shift_crossing), 'shifted row')} nearly equal to rows of train or dev."
        concerns = (*concerns, Concern("shift-crossing", text, splits.shift_crossing))
    if splits.timeline is not None and (older := splits.timeline.older):
        text = f"{counted(len(older), 'row')} of dev and test no newer than train's last one, in groups that end later."
        concerns = (*concerns, Concern("older", text, older))
    if findings.closed and (splits.timeline is not None or splits.shift):
        learned = {text_key(example.completion) for example in splits.train}
        rows = tuple(e.row for e in (*splits.test, *splits.shift) if text_key(e.completion) not in learned)
        text = f"{counted(len(rows), 'tested row')} with a label that no training row has."
        concerns = (*concerns, Concern("new-label", text, rows)) if rows else concerns
    return replace(findings, concerns=concerns)


def read_check(folder: Path) -> dict[str, Any] | None:
    path = folder / CHECK
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = [int(found["parts"][part]) for part in ("train", "dev", "test")], found["groups"], found["closed_labels"]
    except (OSError, ValueError, TypeError, KeyError):
        raise StudyError(
            f"{path} is damaged: it does not say how the rows were divided.",
            fix="Put the file back, or start the study again in another folder.",
        ) from None
    return found


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
    shares = {"test_share": design.test_share, "dev_share": design.dev_share}
    if source.spec.split_column is not None:
        cells = source.table.column(source.spec.split_column)
        splits = split_by_column(findings.examples, findings.groups, cells)
    elif source.spec.time_column is not None:
        cells = source.table.column(source.spec.time_column)
        moments = read_moments(cells, [example.row for example in findings.examples], source.spec.time_column)
        splits = time_split(findings.examples, findings.groups, moments, **shares)
    else:
        splits = split(
            findings.examples,
            findings.groups,
            **shares,
            seed=SPLIT_SEED,
            closed=findings.closed,
        )
    _refuse_few_tests(
        findings, "test", splits.test, fix="Add rows, raise --test-share, or choose a finer group column."
    )
    if splits.shift:
        fix = "Name more rows shift, or name these test in the split column."
        _refuse_few_tests(findings, "shift", splits.shift, fix=fix)
    return splits


def _refuse_few_tests(findings: Findings, name: str, part: Sequence[Example], *, fix: str) -> None:
    """A study of fewer could only end without an interval, whatever it trains."""
    group_of = {example.row: group for example, group in zip(findings.examples, findings.groups, strict=True)}
    apart = len({group_of[example.row] for example in part})
    if apart < FEWEST_TEST_GROUPS:
        raise DataError(
            f"The {name} part has {counted(len(part), 'row')} in {counted(apart, 'group')} that stay together, "
            f"and at least {FEWEST_TEST_GROUPS} groups (or single rows) are needed to tell anything.",
            fix=fix,
        )
