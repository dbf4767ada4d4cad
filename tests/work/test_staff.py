from __future__ import annotations

from pathlib import Path

import pytest

from tests.records.registries import ADMIN, APPROVER, OPERATOR, VIEWER, registry
from tsugiki.errors import RecordsError
from tsugiki.records.keys import create_key
from tsugiki.records.ledger import history
from tsugiki.records.tokens import actor_of
from tsugiki.work import staff


def test_a_person_starts_with_a_token_and_ends_without(tmp_path: Path):
    records = registry(tmp_path)
    _, text = staff.add_person(records, "山田", "approver", days=30, actor=ADMIN, reason="joins")
    assert actor_of(records.database, text).role == "approver"
    _, other = staff.change_role(records, "山田", "operator", actor=ADMIN, reason="moves")
    with pytest.raises(RecordsError, match="was revoked"):
        actor_of(records.database, text)
    assert actor_of(records.database, other).scopes == ("read", "write")
    assert staff.remove_person(records, "山田", actor=ADMIN, reason="leaves") == 1
    with pytest.raises(RecordsError, match="was revoked"):
        actor_of(records.database, other)
    assert [one.name for one in staff.list_people(records) if not one.active] == ["山田"]


def test_a_removal_that_is_refused_revokes_nothing(tmp_path: Path):
    records = registry(tmp_path)
    _, text = staff.create_token(records, "admin", scopes=None, days=9, actor=ADMIN, reason="x")
    with pytest.raises(RecordsError, match="the last admin"):
        staff.remove_person(records, "admin", actor=ADMIN, reason="x")
    assert actor_of(records.database, text).name == "admin"


def test_everybody_revokes_and_sees_their_own_and_admins_all(tmp_path: Path):
    records = registry(tmp_path)
    mine, _ = staff.create_token(records, OPERATOR.name, scopes=["read"], days=9, actor=ADMIN, reason="x")
    theirs, _ = staff.create_token(records, APPROVER.name, scopes=None, days=9, actor=ADMIN, reason="x")
    assert staff.list_tokens(records, actor=OPERATOR) == (mine,)
    assert set(staff.list_tokens(records, actor=ADMIN)) == {mine, theirs}
    with pytest.raises(RecordsError, match="may not change-tokens"):
        staff.revoke_token(records, theirs.id, actor=OPERATOR, reason="x")
    assert staff.revoke_token(records, mine.id, actor=OPERATOR, reason="lost it").revoked_at is not None
    staff.revoke_token(records, theirs.id, actor=ADMIN, reason="x")


def test_only_admins_look_after_people_and_always_say_why(tmp_path: Path):
    records = registry(tmp_path)
    for actor in (OPERATOR, APPROVER, VIEWER):
        with pytest.raises(RecordsError, match="may not change-people"):
            staff.add_person(records, "x", "viewer", days=1, actor=actor, reason="x")
        with pytest.raises(RecordsError, match="may not change-tokens"):
            staff.create_token(records, "guest", scopes=None, days=1, actor=actor, reason="x")
    with pytest.raises(RecordsError, match="The reason is empty"):
        staff.add_person(records, "x", "viewer", days=1, actor=ADMIN, reason="\t")


def test_whoever_holds_the_key_gets_in_when_no_admin_can(tmp_path: Path):
    records = registry(tmp_path)
    key = records.folder / "keys" / "ledger.key"
    made, old = staff.create_token(records, "admin", scopes=None, days=9, actor=ADMIN, reason="x")
    with pytest.raises(RecordsError, match=f"admin has a token that works until {made.expires_at[:10]}"):
        staff.recover_token(records, "admin", key, reason="locked out")
    staff.revoke_token(records, made.id, actor=ADMIN, reason="lost it")
    create_key(tmp_path / "other")
    for name, place, problem in (
        ("admin", tmp_path / "other" / "ledger.key", "is not the private key of this registry"),
        (OPERATOR.name, key, f"{OPERATOR.name} is operator, not admin"),
    ):
        with pytest.raises(RecordsError, match=problem):
            staff.recover_token(records, name, place, reason="locked out")
    _, text = staff.recover_token(records, "admin", key, reason="locked out")
    assert actor_of(records.database, text).scopes == ("read", "write", "admin")
    with pytest.raises(RecordsError, match="was revoked"):
        actor_of(records.database, old)
    with records.database.reading() as connection:
        (event,) = history(connection, limit=1)
    assert (event.kind, event.actor["auth"], event.reason) == ("token.created", "ledger-key", "locked out")
