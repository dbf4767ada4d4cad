"""Looking after people and tokens: every verb of an admin about them, and revoking a token of one's own.

Called by `tsugiki registry people` and `token`. A person starts with one token, which is shown once; another role or
a removal revokes all that the person had, in the same transaction. Where no admin has a token left that works, whoever
holds the registry's private key makes one, and the ledger says so. Never hands out a secret twice.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tsugiki.errors import RecordsError
from tsugiki.records import people as rows
from tsugiki.records import tokens as keys
from tsugiki.records.keys import load_key
from tsugiki.records.ledger import moment
from tsugiki.records.open import Records
from tsugiki.records.people import Person
from tsugiki.records.rights import Actor, require
from tsugiki.records.tokens import DEFAULT_DAYS, Token
from tsugiki.work.reason import said


def add_person(records: Records, name: str, role: str, *, days: int, actor: Actor, reason: str) -> tuple[Person, str]:
    """A new person and the text of the first token. Raises RecordsError."""
    require(actor, "change-people")
    why = said(reason)
    with records.database.writing() as connection:
        made = rows.add_person(connection, name, role, actor=actor, reason=why)
        _, text = keys.create_token(connection, made.name, days=days, actor=actor, reason=why)
    return made, text


def change_role(records: Records, name: str, role: str, *, actor: Actor, reason: str) -> tuple[Person, str]:
    """Another role, and a token for it in place of all that the person had. Raises RecordsError for the last admin."""
    require(actor, "change-people")
    why = said(reason)
    with records.database.writing() as connection:
        made = rows.change_role(connection, name, role, actor=actor, reason=why)
        keys.revoke_all(connection, name, actor=actor, reason=why)
        _, text = keys.create_token(connection, name, days=DEFAULT_DAYS, actor=actor, reason=why)
    return made, text


def remove_person(records: Records, name: str, *, actor: Actor, reason: str) -> int:
    """Says how many tokens were revoked with it. Raises RecordsError for the last admin."""
    require(actor, "change-people")
    why = said(reason)
    with records.database.writing() as connection:
        revoked = keys.revoke_all(connection, rows.person(connection, name).name, actor=actor, reason=why)
        rows.remove_person(connection, name, actor=actor, reason=why)
    return revoked


def list_people(records: Records) -> tuple[Person, ...]:
    with records.database.reading() as connection:
        return rows.people(connection)


def create_token(
    records: Records, name: str, *, scopes: Collection[str] | None, days: int, actor: Actor, reason: str
) -> tuple[Token, str]:
    """A token and the text that is shown this once. Raises RecordsError."""
    require(actor, "change-tokens")
    why = said(reason)
    with records.database.writing() as connection:
        return keys.create_token(connection, name, scopes=scopes, days=days, actor=actor, reason=why)


def recover_token(records: Records, name: str, key: Path, *, reason: str) -> tuple[Token, str]:
    """A new token for an admin where no admin has one that works; `key` is a file with the registry's private key.

    All other tokens of that admin are revoked. Raises RecordsError for another key, for who is no admin, and while an
    admin's token works: then that admin makes tokens.
    """
    why = said(reason)
    if load_key(key).public != records.database.home.public:
        raise RecordsError(f"{key} is not the private key of this registry.", fix="Name its keys/ledger.key.")
    with records.database.writing() as connection:
        owner = rows.person(connection, name)
        if owner.role != "admin":
            raise RecordsError(f"{name} is {owner.role}, not admin.", fix="Name an admin; see: registry people list.")
        admins = [one.name for one in rows.people(connection) if one.active and one.role == "admin"]
        at = moment(connection)
        for one in keys.tokens(connection):
            if one.person in admins and "admin" in one.scopes and one.state(at) == "usable":
                raise RecordsError(
                    f"{one.person} has a token that works until {one.expires_at[:10]}.",
                    fix=f"{one.person} makes another: tsugiki registry token create {name}.",
                )
        actor = Actor(name, "admin", auth="ledger-key", scopes=())
        keys.revoke_all(connection, name, actor=actor, reason=why)
        return keys.create_token(connection, name, actor=actor, reason=why)


def revoke_token(records: Records, token: str, *, actor: Actor, reason: str) -> Token:
    """An admin may revoke any, everybody their own: whoever lost one must not have to wait."""
    why = said(reason)
    with records.database.writing() as connection:
        if token not in {one.id for one in keys.tokens(connection, actor.name)}:
            require(actor, "change-tokens")
        return keys.revoke_token(connection, token, actor=actor, reason=why)


def list_tokens(records: Records, *, actor: Actor) -> tuple[Token, ...]:
    """All for an admin, their own for everybody else."""
    with records.database.reading() as connection:
        try:
            require(actor, "tokens")
        except RecordsError:
            return keys.tokens(connection, actor.name)
        return keys.tokens(connection)
