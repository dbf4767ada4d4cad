"""What a version has to show for a stage, gate by gate: pass, fail or undecidable.

Called by the lifecycle at request, at approval and at promotion, and by `tsugiki registry gates`. Only what is there,
finite, young enough and on the right side with its whole interval passes: a number that is missing is undecidable,
which is never a pass. Reads plain values and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tsugiki.work.policy import Gates

Verdict = Literal["pass", "fail", "undecidable"]
OF_STUDY = (
    "verdict", "quality_at_least", "worse_than_full_at_most", "retention_loss_at_most", "slice_worse_at_most",
    "evidence_days",
)  # fmt: skip


CLOCKS_DIFFER = timedelta(minutes=5)  # between two machines


@dataclass(frozen=True)
class Judged:
    """One gate: `says` is a sentence with what was found and what was asked."""

    gate: str
    verdict: Verdict
    says: str


@dataclass(frozen=True)
class Shown:
    """What a version can show: the summary of its newest study, its compatibility reports, and what its data are."""

    summary: Mapping[str, Any] | None
    reports: Sequence[Mapping[str, Any]]  # the newest last
    data: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Interval:
    estimate: float
    low: float
    high: float


def judge(gates: Gates, shown: Shown, *, at: datetime) -> tuple[Judged, ...]:
    """Every gate that the policy has on, in the order of the policy."""
    return (*_of_the_study(gates, shown.summary, at), *_of_the_version(gates, shown))


def verdict_of(judged: Sequence[Judged]) -> Verdict:
    """Fail where one fails, else undecidable where one is, else pass."""
    found = {one.verdict for one in judged}
    return "fail" if "fail" in found else "undecidable" if "undecidable" in found else "pass"


def _of_the_study(gates: Gates, summary: Mapping[str, Any] | None, at: datetime) -> Iterator[Judged]:
    if summary is None and any(getattr(gates, name) is not None for name in OF_STUDY):
        yield Judged("evidence", "undecidable", "No study is attached to the version as its evidence.")
        return
    if gates.verdict is not None:
        yield _verdict(summary, gates.verdict)
    if gates.quality_at_least is not None:
        yield _quality(summary, gates.quality_at_least)
    if gates.worse_than_full_at_most is not None:
        yield _against_full(summary, gates.worse_than_full_at_most)
    if gates.retention_loss_at_most is not None:
        yield _retention(summary, gates.retention_loss_at_most)
    if gates.slice_worse_at_most is not None:
        yield _slices(summary, gates.slice_worse_at_most)
    if gates.evidence_days is not None:
        yield _age(_at(summary, "made_at"), gates.evidence_days, at)


def _of_the_version(gates: Gates, shown: Shown) -> Iterator[Judged]:
    for target in gates.compatibility:
        yield _compatibility(target, shown.reports)
    if gates.licence_and_purpose:
        yield _licence_and_purpose(shown.data)


def _verdict(summary: Any, accepted: Sequence[str]) -> Judged:
    found = _at(summary, "verdict", "value")
    asked = f"asked is {' or '.join(accepted)}"
    if found in accepted:
        return Judged("verdict", "pass", f"The verdict of the study is {found}; {asked}.")
    if found in ("adopt", "conditional", "stop"):
        return Judged("verdict", "fail", f"The verdict of the study is {found}; {asked}.")
    why = _at(summary, "verdict", "reason")
    said = "undecidable" if found == "undecidable" else "missing" + (f" ({why})" if isinstance(why, str) else "")
    return Judged("verdict", "undecidable", f"The verdict of the study is {said}; {asked}.")


def _quality(summary: Any, wanted: Any) -> Judged:
    metric = _at(summary, "quality", "metric")
    limit = _number(_at(summary, "criteria", "success") if wanted == "study" else wanted)
    found = _interval(_at(summary, "quality"))
    # The study's own criterion is about the study's own metric.
    if wanted == "study" and (not metric or metric != _at(summary, "criteria", "metric")):
        found = None
    return _on_one_side("quality_at_least", f"The quality ({metric})", found, limit)


def _against_full(summary: Any, wanted: Any) -> Judged:
    found = _interval(_at(summary, "against_full", "difference"))
    margin = _number(_at(summary, "against_full", "margin") if wanted == "study" else wanted / 100)
    limit = None if margin is None or margin < 0 else -margin
    return _on_one_side("worse_than_full_at_most", "The difference to full fine-tuning", found, limit)


def _retention(summary: Any, wanted: Any) -> Judged:
    gate = "retention_loss_at_most"
    limit = _number(_at(summary, "criteria", "retention_loss") if wanted == "study" else wanted)
    before, after = (_number(_at(summary, "retention", name)) for name in ("loss_before", "loss_after"))
    if before is None or after is None or limit is None:
        return Judged(
            gate, "undecidable", f"The rise of the loss on general text is missing; asked is {_or(limit)} at most."
        )
    rise = after - before
    says = f"The loss on general text rose by {rise:.4g} nats per token; asked is {limit:.4g} at most."
    return Judged(gate, "pass" if rise <= limit else "fail", says)


def _slices(summary: Any, points: float) -> Judged:
    gate, asked = "slice_worse_at_most", f"asked is {points:g} points at most"
    found, method = _at(summary, "slices"), _at(summary, "method")
    looked_at = _number(_at(found, "looked_at"))
    if not isinstance(found, Mapping) or "worst" not in found or looked_at is None or looked_at < 1:
        return Judged(gate, "undecidable", f"No part of the test rows could be compared with the whole; {asked}.")
    worst = found["worst"]
    if worst is None:
        return Judged(gate, "pass", f"None of {looked_at:g} parts is surely worse than the whole; {asked}.")
    name = f"The difference of the weakest part ({method}) to the whole"
    return _on_one_side(gate, name, _interval(_at(worst, "difference")), -points / 100)


def _age(made_at: Any, days: int, at: datetime) -> Judged:
    gate, made = "evidence_days", _moment(made_at)
    if made is None:
        return Judged(
            gate, "undecidable", f"The study does not say when it was made; asked is {days} days ago at most."
        )
    age = at - made
    if age < -CLOCKS_DIFFER:
        return Judged(gate, "undecidable", f"The study was made in the future, on {made:%Y-%m-%d}; its age is unknown.")
    says = f"The study is {max(age.days, 0)} days old; asked is {days} at most."
    return Judged(gate, "pass" if age <= timedelta(days=days) else "fail", says)


def _compatibility(target: str, reports: Sequence[Mapping[str, Any]]) -> Judged:
    """The newest report that looked at the target counts, with all of its rules."""
    gate = f"compatibility:{target}"
    looked = [found for report in reports if (found := _outcomes(report, target))]
    if not looked:
        return Judged(gate, "undecidable", f"There is no compatibility report for {target}; asked is one that passed.")
    outcomes = looked[-1]
    verdict: Verdict = "fail" if "fail" in outcomes else "pass" if set(outcomes) == {"pass"} else "undecidable"
    passed = outcomes.count("pass")
    says = f"{passed} of {len(outcomes)} rules of compatibility with {target} passed; asked are all."
    return Judged(gate, verdict, says)


def _outcomes(report: Any, target: str) -> list[str]:
    """Of each rule about the target; a report with a part that cannot be read says nothing about anything."""
    results = _at(report, "results")
    whole = isinstance(results, list) and all(
        isinstance(_at(one, name), str) for one in results for name in ("target", "outcome")
    )
    if not whole:
        return ["unreadable"]
    return [one["outcome"] for one in results if one["target"] == target]


def _licence_and_purpose(data: Sequence[Mapping[str, Any]]) -> Judged:
    gate = "licence_and_purpose"
    if not data:
        return Judged(
            gate, "undecidable", "The version names no data that it learned from; asked are licence and purpose."
        )
    for one in data:
        for name in ("licence", "purpose"):
            if not isinstance(_at(one, name), str) or not one[name].strip():
                return Judged(gate, "undecidable", f"The {name} of the data that it learned from is not stated.")
    return Judged(gate, "pass", "Licence and purpose are stated for all data.")


def _on_one_side(gate: str, what: str, found: _Interval | None, limit: float | None) -> Judged:
    if found is None or limit is None:
        return Judged(gate, "undecidable", f"{what} is missing; asked is {_or(limit)} at least.")
    says = f"{what} is {found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]; asked is {limit:.3f} at least."
    if found.low >= limit:
        return Judged(gate, "pass", says)
    return Judged(gate, "fail" if found.high < limit else "undecidable", says)


def _or(limit: float | None) -> str:
    return "a number of the study that is missing too," if limit is None else f"{limit:.4g}"


def _interval(quality: Any) -> _Interval | None:
    """None unless estimate and both ends are finite, in order, and rest on one item or more."""
    values = [_number(_at(quality, name)) for name in ("estimate", "low", "high")]
    estimate, low, high = values
    items = _number(_at(quality, "n"))
    if estimate is None or low is None or high is None or items is None or items < 1 or not low <= estimate <= high:
        return None
    return _Interval(estimate, low, high)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return None if found.tzinfo is None else found.astimezone(UTC)


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
