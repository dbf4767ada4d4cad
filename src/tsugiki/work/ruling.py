"""The rule book of the verdict: which findings give which of four words, and the codes of its reasons.

Called by work/verdict.py, which makes the findings; no number is looked at here. There are six findings:

    quality     reached   low >= success                       references  better    than every reference (Holm)
                near      estimate >= success > low                        unclear   neither; or one was not measured
                possible  high >= success > estimate                       worse     than at least one (Holm)
                between   success > high, low >= withdraw  against full    holds     not inferior by the margin
                low       success > high >= withdraw > low                 inferior  surely, by more than the margin
                failed    withdraw > high                                  undecided
    retention   kept · breached · unmeasured                               not_compared
    seeds       enough (at least 3 for the candidate and for full, and none failed) · few
    shift       none (the study has no shifted rows) · covered · not_covered · undecided (or not measured)

and the verdict is the first line of this table that fits (TABLE below is the same as data; a test reads both and
walks all 1728 combinations):

    quality      references  against full             retention   seeds   shift         verdict      rule
    failed       any         any                      any         any     any           stop         surely_below_withdrawal
    any          worse       any                      any         any     any           stop         worse_than_reference
    between low  unclear     any                      any         any     any           stop         below_success_without_gain
    low          better      any                      any         any     any           undecidable  around_withdrawal
    between      better      any                      any         any     any           conditional  gain_below_success
    any          unclear     any                      any         any     any           undecidable  no_sure_gain
    possible     better      any                      any         any     any           undecidable  success_unsure
    near         better      undecided not_compared   any         any     any           undecidable  success_and_full_unsure
    near         better      any                      unmeasured  any     any           undecidable  success_and_retention_unsure
    near         better      any                      any         any     any           conditional  success_likely
    reached      better      holds                    kept        enough  none covered  adopt        all_shown
    reached      better      any                      any         any     any           conditional  success_with_conditions

Reasons are (code, values); report/words.py turns them into sentences. Codes and the keys of their values are in
REASON_CODES below. Numbers are on the 0-to-1 scale; losses are nats per token; needed numbers count examples.
"""  # noqa: E501 - the table is read as a table

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

Value = Literal["adopt", "conditional", "stop", "undecidable"]
QualityFinding = Literal["reached", "near", "possible", "between", "low", "failed"]
ReferenceFinding = Literal["better", "unclear", "worse"]
FullFinding = Literal["holds", "inferior", "undecided", "not_compared"]
RetentionFinding = Literal["kept", "breached", "unmeasured"]
SeedFinding = Literal["enough", "few"]
ShiftFinding = Literal["none", "covered", "not_covered", "undecided"]

REASON_CODES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "no_candidate": (),
    "method_failed": ("method",),
    "not_measured": ("method",),  # scores missing, not numbers, or too few test items
    "stale": ("name",),  # measured on another test set than this study's
    "success_reached": ("method", "value", "low", "high", "success"),
    "success_near": ("method", "value", "low", "high", "success"),
    "success_possible": ("method", "value", "low", "high", "success"),
    "below_success": ("method", "value", "low", "high", "success"),
    "around_withdrawal": ("method", "value", "low", "high", "withdraw"),
    "below_withdrawal": ("method", "value", "low", "high", "withdraw"),
    "beats_reference": ("method", "reference", "difference", "low", "high", "p"),
    "not_better_than_reference": ("method", "reference", "difference", "low", "high", "p"),
    "worse_than_reference": ("method", "reference", "difference", "low", "high", "p"),
    "reference_missing": ("reference",),
    "non_inferior": ("method", "difference", "low", "high", "margin", "p", "bound", "confidence"),
    "not_non_inferior": ("method", "difference", "low", "high", "margin", "p"),
    "non_inferiority_undecided": ("method", "difference", "low", "high", "margin", "p"),
    "not_compared_with_full": ("method",),
    "retention_kept": ("method", "loss_before", "loss_after", "rise", "allowed"),
    "retention_breach": ("method", "loss_before", "loss_after", "rise", "allowed"),
    "retention_unmeasured": ("method",),
    "few_seeds": ("method", "seeds", "required"),
    "seeds_failed": ("method", "failed", "seeds"),
    "shift_covered": ("method", "rows", "value", "low", "high", "success", "change", "change_low", "change_high"),
    "shift_not_covered": ("method", "rows", "value", "low", "high", "success", "change", "change_low", "change_high"),
    "shift_undecided": ("method", "rows", "value", "low", "high", "success", "change", "change_low", "change_high"),
    "shift_unmeasured": ("method",),
    "shift_more_than_full": ("method", "difference", "low", "high", "margin"),
    "shift_like_full": ("method", "difference", "low", "high", "margin"),  # more than full's is not shown
    "shift_full_unknown": ("method",),
    "shift_gain": ("method", "difference", "low", "high"),  # of the gain over the base
    "needs_examples": ("examples", "test_items"),
    "no_number_decides": (),  # something was not measured
    "too_close_to_decide": (),  # the sides differ too little, or the seeds more than the sides
})  # fmt: skip

TABLE: tuple[tuple[str, str, str, str, str, str, Value, str], ...] = (
    ("failed", "any", "any", "any", "any", "any", "stop", "surely_below_withdrawal"),
    ("any", "worse", "any", "any", "any", "any", "stop", "worse_than_reference"),
    ("between low", "unclear", "any", "any", "any", "any", "stop", "below_success_without_gain"),
    ("low", "better", "any", "any", "any", "any", "undecidable", "around_withdrawal"),
    ("between", "better", "any", "any", "any", "any", "conditional", "gain_below_success"),
    ("any", "unclear", "any", "any", "any", "any", "undecidable", "no_sure_gain"),
    ("possible", "better", "any", "any", "any", "any", "undecidable", "success_unsure"),
    ("near", "better", "undecided not_compared", "any", "any", "any", "undecidable", "success_and_full_unsure"),
    ("near", "better", "any", "unmeasured", "any", "any", "undecidable", "success_and_retention_unsure"),
    ("near", "better", "any", "any", "any", "any", "conditional", "success_likely"),
    ("reached", "better", "holds", "kept", "enough", "none covered", "adopt", "all_shown"),
    ("reached", "better", "any", "any", "any", "any", "conditional", "success_with_conditions"),
)

Reason = tuple[str, Mapping[str, Any]]


def ruling(
    quality: QualityFinding,
    references: ReferenceFinding,
    full: FullFinding,
    retention: RetentionFinding,
    seeds: SeedFinding,
    shift: ShiftFinding,
) -> tuple[Value, str]:
    """The first line of the table that fits."""
    findings = (quality, references, full, retention, seeds, shift)
    for *allowed, value, rule in TABLE:
        if all(words == "any" or finding in words.split() for words, finding in zip(allowed, findings, strict=True)):
            return value, rule
    raise AssertionError(f"the table leaves out {findings}")
