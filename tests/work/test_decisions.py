from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.records.registries import ADMIN, APPROVER, MAKER, OPERATOR, SECOND, person
from tests.work.lives import MODEL, WHY, add, alive, asked, attach, promoted_to, summary
from tests.work.shown import report
from tsugiki.errors import RecordsError, Undecided
from tsugiki.records.aliases import alias_at
from tsugiki.records.ledger import history
from tsugiki.records.moments import moment_of
from tsugiki.work.decisions import approve, reject, renew, withdraw
from tsugiki.work.policy import default_text, set_policy
from tsugiki.work.promotion import promote
from tsugiki.work.requests import one_request, request
from tsugiki.work.rollback import rollback


def test_an_approval_is_bound_carries_conditions_and_expires(tmp_path: Path):
    records = alive(tmp_path)
    id = asked(records).request.id
    found = approve(records, id, conditions=["weekly sample of 20"], actor=APPROVER, reason="the numbers hold")
    assert (found.state, found.approvers, found.conditions) == ("approved", ["高橋"], ["weekly sample of 20"])
    decision = found.decisions[-1]
    assert decision.body["digests"] == found.request.body["digests"]
    assert moment_of(found.expires_at or "") - moment_of(decision.at) == pytest.approx(
        timedelta(days=30), abs=timedelta(minutes=1)
    )
    with records.database.reading() as connection:
        event = history(connection, limit=1)[0]
    assert (event.kind, event.reason, event.request) == ("approval.given", "the numbers hold", id)
    assert event.before == {"state": "open"} and event.after["conditions"] == ["weekly sample of 20"]


def test_nobody_approves_what_is_their_own(tmp_path: Path):
    records = alive(tmp_path)
    id = asked(records).request.id
    for name, said in (("佐藤", "佐藤 asked for this"), ("Tanaka", f"Tanaka made {MODEL}@1")):
        with pytest.raises(RecordsError, match=f"{said} and may not approve it. Ask another approver"):
            approve(records, id, actor=person(name, "approver"), reason=WHY)  # even when they have become approvers
    for actor in (OPERATOR, MAKER, ADMIN):
        with pytest.raises(RecordsError, match="may not approve"):
            approve(records, id, actor=actor, reason=WHY)
    assert one_request(records, id).state == "open"


def test_as_many_people_approve_as_the_policy_wants(tmp_path: Path):
    records, file = alive(tmp_path), tmp_path / "p.yaml"
    file.write_text(default_text().replace("approvals: 1", "approvals: 2", 1), encoding="utf-8")
    set_policy(records, file, actor=ADMIN, reason="four eyes and four more")
    id = asked(records).request.id
    assert (approve(records, id, actor=APPROVER, reason=WHY).state, one_request(records, id).missing) == ("open", 1)
    with pytest.raises(RecordsError, match=f"高橋 approved {id} already"):
        approve(records, id, actor=APPROVER, reason=WHY)
    with pytest.raises(RecordsError, match=f"{id} for {MODEL}@1 lacks 1 of its approvals"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    found = approve(records, id, conditions=["a"], actor=SECOND, reason=WHY)
    assert (found.state, found.approvers) == ("approved", ["高橋", "Suzuki"])


@pytest.mark.parametrize("days", [0, -3, 31])
def test_an_approval_lasts_no_longer_than_the_policy_says(tmp_path: Path, days: int):
    records = alive(tmp_path)
    id = asked(records).request.id
    with pytest.raises(RecordsError, match=f"An approval for poc cannot last {days} days"):
        approve(records, id, days=days, actor=APPROVER, reason=WHY)


def test_an_approval_that_expired_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = alive(tmp_path)
    id = asked(records).request.id
    expires = approve(records, id, days=1, actor=APPROVER, reason=WHY).expires_at
    monkeypatch.setattr("tsugiki.work.requests.moment", lambda _: expires)
    found = one_request(records, id)
    assert (found.state, found.says) == ("expired", f"the approval expired on {(expires or '')[:10]}")
    with pytest.raises(RecordsError, match=f"{MODEL}@1 is not approved for poc: {id} is expired"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)


def test_a_rejection_closes_also_what_was_approved(tmp_path: Path):
    records = alive(tmp_path)
    id = asked(records).request.id
    approve(records, id, actor=APPROVER, reason=WHY)
    assert reject(records, id, actor=SECOND, reason="the line stands still").state == "rejected"
    for act in (approve, reject):
        with pytest.raises(RecordsError, match=f"{id} for {MODEL}@1 is rejected: Suzuki: the line stands still"):
            act(records, id, actor=APPROVER, reason=WHY)  # type: ignore[operator]


def test_renewing_sets_the_next_date_when_everything_still_holds(tmp_path: Path):
    records = alive(tmp_path)
    before = promoted_to(records)
    after = renew(records, f"{MODEL}@poc", actor=SECOND, reason="measured again")
    assert after.reevaluate_by > before.reevaluate_by and after.version == before.version
    assert after.since == before.since
    with records.database.reading() as connection:
        event = history(connection, model=MODEL, alias="poc", limit=1)[0]
    assert event.kind == "approval.renewed" and event.before == {"reevaluate_by": before.reevaluate_by}
    for name in ("佐藤", "Tanaka"):
        with pytest.raises(RecordsError, match="may not renew it"):
            renew(records, f"{MODEL}@poc", actor=person(name, "approver"), reason=WHY)
    with pytest.raises(RecordsError, match=f"{MODEL}@production points to nothing"):
        renew(records, f"{MODEL}@production", actor=SECOND, reason=WHY)


def test_evidence_that_has_become_too_old_is_renewed_first(tmp_path: Path):
    records = alive(tmp_path)
    promoted_to(records)
    attach(records, f"{MODEL}@1", summary(made_at="2020-01-01T00:00:00+00:00"), "re-evaluation")
    with pytest.raises(RecordsError, match="the gate evidence_days fails: The study is"):
        renew(records, f"{MODEL}@poc", actor=SECOND, reason=WHY)
    attach(records, f"{MODEL}@1", {**summary(), "made_at": None}, "re-evaluation")
    with pytest.raises(Undecided, match="The study does not say when it was made"):
        renew(records, f"{MODEL}@poc", actor=SECOND, reason=WHY)
    attach(records, f"{MODEL}@1", summary(), "re-evaluation")
    assert renew(records, f"{MODEL}@poc", actor=SECOND, reason=WHY).version.number == 1


def test_withdrawing_is_for_good_and_stops_every_name(tmp_path: Path):
    records = alive(tmp_path, versions=2)
    promoted_to(records, f"{MODEL}@1", "poc", "pilot")
    promoted_to(records, f"{MODEL}@2")
    open_id = asked(records, f"{MODEL}@1", "production").request.id
    name, moved = withdraw(records, f"{MODEL}@1", actor=APPROVER, reason="learned from the wrong file")
    assert name == f"{MODEL}@1" and [(one.alias, one.before, one.after) for one in moved] == [("pilot", 1, None)]
    with records.database.reading() as connection:
        assert alias_at(connection, MODEL, "pilot").version is None
        assert alias_at(connection, MODEL, "poc").number == 2
        event = history(connection, model=MODEL, alias="pilot", limit=1)[0]
        assert event.reason == f"{MODEL}@1 was withdrawn: learned from the wrong file"
    assert one_request(records, open_id).says == "the version was withdrawn"
    with pytest.raises(RecordsError, match="was withdrawn already"):
        withdraw(records, f"{MODEL}@1", actor=APPROVER, reason=WHY)
    with pytest.raises(RecordsError, match=f"{MODEL}@1 was withdrawn, and no name may point to it again"):
        asked(records, f"{MODEL}@1")
    with pytest.raises(RecordsError, match=f"{MODEL}@1 was withdrawn"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    with pytest.raises(RecordsError, match=r"all that it could go back to was withdrawn \(1\)"):
        rollback(records, f"{MODEL}@poc", actor=OPERATOR, reason=WHY)
    with pytest.raises(RecordsError, match=f"cannot go back to {MODEL}@1, which was withdrawn"):
        rollback(records, f"{MODEL}@pilot", to=1, actor=OPERATOR, reason=WHY)


def test_a_failed_change_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The event and what it tells stand in one transaction: without the one there is no other."""
    records = alive(tmp_path)
    promoted_to(records)

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with records.database.reading() as connection:
        before = history(connection)
    monkeypatch.setattr("tsugiki.work.rollback.append", broken)
    with pytest.raises(RecordsError, match="No space left on device"):
        withdraw(records, f"{MODEL}@1", actor=APPROVER, reason=WHY)
    with records.database.reading() as connection:
        assert history(connection) == before and alias_at(connection, MODEL, "poc").number == 1


def test_the_gates_are_asked_again_before_an_approval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = alive(tmp_path)
    id = asked(records).request.id
    monkeypatch.setattr("tsugiki.work.lifecycle.moment", lambda _: "2030-01-01T00:00:00.000000Z")
    with pytest.raises(RecordsError, match="the gate evidence_days fails"):
        approve(records, id, actor=APPROVER, reason=WHY)


def test_data_without_a_licence_stop_it(tmp_path: Path):
    records = alive(tmp_path)
    name = add(records, 2, licence=None)
    attach(records, name, summary())
    attach(records, name, report("embedded", "pass"), "compatibility")
    with pytest.raises(Undecided, match="The licence of the data that it learned from is not stated"):
        request(records, name, "poc", purpose="p", criteria="c", scope="s", actor=OPERATOR, reason=WHY)
