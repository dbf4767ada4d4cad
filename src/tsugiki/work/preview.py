"""What a study would say about a data file, before any study: for `tsugiki check` and `tsugiki estimate`.

Reads, checks and splits as `prepare` does for a study. What a study would refuse is a concern here, in the study's own
words. Holds no model; who has a tokenizer passes a function that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tsugiki.config import Design
from tsugiki.data.check import Concern, Findings, check
from tsugiki.data.shapes import Example
from tsugiki.data.split import FEWEST_ROWS
from tsugiki.errors import DataError
from tsugiki.work.prepare import Source, blaming_length, checked, divided, refuse_none

Lengths = Sequence[tuple[int, int]]  # tokens of prompt and completion, one per usable row
CountTokens = Callable[[Sequence[Example]], Lengths]

RECOMMENDED_ROWS = 50


@dataclass(frozen=True)
class Preview:
    findings: Findings  # with what a study would say among the concerns
    warnings: tuple[str, ...]  # these concerns alone
    train_rows: int | None  # None: a study would not start
    too_long: int
    lengths: Lengths  # of the rows that are short enough


def preview(source: Source, design: Design, longest: int, count: CountTokens | None = None) -> Preview:
    usable = check(source.examples, excluded=source.guess.excluded)
    lengths = [] if count is None else count(usable.examples)
    findings = usable if count is None else checked(source, usable.examples, lengths, longest)
    warnings, train_rows = [], None
    try:
        refuse_none(source, usable)
        divided(source, usable, design)
        with blaming_length(lengths, longest):
            train_rows = len(divided(source, findings, design).train)
    except DataError as refusal:
        warnings.append(Concern("refused", f"A study would refuse this file. {refusal}", ()))
    if findings.used < RECOMMENDED_ROWS:
        text = f"A study takes {FEWEST_ROWS} usable rows at least, {RECOMMENDED_ROWS} are recommended; there are "
        warnings.append(Concern("few", f"{text}{findings.used}.", ()))
    fitting = tuple(pair for pair in lengths if sum(pair) <= longest)
    return Preview(
        findings=replace(findings, concerns=(*warnings, *findings.concerns)),
        warnings=tuple(warning.message for warning in warnings),
        train_rows=train_rows,
        too_long=len(lengths) - len(fitting),
        lengths=fitting,
    )
