"""Versions of models: the manifest that says what one is, and its rows.

Written once by `work.register` and never changed; read by everything that names a version. A version's digest is that
of its manifest's canonical JSON, which stands in the row as it was hashed and signed, and is compared whenever it is
read. What nobody knows is null in the manifest, and `unknown` says why. Decides nothing about people or stages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row, func, select

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import canonical_json, digest_bytes, digest_json
from tsugiki.records.aliases import alias_at
from tsugiki.records.safe_names import check_name, shown
from tsugiki.records.schema import blobs, version_files, versions

if TYPE_CHECKING:
    from tsugiki.records.ledger import Rows

REFERENCE = re.compile(r"(?P<model>[^@]+)@(?P<which>[^@]+)")
DIGEST_PREFIX = re.compile(r"(sha256:)?(?P<hex>[0-9a-f]{6,64})")
MOST_DIGITS = 12
SEE_LIST = "See them with: tsugiki registry list."
RESTORE = "Restore the registry from a backup."
# What may differ between two additions of the very same thing.
NOT_COMPARED = ("number", "creator", "created_at", "note", "code")

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Json = dict[str, Any]


class Facts(BaseModel):
    # NaN stays NaN on its way out, so that canonical JSON refuses it instead of reading null.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, ser_json_inf_nan="constants", defer_build=True
    )


class FileFacts(Facts):
    path: str
    digest: Digest
    bytes: Annotated[int, Field(ge=0)]


class BaseFacts(Facts):
    """The base that the adapter was trained on."""

    name: str | None
    digest: Digest | None
    weights_digest: Digest | None
    config_digest: Digest | None
    tokenizer_digest: Digest | None
    template_digest: Digest | None
    architecture: str | None
    dtype: str | None
    quantization: str | None


class DataFacts(Facts):
    """What it learned from: digest of the data file, rows used, licence, and what the data may be used for."""

    digest: Digest | None
    rows: Annotated[int, Field(ge=0)] | None
    licence: str | None
    purpose: str | None


class ParentFacts(Facts):
    """The version that this one goes on from."""

    name: str
    number: Annotated[int, Field(ge=1)]
    digest: Digest


class StudyFacts(Facts):
    """The study that trained it: digests of its lock and of its scorecard, the trial, the verdict."""

    digest: Digest
    trial: str
    scorecard: Digest | None
    verdict: str | None


class CodeFacts(Facts):
    """What trained it: versions of tsugiki and of packages, and the digest of the machine."""

    tsugiki: str | None
    packages: dict[str, str | None] | None
    environment: str | None


class VersionManifest(Facts):
    format: Literal[1] = 1
    name: str
    number: Annotated[int, Field(ge=1)]
    files: Annotated[tuple[FileFacts, ...], Field(min_length=1)]
    tree: Digest
    base: BaseFacts
    method: Literal["lora", "adapter", "hybrid", "full"]
    plan: Json | None
    peft: Json | None
    template: Literal["plain", "chat"] | None
    recipe: Json | None
    seeds: dict[str, int] | None
    data: tuple[DataFacts, ...]
    parent: ParentFacts | None
    study: StudyFacts | None
    code: CodeFacts
    creator: str
    created_at: str
    note: str
    unknown: dict[str, str]

    @cached_property
    def body(self) -> bytes:
        """Canonical JSON (RFC 8785): what is stored, hashed and signed."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        return digest_bytes(self.body)

    @property
    def label(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def same(self) -> str:
        """Equal for two manifests that say the same about the same files."""
        return _same(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Version:
    """A version as it stands in the registry. `seq` is that of its event; `body` is the manifest as it was hashed."""

    seq: int
    model: str
    number: int
    digest: str
    creator: str
    created_at: str
    body: bytes
    signature: str

    @property
    def label(self) -> str:
        return f"{self.model}@{self.number}"

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest as plain JSON; `VersionManifest` names its fields."""
        value: Mapping[str, Any] = json.loads(self.body)
        return value


@dataclass(frozen=True)
class VersionLine:
    """What a list shows of a version."""

    model: str
    number: int
    digest: str
    creator: str
    created_at: str


@dataclass(frozen=True)
class StoredFile:
    path: str
    digest: str
    bytes: int


def tree_digest(files: Mapping[str, str]) -> str:
    """Of a folder's files, digest by path; equal to `fingerprint.digest_tree` of the folder."""
    return digest_json(dict(files))


def rows_of(manifest: VersionManifest, signature: str) -> Rows:
    """The rows of a version, for the ledger to write with its event. `signature` is of the digest, as text in ASCII."""
    row: dict[str, str | int | bytes | None] = {
        "model": manifest.name,
        "number": manifest.number,
        "digest": manifest.digest,
        "creator": manifest.creator,
        "created_at": manifest.created_at,
        "body": manifest.body,
        "signature": signature,
    }
    return {
        versions.name: [row],
        version_files.name: [{"path": file.path, "digest": file.digest} for file in manifest.files],
    }


def next_number(connection: Connection, model: str) -> int:
    """One more than the last; inside the transaction that will write it."""
    last = connection.scalar(select(func.max(versions.c.number)).where(versions.c.model == model))
    return (last or 0) + 1


def same_version(connection: Connection, manifest: VersionManifest) -> Version | None:
    """A version of this model that says the same about the same files, whatever its number, time and note."""
    first = manifest.files[0]
    candidates = connection.execute(
        select(versions)
        .join(version_files, version_files.c.seq == versions.c.seq)
        .where(
            version_files.c.digest == first.digest,
            version_files.c.path == first.path,
            versions.c.model == manifest.name,
        )
        .order_by(versions.c.seq)
    )
    found = (_version(row) for row in candidates)
    return next((version for version in found if _same(version.manifest) == manifest.same), None)


def find_version(connection: Connection, reference: str) -> Version:
    """The version that a text names: `name@3`, `name@production`, or the beginning of a version's digest.

    Raises RecordsError when there is none, when the alias points nowhere, and when a digest's beginning fits several.
    """
    if "@" not in reference and (prefix := DIGEST_PREFIX.fullmatch(reference)):
        return _by_digest(connection, prefix["hex"])
    model, which = split_reference(reference)
    if which.isdecimal():
        # Python refuses to read numbers of thousands of digits, PostgreSQL those beyond 64 bits.
        number = int(which) if len(which) <= MOST_DIGITS else 0
        row = connection.execute(select(versions).where(_is(model), versions.c.number == number)).first()
        if row is None:
            raise _no_version(connection, model, which)
        return _version(row)
    state = alias_at(connection, model, which)
    if state.version is None:
        fault = "points nowhere" if state.since else "was never given"
        raise RecordsError(f"The name {model}@{which} {fault}.", fix=f"Name a version of {model}, such as {model}@1.")
    return version_at(connection, state.version)


def split_reference(reference: str) -> tuple[str, str]:
    """`name@3` or `name@alias` in its two halves. Raises RecordsError for another form."""
    found = REFERENCE.fullmatch(reference)
    if found is None:
        raise RecordsError(
            f"{shown(reference)} names no version.", fix="Write name@3, name@production, or the start of a digest."
        )
    return check_name(found["model"], "the name of a model"), check_name(found["which"], "a number or an alias")


def version_at(connection: Connection, seq: int) -> Version:
    """The version of the event `seq`. Raises RecordsError when there is none."""
    row = connection.execute(select(versions).where(versions.c.seq == seq)).first()
    if row is None:
        raise RecordsError(f"The event {seq} made no version.", fix="Run: tsugiki registry verify")
    return _version(row)


def version_lines(connection: Connection, model: str | None = None) -> list[VersionLine]:
    """Every version, or those of one model: models in order of their names, newest first."""
    columns = versions.c
    query = select(columns.model, columns.number, columns.digest, columns.creator, columns.created_at)
    if model is not None:
        query = query.where(_is(model))
    rows = connection.execute(query.order_by(columns.model, columns.number.desc())).all()
    return [VersionLine(*row) for row in rows]


def files_of(connection: Connection, version: Version) -> tuple[StoredFile, ...]:
    """The files of a version, as its rows name them. Raises RecordsError when its manifest names others."""
    rows = connection.execute(
        select(version_files.c.path, version_files.c.digest, blobs.c.bytes)
        .join(blobs, blobs.c.digest == version_files.c.digest)
        .where(version_files.c.seq == version.seq)
    )
    files = tuple(sorted((StoredFile(*row) for row in rows), key=lambda file: file.path))
    named = sorted((one["path"], one["digest"], one["bytes"]) for one in version.manifest["files"])
    if [(file.path, file.digest, file.bytes) for file in files] != named:
        raise RecordsError(f"The files of {version.label} are not those that its manifest names.", fix=RESTORE)
    return files


def _by_digest(connection: Connection, start: str) -> Version:
    rows = connection.execute(
        select(versions).where(versions.c.digest.between(f"sha256:{start}", f"sha256:{start:f<64}")).limit(2)
    ).all()
    if not rows:
        raise RecordsError(f"No version has a digest that starts with {start}.", fix=SEE_LIST)
    if len(rows) > 1:
        raise RecordsError(f"Several versions have digests that start with {start}.", fix="Write more of it.")
    return _version(rows[0])


def _is(model: str) -> Any:
    return versions.c.model == model


def _no_version(connection: Connection, model: str, which: str) -> RecordsError:
    last = next_number(connection, model) - 1
    if not last:
        return RecordsError(f"There is no model {model}.", fix=SEE_LIST)
    return RecordsError(f"There is no version {shown(which)} of {model}; the last is {last}.", fix=SEE_LIST)


def _version(row: Row[Any]) -> Version:
    """A row that is what it was: its body has the digest, and its columns repeat the body."""
    version = Version(**{**row._mapping, "body": bytes(row.body)})
    said = version.manifest if digest_bytes(version.body) == version.digest else {}
    columns = (version.model, version.number, version.creator, version.created_at)
    if tuple(said.get(key) for key in ("name", "number", "creator", "created_at")) != columns:
        raise RecordsError(
            f"The manifest of {version.label} is not what was registered.", fix="Run: tsugiki registry verify"
        )
    return version


def _same(manifest: Mapping[str, Any]) -> str:
    return digest_json({key: value for key, value in manifest.items() if key not in NOT_COMPARED})
