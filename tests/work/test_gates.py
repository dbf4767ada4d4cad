from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.work.shown import AT, report, shown
from tsugiki.work.gates import Judged, Shown, judge, verdict_of
from tsugiki.work.policy import Gates

GATES = Gates(
    verdict=("adopt", "conditional"),
    quality_at_least="study",
    worse_than_full_at_most="study",
    retention_loss_at_most="study",
    slice_worse_at_most=10.0,
    evidence_days=180,
    compatibility=("embedded", "vllm"),
    licence_and_purpose=True,
)


def found(what: Shown, gates: Gates = GATES, at: datetime = AT) -> dict[str, Judged]:
    return {one.gate: one for one in judge(gates, what, at=at)}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from leaves(one, (*path, key))


def changed(what: Shown, path: tuple[Any, ...], value: Any = None, *, remove: bool = False) -> Shown:
    whole = copy.deepcopy({"summary": what.summary, "reports": what.reports, "data": what.data})
    place: Any = whole
    for step in path[:-1]:
        place = place[step]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    lists = (one if isinstance(one, list) else [] for one in (whole.get("reports"), whole.get("data")))
    return Shown(whole.get("summary"), *lists)  # type: ignore[arg-type]


WHOLE = shown()
PATHS = list(leaves({"summary": WHOLE.summary, "reports": WHOLE.reports, "data": WHOLE.data}))


def test_all_gates_pass_a_good_version():
    judged = judge(GATES, WHOLE, at=AT)
    assert [one.gate for one in judged] == [
        "verdict", "quality_at_least", "worse_than_full_at_most", "retention_loss_at_most", "slice_worse_at_most",
        "evidence_days", "compatibility:embedded", "compatibility:vllm", "licence_and_purpose",
    ]  # fmt: skip
    assert {one.verdict for one in judged} == {"pass"}
    assert verdict_of(judged) == "pass"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("value", ["removed", None, math.nan, math.inf, "", "x", True, [], {}], ids=repr)
def test_no_number_can_be_missing_or_broken_and_pass(path: tuple[Any, ...], value: Any):
    """Every leaf and every branch in turn; none of them is there for nothing."""
    broken = changed(WHOLE, path, value, remove=isinstance(value, str) and value == "removed")
    harmless = path == ("summary", "slices", "worst") and value is None  # no part is surely worse
    named = path[-1] in ("licence", "purpose") and value == "x"
    unread = path[-1] in ("method", "digest", "rule", "format") or path[-2:] == ("difference", "metric")
    if not (harmless or named or unread):
        assert verdict_of(judge(GATES, broken, at=AT)) != "pass"


def test_nothing_shown_is_undecidable_everywhere():
    judged = judge(GATES, Shown({}, [], []), at=AT)
    assert {one.verdict for one in judged} == {"undecidable"} and len(judged) == 9


def test_without_a_study_one_sentence_says_so():
    judged = judge(GATES, Shown(None, WHOLE.reports, WHOLE.data), at=AT)
    assert [(one.gate, one.verdict) for one in judged if one.verdict != "pass"] == [("evidence", "undecidable")]
    assert judged[0].says == "No study is attached to the version as its evidence."


@pytest.mark.parametrize(
    ("gate", "path", "value", "verdict"),
    [
        ("verdict", ("verdict", "value"), "conditional", "pass"),
        ("verdict", ("verdict", "value"), "stop", "fail"),
        ("verdict", ("verdict", "value"), "undecidable", "undecidable"),
        ("quality_at_least", ("quality", "low"), 0.65, "pass"),
        ("quality_at_least", ("quality", "low"), 0.6499, "undecidable"),
        ("quality_at_least", ("criteria", "success"), 0.9, "fail"),
        ("quality_at_least", ("criteria", "metric"), "chrf", "undecidable"),
        ("quality_at_least", ("quality", "low"), 0.9, "undecidable"),  # above the estimate: no interval
        ("quality_at_least", ("quality", "n"), 0, "undecidable"),
        ("worse_than_full_at_most", ("against_full", "difference", "low"), -0.0201, "undecidable"),
        ("worse_than_full_at_most", ("against_full", "margin"), 0.0, "undecidable"),
        ("worse_than_full_at_most", ("against_full", "margin"), -0.1, "undecidable"),
        ("retention_loss_at_most", ("retention", "loss_after"), 3.3141, "fail"),
        ("retention_loss_at_most", ("criteria", "retention_loss"), 0.0, "fail"),
        ("slice_worse_at_most", ("slices", "looked_at"), 0, "undecidable"),
        ("slice_worse_at_most", ("slices", "worst", "difference", "low"), -0.11, "undecidable"),
        ("evidence_days", ("made_at",), "2026-05-01T00:00:00+00:00", "fail"),
        ("evidence_days", ("made_at",), "2026-11-02T00:00:00", "undecidable"),  # no zone
        ("evidence_days", ("made_at",), "2027-01-01T00:00:00+00:00", "undecidable"),
    ],
)
def test_limits_are_exact_and_three_valued(gate: str, path: tuple[str, ...], value: Any, verdict: str):
    assert found(changed(WHOLE, ("summary", *path), value))[gate].verdict == verdict


def test_a_slice_that_is_surely_worse_by_more_fails():
    worse = {"estimate": -0.3, "low": -0.4, "high": -0.2, "n": 40, "metric": "exact_match", "method": "t"}
    judged = found(changed(WHOLE, ("summary", "slices", "worst", "difference"), worse))["slice_worse_at_most"]
    assert judged.verdict == "fail" and "is -0.300 [-0.400, -0.200]; asked is -0.100 at least" in judged.says


def test_the_policy_s_own_numbers_are_taken_before_the_study_s():
    assert found(WHOLE, Gates(quality_at_least=0.9))["quality_at_least"].verdict == "fail"
    assert found(WHOLE, Gates(quality_at_least=0.7))["quality_at_least"].verdict == "pass"
    assert found(WHOLE, Gates(worse_than_full_at_most=1.0))["worse_than_full_at_most"].verdict == "undecidable"
    assert found(WHOLE, Gates(retention_loss_at_most=0.01))["retention_loss_at_most"].verdict == "fail"


def test_the_newest_report_about_a_target_counts():
    again = [*WHOLE.reports, report("embedded", "pass", "fail")]
    assert found(Shown(WHOLE.summary, again, WHOLE.data))["compatibility:embedded"].verdict == "fail"
    other = [*WHOLE.reports, report("vllm", "undecidable", "pass")]
    assert found(Shown(WHOLE.summary, other, WHOLE.data))["compatibility:vllm"].verdict == "undecidable"


def test_a_gate_that_is_off_is_not_judged():
    off = Gates(
        verdict=None, quality_at_least=None, worse_than_full_at_most=None, retention_loss_at_most=None,
        slice_worse_at_most=None, evidence_days=None, compatibility=(), licence_and_purpose=False,
    )  # fmt: skip
    assert judge(off, Shown(None, [], []), at=datetime.now(UTC)) == ()


def test_a_failure_outweighs_what_is_undecidable():
    assert verdict_of([Judged("a", "undecidable", ""), Judged("b", "fail", "")]) == "fail"
    assert verdict_of([Judged("a", "undecidable", ""), Judged("b", "pass", "")]) == "undecidable"
