from __future__ import annotations

import re
import statistics
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.records.registries import ADMIN, dump, registry
from tsugiki.errors import RecordsError
from tsugiki.records.ledger import history
from tsugiki.records.moments import later, moment_of
from tsugiki.records.open import Records
from tsugiki.records.people import change_role, remove_person
from tsugiki.records.times import now, utc
from tsugiki.records.tokens import actor_of, create_token, revoke_all, revoke_token, seconds_locked, tokens


def new(records: Records, name: str = "佐藤", **how: object) -> str:
    with records.database.writing() as connection:
        return create_token(connection, name, actor=ADMIN, reason="to work", **how)[1]  # type: ignore[arg-type]


def other(text: str) -> str:
    """The same token with a wrong secret."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def test_a_token_says_who_holds_it(tmp_path: Path):
    records = registry(tmp_path)
    text = new(records)
    found = actor_of(records.database, f"{text}\n")
    assert (found.name, found.role, found.scopes) == ("佐藤", "operator", ("read", "write"))
    assert found.auth == f"token:{text[4:20]}"
    narrow = actor_of(records.database, new(records, "高橋", scopes=["read"]))
    assert (narrow.role, narrow.scopes) == ("approver", ("read",))


def test_the_database_holds_nothing_that_can_be_used(tmp_path: Path):
    records = registry(tmp_path)
    text = new(records)
    secret = text.split("_")[2]
    held = dump(records)
    assert text[4:20] in held and "argon2id" in held
    assert secret not in held and text not in held
    for path in (tmp_path / "registry").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    for hashed in re.findall(r"\$argon2id\$[^']+", held):  # the hash itself is no key either
        with pytest.raises(RecordsError, match="What was given as a token is none"):
            actor_of(records.database, hashed)


def test_lifetime_and_scopes_are_bounded(tmp_path: Path):
    records = registry(tmp_path)
    new(records)
    with records.database.reading() as connection:
        made = tokens(connection, "佐藤")[0]
    assert moment_of(made.expires_at) - moment_of(made.created_at) == timedelta(days=90)
    for days in (0, -1, 366):
        with pytest.raises(RecordsError, match=f"cannot last {days} days"):
            new(records, days=days)
    with pytest.raises(RecordsError, match="whose role is operator, cannot have the scope decide"):
        new(records, scopes=["read", "decide"])
    with pytest.raises(RecordsError, match="root is no scope"):
        new(records, scopes=["root"])
    with pytest.raises(RecordsError, match="nothing is no scope"):
        new(records, scopes=[])


def test_an_expired_token_is_refused(tmp_path: Path):
    records = registry(tmp_path)
    text = new(records, days=1)
    assert actor_of(records.database, text, now()).name == "佐藤"
    with pytest.raises(RecordsError, match=r"The token [0-9a-f]{16} expired on \d{4}-\d\d-\d\d\."):
        actor_of(records.database, text, later(now(), days=1))


def test_revoking_holds_at_once(tmp_path: Path):
    records = registry(tmp_path)
    text, kept = new(records), new(records)
    with records.database.writing() as connection:
        revoke_token(connection, text[4:20], actor=ADMIN, reason="was lost")
        with pytest.raises(RecordsError, match=r"The token [0-9a-f]+ is revoked already"):
            revoke_token(connection, text[4:20], actor=ADMIN, reason="again")
        with pytest.raises(RecordsError, match="There is no token feed"):
            revoke_token(connection, "feed", actor=ADMIN, reason="x")
    with pytest.raises(RecordsError, match="was revoked"):
        actor_of(records.database, text)
    assert actor_of(records.database, kept).name == "佐藤"
    with records.database.writing() as connection:
        assert revoke_all(connection, "佐藤", actor=ADMIN, reason="has left") == 1
        kinds = [event.kind for event in history(connection, object="person:佐藤")]
        assert kinds.count("token.revoked") == 2
        assert [one.state(now()) for one in tokens(connection)] == ["revoked", "revoked"]
    with pytest.raises(RecordsError, match="was revoked"):
        actor_of(records.database, kept)


def test_whoever_was_removed_or_has_another_role_loses_what_the_token_had(tmp_path: Path):
    records = registry(tmp_path)
    text, gone = new(records, "高橋"), new(records, "guest")
    with records.database.writing() as connection:
        change_role(connection, "高橋", "viewer", actor=ADMIN, reason="x")
        remove_person(connection, "guest", actor=ADMIN, reason="x")
    assert actor_of(records.database, text).scopes == ("read",)
    with pytest.raises(RecordsError, match="was revoked"):
        actor_of(records.database, gone)


def test_wrong_secrets_lock_the_token_and_say_for_how_long(tmp_path: Path):
    records = registry(tmp_path)
    text, at = new(records), now()
    for _ in range(5):
        with pytest.raises(RecordsError, match="The token is not known here"):
            actor_of(records.database, other(text), at)
    for wrong in (text, other(text)):  # not even the right one is looked at
        with pytest.raises(RecordsError, match=r"locked after 5 wrong secrets\. Try again in 30 s"):
            actor_of(records.database, wrong, at)
    after = utc(moment_of(at) + timedelta(seconds=30))
    with pytest.raises(RecordsError, match="The token is not known here"):
        actor_of(records.database, other(text), after)
    with pytest.raises(RecordsError, match=r"locked after 6 wrong secrets\. Try again in 60 s"):
        actor_of(records.database, text, after)
    assert actor_of(records.database, text, later(at, days=1)).name == "佐藤"
    for _ in range(4):  # a success starts the count again
        with pytest.raises(RecordsError, match="not known here"):
            actor_of(records.database, other(text), later(at, days=1))
    assert actor_of(records.database, text, later(at, days=1)).name == "佐藤"


def test_the_lock_grows_to_an_hour():
    assert [seconds_locked(count) for count in (0, 4, 5, 6, 7, 12, 13, 10_000)] == [0, 0, 30, 60, 120, 3600, 3600, 3600]


@pytest.mark.parametrize("text", ["", "hunter2", "tsg_1_2", "tsg_" + "g" * 16 + "_" + "0" * 64, "admin", "Bearer x"])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str):
    with pytest.raises(RecordsError, match="What was given as a token is none"):
        actor_of(registry(tmp_path).database, text)


def test_a_token_that_does_not_exist_takes_as_long_as_a_wrong_secret(tmp_path: Path):
    records = registry(tmp_path)
    text = new(records)
    nobody = "tsg_" + "0" * 16 + text[20:]

    def median(given: str) -> float:
        taken = []
        for _ in range(4):
            start = time.perf_counter()
            with pytest.raises(RecordsError, match="not known here"):
                actor_of(records.database, given)
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    unknown, wrong = median(nobody), median(other(text))
    assert unknown > wrong / 4  # without a hash to compare with it would take a hundredth
    assert wrong > unknown / 4
