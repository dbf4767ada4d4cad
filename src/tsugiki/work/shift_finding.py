"""Whether small parts alone carry a model over a shift: one finding of the verdict, with its reasons.

Called by work/verdict.py with plain values, and by `shift` for the numbers of the scorecard. On the shifted rows the
success criterion holds as it does on the test rows. Why it is not met there is told by differences in differences: how
much more the method loses from test rows to shifted rows than full fine-tuning does (is it the small parts?), and than
the untouched base does (is it the gain of training that is lost, or are the rows harder for everyone?).

    covered       the criterion is surely reached on the shifted rows, and full was measured there and does not surely
                  lose less by more than the margin
    not_covered   the criterion is surely not reached there, or full surely loses less by more than the margin
    undecided     neither; or something that the other two need was not measured
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from tsugiki.config import MethodName
from tsugiki.measure.stats import Estimate
from tsugiki.measure.unpaired import difference_in_differences, unpaired_difference
from tsugiki.work.measured import Measured, is_complete
from tsugiki.work.ruling import Reason, ShiftFinding


@dataclass(frozen=True)
class ShiftNumbers:
    """What methods and base did on the shifted rows; who was not measured there is missing."""

    methods: Mapping[MethodName, Measured]
    base: Measured | None
    items: int
    digest: str
    groups: tuple[Hashable, ...] | None = None

    def usable(self, measured: Measured | None) -> Measured | None:
        """None where it is missing, no numbers, or of other rows."""
        sound = measured is not None and measured.test_digest == self.digest and is_complete(measured, self.items)
        return measured if sound else None


@dataclass(frozen=True)
class Pair:
    """One side on the test rows and on the shifted rows; None where it cannot be used."""

    test: Measured | None
    shifted: Measured | None


@dataclass(frozen=True)
class Terms:
    """What is the same for all comparisons of a study."""

    success: float
    confidence: float
    groups: tuple[tuple[Hashable, ...] | None, tuple[Hashable, ...] | None] = (None, None)  # of test and shifted rows
    seed: int = 0


def change(side: Pair) -> Estimate | None:
    """Quality on the shifted rows minus that on the test rows."""
    if side.test is None or side.shifted is None or side.test.quality is None or side.shifted.quality is None:
        return None
    return unpaired_difference(side.shifted.quality, side.test.quality)


def changes_more(ours: Pair, theirs: Pair, terms: Terms) -> Estimate | None:
    """Our change minus theirs: below zero where we lose more."""
    if ours.test is None or ours.shifted is None or theirs.test is None or theirs.shifted is None:
        return None
    return difference_in_differences(
        (ours.test.scores, ours.shifted.scores),
        (theirs.test.scores, theirs.shifted.scores),
        confidence=terms.confidence,
        groups=terms.groups,
        seed=terms.seed,
    )


def judge_shift(
    method: MethodName, ours: Pair, full: Pair, base: Pair, *, margin: float, terms: Terms
) -> tuple[ShiftFinding, list[Reason]]:
    """`margin`: of the comparison with full fine-tuning, as a share."""
    moved = change(ours)
    if ours.shifted is None or ours.shifted.quality is None or moved is None:
        return "undecided", [("shift_unmeasured", {"method": method})]
    quality, against_full = ours.shifted.quality, changes_more(ours, full, terms)
    loses_more = against_full is not None and against_full.high < -margin
    finding: ShiftFinding = "undecided"
    if quality.high < terms.success or loses_more:
        finding = "not_covered"
    elif quality.low >= terms.success and against_full is not None:
        finding = "covered"
    shown = {"method": method, "rows": quality.n, "value": quality.value, "low": quality.low, "high": quality.high}
    shown |= {"success": terms.success, "change": moved.value, "change_low": moved.low, "change_high": moved.high}
    reasons: list[Reason] = [(f"shift_{finding}", shown)]
    if against_full is None:
        reasons.append(("shift_full_unknown", {"method": method}))
    else:
        code = "shift_more_than_full" if loses_more else "shift_like_full"
        reasons.append((code, {"method": method, **_bounds(against_full), "margin": margin}))
    if (gain := changes_more(ours, base, terms)) is not None:
        reasons.append(("shift_gain", {"method": method, **_bounds(gain)}))
    return finding, reasons


def _bounds(found: Estimate) -> dict[str, float]:
    return {"difference": found.value, "low": found.low, "high": found.high}
