"""Tokens: how a person is known to a registry. Shown once, kept as an argon2id hash, scoped, expiring, revoked at once.

A token reads `tsg_<id>_<secret>`: 16 hexadecimal digits that name it and 64 that nobody can guess. Called by
`work/staff.py` and by the making of a registry; `actor_of` is called by every command that changes something. Wrong
secrets for a token that exists lock it for a growing time. Never stores, logs or returns a secret but the one time.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, insert, select, update

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import digest_bytes
from tsugiki.records import schema
from tsugiki.records.database import Database
from tsugiki.records.ledger import Acting, NewEvent, append
from tsugiki.records.moments import later, moment_of
from tsugiki.records.people import person
from tsugiki.records.rights import SCOPES, SCOPES_OF_ROLE, Actor, Scope
from tsugiki.records.times import now

DEFAULT_DAYS, MOST_DAYS = 90, 365
FREE_TRIES, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5, 30, 3600

_SHAPE = re.compile(r"tsg_([0-9a-f]{16})_([0-9a-f]{64})")
_HASHER = PasswordHasher()  # argon2id with the second recommended setting of RFC 9106
# A token that does not exist takes as long to refuse as one that does.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
_UNKNOWN = RecordsError(
    "The token is not known here.", fix="Ask an admin for a new one: tsugiki registry token create."
)


@dataclass(frozen=True)
class Token:
    """What may be known of a token: everything but its secret."""

    id: str
    person: str
    scopes: tuple[Scope, ...]
    created_at: str
    expires_at: str
    revoked_at: str | None

    def state(self, at: str) -> str:
        """`usable`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "usable" if at < self.expires_at else "expired"


def create_token(
    connection: Connection,
    name: str,
    *,
    scopes: Collection[str] | None = None,
    days: int = DEFAULT_DAYS,
    actor: Acting,
    reason: str,
) -> tuple[Token, str]:
    """A new token of `name` for `days` days, and the text that is shown now and never again.

    Without `scopes` it gets all that its owner's role may have. Raises RecordsError for a scope that the role may not
    have, for more than a year and for less than a day.
    """
    owner = person(connection, name)
    wanted = _scopes(SCOPES_OF_ROLE[owner.role] if scopes is None else scopes)
    beyond = [scope for scope in wanted if scope not in SCOPES_OF_ROLE[owner.role]]
    if beyond:
        raise RecordsError(
            f"A token of {name}, whose role is {owner.role}, cannot have the scope {beyond[0]}.",
            fix=f"It can have: {', '.join(SCOPES_OF_ROLE[owner.role])}.",
        )
    if not 1 <= days <= MOST_DAYS:
        raise RecordsError(
            f"A token cannot last {days} days.", fix=f"Give between 1 and {MOST_DAYS}; {DEFAULT_DAYS} are usual."
        )
    token, secret, made_at = secrets.token_hex(8), secrets.token_hex(32), now()
    made = Token(token, name, wanted, made_at, later(made_at, days=days), None)
    hashed = _HASHER.hash(secret)
    connection.execute(
        insert(schema.tokens).values(
            id=made.id,
            person=name,
            hash=hashed,
            scope=",".join(wanted),
            created_at=made.created_at,
            expires_at=made.expires_at,
        )
    )
    # With the digest of the salted hash, so that another hash in its place is found by `verify`.
    after = {
        "token": made.id,
        "scopes": list(wanted),
        "expires_at": made.expires_at,
        "hash": digest_bytes(hashed.encode()),
    }
    append(
        connection,
        NewEvent(actor=actor, kind="token.created", object=f"person:{name}", before=None, after=after, reason=reason),
    )
    return made, f"tsg_{token}_{secret}"


def revoke_token(connection: Connection, token: str, *, actor: Acting, reason: str) -> Token:
    """From this transaction on the token is refused. Raises RecordsError where there is none of this id in use."""
    row = connection.execute(select(schema.tokens).where(schema.tokens.c.id == token)).one_or_none()
    if row is None or row.revoked_at is not None:
        what = f"There is no token {token}" if row is None else f"The token {token} is revoked already"
        raise RecordsError(f"{what}.", fix="List them with: tsugiki registry token list.")
    moment = now()
    connection.execute(update(schema.tokens).where(schema.tokens.c.id == token).values(revoked_at=moment))
    append(
        connection,
        NewEvent(
            actor=actor,
            kind="token.revoked",
            object=f"person:{row.person}",
            before={"token": token, "expires_at": row.expires_at},
            after={"token": token, "revoked_at": moment},
            reason=reason,
        ),
    )
    return Token(row.id, row.person, _scopes(row.scope.split(",")), row.created_at, row.expires_at, moment)


def revoke_all(connection: Connection, name: str, *, actor: Acting, reason: str) -> int:
    """Every token of `name` that is not revoked yet; says how many."""
    of_person = select(schema.tokens.c.id).where(schema.tokens.c.person == name, schema.tokens.c.revoked_at.is_(None))
    ids = list(connection.execute(of_person.order_by(schema.tokens.c.id)).scalars())
    for token in ids:
        revoke_token(connection, token, actor=actor, reason=reason)
    return len(ids)


def tokens(connection: Connection, name: str | None = None) -> tuple[Token, ...]:
    """All tokens, or those of one person; the newest last."""
    rows = select(schema.tokens).order_by(schema.tokens.c.created_at, schema.tokens.c.id)
    if name is not None:
        rows = rows.where(schema.tokens.c.person == name)
    return tuple(
        Token(row.id, row.person, _scopes(row.scope.split(",")), row.created_at, row.expires_at, row.revoked_at)
        for row in connection.execute(rows)
    )


def actor_of(database: Database, text: str, at: str | None = None) -> Actor:
    """Who holds this token. Raises RecordsError where it is unknown, wrong, locked, expired or revoked.

    A wrong secret is counted in a transaction of its own, so that no rollback forgets it; where the database cannot be
    written, the time that argon2id takes is all that slows down guessing 256 bits.
    """
    moment = now() if at is None else at
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise RecordsError(
            "What was given as a token is none: they start with tsg_ and have 85 characters.",
            fix="Copy the whole token into TSUGIKI_TOKEN or the file of --token-file.",
        )
    token, secret = found[1], found[2]
    with database.reading() as connection:
        row = connection.execute(
            select(schema.tokens, schema.people.c.role, schema.people.c.active)
            .join(schema.people, schema.people.c.name == schema.tokens.c.person)
            .where(schema.tokens.c.id == token)
        ).one_or_none()
        failed = connection.execute(
            select(schema.failures.c.count.label("tries"), schema.failures.c.last_at).where(
                schema.failures.c.token == token
            )
        ).one_or_none()
    if row is None:
        _fits(_NOBODY, secret)
        raise _UNKNOWN
    if failed is not None:
        _wait(token, failed.tries, failed.last_at, moment)
    if not _fits(row.hash, secret):
        _count(database, token, moment)
        raise _UNKNOWN
    if failed is not None:
        with suppress(RecordsError), database.writing() as connection:
            connection.execute(delete(schema.failures).where(schema.failures.c.token == token))
    if row.revoked_at is not None or not row.active:
        raise RecordsError(f"The token {token} was revoked.", fix="Ask an admin for a new one.")
    if moment >= row.expires_at:
        raise RecordsError(f"The token {token} expired on {row.expires_at[:10]}.", fix="Ask an admin for a new one.")
    allowed = tuple(scope for scope in _scopes(row.scope.split(",")) if scope in SCOPES_OF_ROLE[row.role])
    return Actor(row.person, row.role, auth=f"token:{token}", scopes=allowed)


def seconds_locked(failures: int) -> int:
    """How long a token waits after so many wrong secrets: not at first, then 30 s, doubled each time, at most 1 h."""
    if failures < FREE_TRIES:
        return 0
    return int(min(FIRST_WAIT_SECONDS * 2 ** min(failures - FREE_TRIES, 20), LONGEST_WAIT_SECONDS))


def _wait(token: str, failures: int, last: str, at: str) -> None:
    left = timedelta(seconds=seconds_locked(failures)) - (moment_of(at) - moment_of(last))
    if left > timedelta(0):
        raise RecordsError(
            f"The token {token} is locked after {failures} wrong secrets.",
            fix=f"Try again in {math.ceil(left.total_seconds())} s, or ask an admin for a new one.",
        )


def _count(database: Database, token: str, at: str) -> None:
    failures = schema.failures
    with suppress(RecordsError), database.writing() as connection:
        changed = connection.execute(
            update(failures).where(failures.c.token == token).values(count=failures.c.count + 1, last_at=at)
        )
        if not changed.rowcount:
            connection.execute(insert(failures).values(token=token, count=1, last_at=at))


def _fits(hashed: str, secret: str) -> bool:
    """Compared by argon2 itself, in constant time."""
    try:
        return _HASHER.verify(hashed, secret)
    except (VerificationError, InvalidHashError):
        return False


def _scopes(names: Collection[str]) -> tuple[Scope, ...]:
    unknown = [name for name in names if name not in SCOPES]
    if unknown or not names:
        raise RecordsError(f"{(*unknown, 'nothing')[0]} is no scope.", fix=f"The scopes are: {', '.join(SCOPES)}.")
    return tuple(scope for scope in SCOPES if scope in names)
