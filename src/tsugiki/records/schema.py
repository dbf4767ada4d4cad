"""The tables of a registry, and what keeps the append-only ones append-only.

Read by every file of `records/` and by the migrations. Every table but `people`, `tokens`, `failures` and `blobs` is
written by the transaction that appends the event it comes from, and never changed afterwards: rows carry that event's
`seq`. Holds no logic beyond the tables.

Times are UTC text, `2026-11-02T05:05:12.123456Z`, so that they sort as they were; digests are `sha256:<64 hex>`;
`body` columns hold canonical JSON (RFC 8785) exactly as it was hashed.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# The ledger. `body` is what is hashed; kind, object, actor and at repeat it for the indices, and are compared with it
# whenever the ledger is verified.
events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("hash", String(71), nullable=False, unique=True),
    Column("at", String(27), nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # "C" compares bytes as SQLite does, so that everything about a model is one range of the index.
    Column("object", Text().with_variant(Text(collation="C"), "postgresql"), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_events_object_seq", "object", "seq"),
    Index("ix_events_at", "at"),
)

# A signature over the newest event, written with it: whoever holds the public key sees a chain that was rewritten.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("signature", String(88), nullable=False),
)

# What a file of the store is; a row without a version, a pack or an event that names it is rubbish for `gc`.
blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("added_at", String(27), nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(71), nullable=False, unique=True),
    Column("creator", Text, nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("signature", String(88), nullable=False),
    UniqueConstraint("model", "number"),
)

version_files = Table(
    "version_files",
    metadata,
    Column("seq", Integer, ForeignKey("versions.seq"), primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("digest", String(71), ForeignKey("blobs.digest"), nullable=False),
    Index("ix_version_files_digest", "digest"),
)

# Evidence packs: `kind` says of what (study, compatibility, re-evaluation); the body names the version's digest.
packs = Table(
    "packs",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("version", Integer, ForeignKey("versions.seq"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("at", String(27), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("ix_packs_version", "version", "seq"),
)

pack_files = Table(
    "pack_files",
    metadata,
    Column("seq", Integer, ForeignKey("packs.seq"), primary_key=True, autoincrement=False),
    Column("path", Text, primary_key=True),
    Column("digest", String(71), ForeignKey("blobs.digest"), nullable=False),
    Index("ix_pack_files_digest", "digest"),
)

# Files whose content was deleted by reference: what named them stays, the content does not come back.
erasures = Table(
    "erasures",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("digest", String(71), ForeignKey("blobs.digest"), primary_key=True),
    Index("ix_erasures_digest", "digest"),
)

# What a name pointed to, and since when; the newest row at or before a time is the answer for that time.
alias_moves = Table(
    "alias_moves",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("version", Integer, ForeignKey("versions.seq")),  # nothing: stopped or withdrawn
    Column("at", String(27), nullable=False),
    Index("ix_alias_moves_model_alias_seq", "model", "alias", "seq"),
    Index("ix_alias_moves_model_alias_at", "model", "alias", "at"),
)

requests = Table(
    "requests",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("id", String(36), nullable=False, unique=True),
    Column("version", Integer, ForeignKey("versions.seq"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("requester", Text, nullable=False),
    Column("at", String(27), nullable=False),
    Column("body", LargeBinary, nullable=False),  # purpose, criteria, scope, and the digests that are to be approved
    Index("ix_requests_version", "version", "seq"),
)

# Reviews and decisions on a request, in the order they came: comment, approve, reject, renew, withdraw.
decisions = Table(
    "decisions",
    metadata,
    Column("seq", Integer, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
    Column("request", Integer, ForeignKey("requests.seq"), nullable=False),
    Column("verdict", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", String(27), nullable=False),
    Column("expires_at", String(27)),
    Column("body", LargeBinary, nullable=False),
    Index("ix_decisions_request", "request", "seq"),
)

# People and their tokens can change (a role, a revocation); each change is an event all the same.
people = Table(
    "people",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("active", Integer, nullable=False),
    Column("created_at", String(27), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("person", Text, ForeignKey("people.name"), nullable=False),
    Column("hash", Text, nullable=False),  # argon2id; the token itself is nowhere
    Column("scope", Text, nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("expires_at", String(27), nullable=False),
    Column("revoked_at", String(27)),
)

failures = Table(
    "failures",  # wrong secrets for a known token, for the lockout
    metadata,
    Column("token", String(16), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("last_at", String(27), nullable=False),
)

APPEND_ONLY = tuple(
    table.name
    for table in (
        events, checkpoints, versions, version_files, packs, pack_files, erasures, alias_moves, requests, decisions,
    )
)  # fmt: skip


_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION tsugiki_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$
"""


def append_only_statements(dialect: str, tables: Iterable[str] = APPEND_ONLY) -> list[str]:
    """SQL that makes a database refuse to change or delete rows of `tables`.

    On SQLite, `INSERT OR REPLACE` deletes without asking a trigger unless the connection has recursive_triggers on,
    which every connection of `database.py` has; what another program does so is found by `verify`.
    """
    if dialect == "postgresql":
        return [_POSTGRES_FUNCTION] + [
            f"CREATE TRIGGER {table}_keep_{what.lower()} BEFORE {what} ON {table} "
            f"FOR EACH {'STATEMENT' if what == 'TRUNCATE' else 'ROW'} EXECUTE FUNCTION tsugiki_append_only()"
            for table in tables
            for what in ("UPDATE", "DELETE", "TRUNCATE")
        ]
    return [
        f"CREATE TRIGGER {table}_keep_{what.lower()} BEFORE {what} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in tables
        for what in ("UPDATE", "DELETE")
    ]
