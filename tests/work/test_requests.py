from __future__ import annotations

from pathlib import Path

import pytest

from tests.records.registries import ADMIN, APPROVER, MAKER, OPERATOR, VIEWER
from tests.work.lives import MODEL, WHY, WORDS, add, alive, asked, attach, ready, summary
from tests.work.shown import report
from tsugiki.errors import RecordsError, Undecided
from tsugiki.records.ledger import history
from tsugiki.work.decisions import approve, reject
from tsugiki.work.policy import default_text, set_policy
from tsugiki.work.requests import all_requests, one_request, request, review


def test_a_request_names_exact_digests_and_is_an_event(tmp_path: Path):
    records = alive(tmp_path)
    found = asked(records)
    assert (found.state, found.missing, found.request.stage, found.request.requester) == ("open", 1, "poc", "佐藤")
    with records.database.reading() as connection:
        event = history(connection, limit=1)[0]
    assert (event.kind, event.object, event.request) == ("approval.requested", f"{MODEL}@1", found.request.id)
    assert found.request.id == f"r{event.seq}" and event.reason == WHY
    bound = found.request.body["digests"]
    assert event.after["digests"] == bound and event.after["purpose"] == WORDS["purpose"]
    assert bound["version"] == found.subject.version.digest and len(bound["packs"]) == 2
    assert {one["verdict"] for one in found.request.body["gates"]} == {"pass"}


@pytest.mark.parametrize("name", ["purpose", "criteria", "scope"])
def test_nothing_that_an_approver_needs_may_be_empty(tmp_path: Path, name: str):
    records = alive(tmp_path)
    with pytest.raises(RecordsError, match=f"The {name} is empty"):
        request(records, f"{MODEL}@1", "poc", **{**WORDS, name: " "}, actor=OPERATOR, reason=WHY)
    for reason in ("", " \n", "x" * 2001):
        with pytest.raises(RecordsError, match="The reason"):
            request(records, f"{MODEL}@1", "poc", **WORDS, actor=OPERATOR, reason=reason)


def test_what_does_not_pass_is_not_even_asked_for(tmp_path: Path):
    records = alive(tmp_path)
    with pytest.raises(RecordsError, match="may not go to pilot: the gate after fails: hinshitsu-qa@1 has never been"):
        asked(records, stage="pilot")
    name = add(records, 2)
    with pytest.raises(Undecided, match="may not go to poc: the gate evidence cannot tell: No study is attached"):
        asked(records, name)
    assert Undecided.exit_status == 3
    attach(records, name, summary(verdict={"value": "stop"}))
    with pytest.raises(RecordsError, match="the gate verdict fails: The verdict of the study is stop") as error:
        asked(records, name)
    assert error.value.exit_status == 1
    assert all_requests(records) == []


def test_the_newest_study_counts_whatever_an_earlier_one_said(tmp_path: Path):
    records = alive(tmp_path)
    attach(records, f"{MODEL}@1", summary(verdict={"value": "stop"}), "re-evaluation")
    with pytest.raises(RecordsError, match="the gate verdict fails"):
        asked(records)
    attach(records, f"{MODEL}@1", summary())
    assert asked(records).state == "open"


def test_unknown_versions_and_stages_are_named(tmp_path: Path):
    records = alive(tmp_path)
    for name, said in (
        ("nothing@1", "There is no model nothing"),
        (f"{MODEL}@9", f"There is no version '9' of {MODEL}; the last is 1"),
        (f"{MODEL}@production", f"The name {MODEL}@production was never given"),
        ("x", "'x' names no version"),
    ):
        with pytest.raises(RecordsError, match=said):
            asked(records, name)
    with pytest.raises(RecordsError, match="live is no stage of the policy"):
        asked(records, stage="live")


def test_the_same_is_asked_once_at_a_time(tmp_path: Path):
    records = alive(tmp_path)
    first = asked(records).request.id
    with pytest.raises(RecordsError, match=f"{first} asks the same already"):
        asked(records)
    reject(records, first, actor=APPROVER, reason="not now")
    second = asked(records)
    assert second.request.id != first and second.state == "open"
    assert one_request(records, first).says == "高橋: not now"
    assert [one.request.id for one in all_requests(records)] == [first, second.request.id]
    assert [one.request.id for one in all_requests(records, alive_only=True)] == [second.request.id]


@pytest.mark.parametrize("actor", [APPROVER, ADMIN, VIEWER], ids=lambda one: one.role)
def test_only_operators_ask(tmp_path: Path, actor: object):
    with pytest.raises(RecordsError, match="may not request"):
        request(alive(tmp_path), f"{MODEL}@1", "poc", **WORDS, actor=actor, reason=WHY)  # type: ignore[arg-type]


def test_a_comment_is_kept_and_changes_nothing(tmp_path: Path):
    records = alive(tmp_path)
    id = asked(records).request.id
    found = review(records, id, comment="which shift uses it?", actor=APPROVER)
    assert found.state == "open" and [(one.verdict, one.actor) for one in found.decisions] == [("comment", "高橋")]
    assert found.decisions[0].body["reason"] == "which shift uses it?"
    with pytest.raises(RecordsError, match="may not review"):
        review(records, id, comment="x", actor=MAKER)
    with pytest.raises(RecordsError, match="There is no request r9999"):
        review(records, "r9999", comment="x", actor=APPROVER)


def test_new_evidence_makes_an_open_and_an_approved_request_void(tmp_path: Path):
    records = alive(tmp_path, versions=2)
    for number in (1, 2):
        id = asked(records, f"{MODEL}@{number}").request.id
        if number == 2:
            approve(records, id, actor=APPROVER, reason=WHY)
        attach(records, f"{MODEL}@{number}", report("vllm", "pass"), "compatibility")
        found = one_request(records, id)
        assert found.state == "void" and "was attached since" in found.says
        with pytest.raises(RecordsError, match=r"is void: the evidence pack sha256:\w+… was attached since"):
            approve(records, id, actor=APPROVER, reason=WHY)
    assert asked(records).state == "open"


def test_a_changed_policy_makes_a_request_void(tmp_path: Path):
    records, file = alive(tmp_path), tmp_path / "p.yaml"
    id = asked(records).request.id
    file.write_text(default_text().replace("evidence_days: 180", "evidence_days: 181"), encoding="utf-8")
    set_policy(records, file, actor=ADMIN, reason="longer")
    found = one_request(records, id)
    assert found.state == "void" and found.says.startswith("the policy was sha256:")
    file.write_text(default_text("ja"), encoding="utf-8")  # what it says is as before again
    set_policy(records, file, actor=ADMIN, reason="back")
    assert one_request(records, id).state == "open"


def test_other_versions_do_not_disturb(tmp_path: Path):
    records = alive(tmp_path)
    id = asked(records).request.id
    ready(records, 2)
    assert one_request(records, id).state == "open"
