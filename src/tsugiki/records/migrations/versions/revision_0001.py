"""The first schema, as the first registries were made with it. Frozen: later changes are later revisions.

Run by Alembic only. `tests/records/test_migrations.py` compares what it makes with schema.py.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tsugiki.records.schema import append_only_statements

revision = "0001"
down_revision = None

APPEND_ONLY = (
    "events", "checkpoints", "versions", "version_files", "packs", "pack_files", "erasures", "alias_moves", "requests",
    "decisions",
)  # fmt: skip


def upgrade() -> None:
    _ledger()
    _versions()
    _evidence()
    _lifecycle()
    _people()
    for statement in append_only_statements(op.get_bind().dialect.name, APPEND_ONLY):
        op.execute(sa.text(statement))


def _ledger() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(71), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("object", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("hash", name="uq_events_hash"),
    )
    op.create_index("ix_events_at", "events", ["at"])
    op.create_index("ix_events_object_seq", "events", ["object", "seq"])
    op.create_table(
        "checkpoints",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.String(88), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["events.seq"], name="fk_checkpoints_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_checkpoints"),
    )


def _versions() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("added_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
    )
    op.create_table(
        "versions",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.String(88), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["events.seq"], name="fk_versions_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_versions"),
        sa.UniqueConstraint("digest", name="uq_versions_digest"),
        sa.UniqueConstraint("model", "number", name="uq_versions_model_number"),
    )
    op.create_table(
        "version_files",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_version_files_digest"),
        sa.ForeignKeyConstraint(["seq"], ["versions.seq"], name="fk_version_files_seq"),
        sa.PrimaryKeyConstraint("seq", "path", name="pk_version_files"),
    )
    op.create_index("ix_version_files_digest", "version_files", ["digest"])


def _evidence() -> None:
    op.create_table(
        "packs",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["events.seq"], name="fk_packs_seq"),
        sa.ForeignKeyConstraint(["version"], ["versions.seq"], name="fk_packs_version"),
        sa.PrimaryKeyConstraint("seq", name="pk_packs"),
    )
    op.create_index("ix_packs_version", "packs", ["version", "seq"])
    op.create_table(
        "pack_files",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_pack_files_digest"),
        sa.ForeignKeyConstraint(["seq"], ["packs.seq"], name="fk_pack_files_seq"),
        sa.PrimaryKeyConstraint("seq", "path", name="pk_pack_files"),
    )
    op.create_index("ix_pack_files_digest", "pack_files", ["digest"])
    op.create_table(
        "erasures",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_erasures_digest"),
        sa.ForeignKeyConstraint(["seq"], ["events.seq"], name="fk_erasures_seq"),
        sa.PrimaryKeyConstraint("seq", "digest", name="pk_erasures"),
    )
    op.create_index("ix_erasures_digest", "erasures", ["digest"])


def _lifecycle() -> None:
    op.create_table(
        "alias_moves",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("at", sa.String(27), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["events.seq"], name="fk_alias_moves_seq"),
        sa.ForeignKeyConstraint(["version"], ["versions.seq"], name="fk_alias_moves_version"),
        sa.PrimaryKeyConstraint("seq", name="pk_alias_moves"),
    )
    op.create_index("ix_alias_moves_model_alias_at", "alias_moves", ["model", "alias", "at"])
    op.create_index("ix_alias_moves_model_alias_seq", "alias_moves", ["model", "alias", "seq"])
    op.create_table(
        "requests",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["events.seq"], name="fk_requests_seq"),
        sa.ForeignKeyConstraint(["version"], ["versions.seq"], name="fk_requests_version"),
        sa.PrimaryKeyConstraint("seq", name="pk_requests"),
        sa.UniqueConstraint("id", name="uq_requests_id"),
    )
    op.create_index("ix_requests_version", "requests", ["version", "seq"])
    op.create_table(
        "decisions",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("request", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["request"], ["requests.seq"], name="fk_decisions_request"),
        sa.ForeignKeyConstraint(["seq"], ["events.seq"], name="fk_decisions_seq"),
        sa.PrimaryKeyConstraint("seq", name="pk_decisions"),
    )
    op.create_index("ix_decisions_request", "decisions", ["request", "seq"])


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_people"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("expires_at", sa.String(27), nullable=False),
        sa.Column("revoked_at", sa.String(27), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.name"], name="fk_tokens_person"),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
    )
    op.create_table(
        "failures",
        sa.Column("token", sa.String(16), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_failures"),
    )
