"""From a study's test scores to one of four words: adopt, conditional, stop, undecidable.

Called by work/ with plain values; it reads no file, trains nothing and never looks at the test set to choose its
candidate. The candidate is the first small method (lora, adapter, hybrid) in `candidate_order`, which was made on dev,
that did not fail. Six findings about it are made, each from an interval or a test at `criteria.confidence`, and the
verdict is read off the table in work/ruling.py.

Before the table: no candidate, or one whose scores are missing, not numbers, or of another test set, is undecidable
(`nothing_to_judge`). So whatever could not be measured never helps: a missing reference keeps `references` from
"better", missing retention or full fine-tuning keep the verdict from "adopt".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from tsugiki.config import Criteria, MethodName
from tsugiki.measure.stats import (
    Estimate,
    NonInferiority,
    Scores,
    holm,
    margin_for,
    needed_n,
    needed_n_alone,
    non_inferiority,
    paired_difference,
    superiority,
)
from tsugiki.work.measured import Measured, Retention, is_complete
from tsugiki.work.ruling import (
    FullFinding,
    QualityFinding,
    Reason,
    ReferenceFinding,
    RetentionFinding,
    SeedFinding,
    ShiftFinding,
    Value,
    ruling,
)
from tsugiki.work.shift_finding import Pair, ShiftNumbers, Terms, judge_shift

FEWEST_SEEDS = 3
BASE = "base"  # the reference that must be there


@dataclass(frozen=True)
class StudyNumbers:
    methods: Mapping[MethodName, Measured]
    references: Mapping[str, Measured | None]  # base, k-shot, copy, majority; None where it could not be measured
    retention: Mapping[MethodName, Retention]
    candidate_order: tuple[MethodName, ...]  # small methods, best on dev first
    failed: tuple[MethodName, ...]  # without any result
    examples: int  # all examples used: train + dev + test
    test_items: int
    test_digest: str
    groups: tuple[Hashable, ...] | None = None  # of the test items
    seed: int = 0  # of the resampling
    lost_seeds: Mapping[MethodName, int] = field(default_factory=dict)  # trials that failed beside others that did not
    shift: ShiftNumbers | None = None  # None: the study has no shifted rows


@dataclass(frozen=True)
class Verdict:
    value: Value
    rule: str
    reasons: tuple[Reason, ...]
    needed_examples: int | None
    candidate: MethodName | None


def decide(result: StudyNumbers, criteria: Criteria) -> Verdict:
    """The one place where a study's numbers become a verdict."""
    reasons: list[Reason] = [("method_failed", {"method": name}) for name in result.failed]
    candidate = next((name for name in result.candidate_order if name not in result.failed and name != "full"), None)
    if candidate is None:
        return Verdict("undecidable", "nothing_to_judge", (*reasons, ("no_candidate", {})), None, None)
    measured = result.methods.get(candidate)
    fault = _fault(candidate, measured, result)
    if fault is not None or measured is None or measured.quality is None:
        fault = fault or ("not_measured", {"method": candidate})
        return Verdict("undecidable", "nothing_to_judge", (*reasons, fault), None, candidate)
    case = _Case(result, criteria, candidate, measured, measured.quality)
    quality, quality_reason = _judge_quality(case)
    references, reference_reasons = _judge_references(case)
    full, full_reason = _judge_against_full(case)
    retention, retention_reason = _judge_retention(case)
    seeds, seed_reasons = _judge_seeds(case, full)
    shift, shift_reasons = _judge_shift(case)
    value, rule = ruling(quality, references, full, retention, seeds, shift)
    reasons = [
        quality_reason,
        *reference_reasons,
        full_reason,
        retention_reason,
        *seed_reasons,
        *shift_reasons,
        *reasons,
    ]
    needed = None
    if value == "undecidable":
        needed, needed_reason = _needed(case, quality, references, full)
        reasons.append(needed_reason)
    return Verdict(value, rule, tuple(reasons), needed, candidate)


@dataclass(frozen=True)
class _Case:
    result: StudyNumbers
    criteria: Criteria
    candidate: MethodName
    measured: Measured
    quality: Estimate


def _fault(name: str, measured: Measured | None, result: StudyNumbers) -> Reason | None:
    """Why these scores cannot be used, or None."""
    if measured is None or measured.quality is None or not is_complete(measured, result.test_items):
        return "not_measured", {"method": name}
    if measured.test_digest != result.test_digest:
        return "stale", {"name": name}
    return None


def _judge_quality(case: _Case) -> tuple[QualityFinding, Reason]:
    estimate, success, withdraw = case.quality, case.criteria.success, case.criteria.withdraw
    shown = {"method": case.candidate, "value": estimate.value, "low": estimate.low, "high": estimate.high}
    if estimate.high < withdraw:
        return "failed", ("below_withdrawal", {**shown, "withdraw": withdraw})
    if estimate.high < success:
        if estimate.low < withdraw:
            return "low", ("around_withdrawal", {**shown, "withdraw": withdraw})
        return "between", ("below_success", {**shown, "success": success})
    if estimate.value < success:
        return "possible", ("success_possible", {**shown, "success": success})
    if estimate.low < success:
        return "near", ("success_near", {**shown, "success": success})
    return "reached", ("success_reached", {**shown, "success": success})


def _judge_references(case: _Case) -> tuple[ReferenceFinding, list[Reason]]:
    """Against every reference, with Holm over them; reported: those that are missing, and the strongest of the rest."""
    usable, missing = _usable_references(case.result)
    rows = []
    for name, measured in usable.items():
        sides = (case.measured.scores, measured.scores)
        groups, seed = case.result.groups, case.result.seed
        difference = paired_difference(*sides, confidence=case.criteria.confidence, groups=groups, seed=seed)
        p = superiority(*sides, groups=groups, seed=seed)
        if difference is None or p is None:
            missing.append(("reference_missing", {"reference": name}))
        else:
            rows.append((name, difference, p))
    if not rows:
        return "unclear", missing
    rows = [(name, found, p) for (name, found, _), p in zip(rows, holm([p for *_, p in rows]), strict=True)]
    sure = [(difference.value, p) for _, difference, p in rows if p <= 1 - case.criteria.confidence]
    worse = any(value < 0 for value, _ in sure)
    beats = not worse and len(sure) == len(rows)  # all that were measured
    better = beats and not missing
    code = "worse_than_reference" if worse else "beats_reference" if beats else "not_better_than_reference"
    name, difference, p = _telling(rows, code)
    shown = {"method": case.candidate, "reference": name, **_bounds(difference), "p": p}
    return "worse" if worse else "better" if better else "unclear", [(code, shown), *missing]


def _telling(rows: list[tuple[str, Estimate, float]], code: str) -> tuple[str, Estimate, float]:
    """The comparison to report: the one that was lost or left open, the closest one otherwise."""
    if code == "not_better_than_reference":
        return max(rows, key=lambda row: (row[2], -row[1].value))
    return min(rows, key=lambda row: row[1].value)


def _usable_references(result: StudyNumbers) -> tuple[dict[str, Measured], list[Reason]]:
    usable: dict[str, Measured] = {}
    missing: list[Reason] = []
    for name in dict.fromkeys((BASE, *result.references)):
        measured = result.references.get(name)
        fault = _fault(name, measured, result)
        if measured is not None and fault is None:
            usable[name] = measured
        else:
            stale = fault is not None and fault[0] == "stale"
            missing.append(("stale", {"name": name}) if stale else ("reference_missing", {"reference": name}))
    return usable, missing


def _judge_against_full(case: _Case) -> tuple[FullFinding, Reason]:
    found = _compare_with_full(case)
    if found is None:
        return "not_compared", ("not_compared_with_full", {"method": case.candidate})
    shown = {"method": case.candidate, **_bounds(found.difference), "margin": found.margin, "p": found.p}
    if found.holds is None:
        return "undecided", ("non_inferiority_undecided", shown)
    if not found.holds:
        return "inferior", ("not_non_inferior", shown)
    return "holds", ("non_inferior", {**shown, "bound": found.bound, "confidence": case.criteria.confidence})


def _compare_with_full(case: _Case) -> NonInferiority | None:
    full = case.result.methods.get("full")
    if full is None or "full" in case.result.failed or _fault("full", full, case.result) is not None:
        return None
    return non_inferiority(
        case.measured.scores,
        full.scores,
        _margin(case, full),
        confidence=case.criteria.confidence,
        groups=case.result.groups,
        seed=case.result.seed,
    )


def _margin(case: _Case, full: Measured) -> float:
    """Per-item scores on both sides; without a base there is no gain to take a share of, and the points hold."""
    points, share = case.criteria.margin_points, case.criteria.margin_gain_share
    base = _usable_references(case.result)[0].get(BASE)
    level = _mean(full.scores)
    return margin_for(level, level if base is None else _mean(base.scores), points=points, gain_share=share)


def _judge_retention(case: _Case) -> tuple[RetentionFinding, Reason]:
    found = case.result.retention.get(case.candidate)
    before, after = (None, None) if found is None else (found.loss_before, found.loss_after)
    if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
        return "unmeasured", ("retention_unmeasured", {"method": case.candidate})
    allowed = case.criteria.retention_loss
    losses = {"loss_before": before, "loss_after": after, "rise": after - before, "allowed": allowed}
    shown = {"method": case.candidate, **losses}
    return (
        ("kept", ("retention_kept", shown)) if after - before <= allowed else ("breached", ("retention_breach", shown))
    )


def _judge_seeds(case: _Case, full: FullFinding) -> tuple[SeedFinding, list[Reason]]:
    """Full fine-tuning needs its seeds too where the verdict leans on the comparison with it.

    A seed that failed is not one that was never asked for: what is left over looks better than the method is.
    """
    names: tuple[MethodName, ...] = (case.candidate,) if full == "not_compared" else (case.candidate, "full")
    counts = {name: len(case.result.methods[name].scores) for name in names}
    few: list[Reason] = [
        ("few_seeds", {"method": name, "seeds": count, "required": FEWEST_SEEDS})
        for name, count in counts.items()
        if count < FEWEST_SEEDS
    ]
    few += [
        ("seeds_failed", {"method": name, "failed": lost, "seeds": lost + counts[name]})
        for name in names
        if (lost := case.result.lost_seeds.get(name, 0))
    ]
    return "few" if few else "enough", few


def _judge_shift(case: _Case) -> tuple[ShiftFinding, list[Reason]]:
    """Full and base take part where they were measured on both sets of rows (work/shift_finding.py)."""
    result, shift = case.result, case.result.shift
    if shift is None:
        return "none", []
    full = result.methods.get("full")
    full = full if "full" not in result.failed and _fault("full", full, result) is None else None
    return judge_shift(
        case.candidate,
        Pair(case.measured, shift.usable(shift.methods.get(case.candidate))),
        Pair(full, shift.usable(shift.methods.get("full"))),
        Pair(_usable_references(result)[0].get(BASE), shift.usable(shift.base)),
        margin=0.0 if full is None else _margin(case, full),
        terms=Terms(case.criteria.success, case.criteria.confidence, (result.groups, shift.groups), result.seed),
    )


def _needed(
    case: _Case, quality: QualityFinding, references: ReferenceFinding, full: FullFinding
) -> tuple[int | None, Reason]:
    """Examples with which every question that is open here would be decided (each with power 0.8), at this test share.

    At least one test item more than there are, since with these the questions are open. None when more examples would
    not help: a reference could not be measured, or nothing separates two sides.
    """
    confidence, groups = case.criteria.confidence, case.result.groups
    ours = case.measured.scores
    items: list[int | None] = []
    missing: list[Reason] = []
    if quality in ("near", "possible"):
        items.append(needed_n_alone(ours, case.criteria.success, confidence=confidence, groups=groups))
    if quality == "low":
        items.append(needed_n_alone(ours, case.criteria.withdraw, confidence=confidence, groups=groups))
    if references == "unclear":
        usable, missing = _usable_references(case.result)
        hardest = 1 - (1 - confidence) / max(1, len(usable))  # what Holm asks of one of so many
        items += [needed_n(ours, other.scores, confidence=hardest, groups=groups) for other in usable.values()]
    if quality == "near" and full == "undecided":
        rival = case.result.methods["full"]
        margin = _margin(case, rival)
        items.append(needed_n(ours, rival.scores, threshold=-margin, sides=1, confidence=confidence, groups=groups))
    if missing:
        return None, ("no_number_decides", {})
    known = [number for number in items if number is not None]
    if len(known) < len(items):
        return None, ("too_close_to_decide", {})
    test_items = max(case.result.test_items + 1, *known)
    examples = math.ceil(test_items * case.result.examples / case.result.test_items)
    return examples, ("needs_examples", {"examples": examples, "test_items": test_items})


def _bounds(difference: Estimate) -> dict[str, float]:
    return {"difference": difference.value, "low": difference.low, "high": difference.high}


def _mean(scores: Scores) -> float:
    return sum(map(sum, scores)) / sum(map(len, scores))
