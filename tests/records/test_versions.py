"""Versions as rows: numbers, references, manifests that are what was signed, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import DBAPIError

from tests.records.adapters import DIGEST, write_peft
from tests.records.conftest import Person
from tsugiki.errors import RecordsError
from tsugiki.fingerprint import canonical_json, digest_bytes, digest_json, digest_tree
from tsugiki.records import ledger
from tsugiki.records.adapter_folder import read_adapter_folder
from tsugiki.records.aliases import move_alias
from tsugiki.records.ledger import NewEvent
from tsugiki.records.open import Records
from tsugiki.records.packs import record_blobs
from tsugiki.records.store import Blob
from tsugiki.records.versions import (
    Version,
    VersionManifest,
    files_of,
    find_version,
    next_number,
    rows_of,
    same_version,
    split_reference,
    tree_digest,
    version_at,
    version_lines,
)  # fmt: skip

PERSON = Person()


def manifest_of(name: str = "品質QA", number: int = 1, **changes: Any) -> VersionManifest:
    """A small sound manifest."""
    nothing = dict.fromkeys(
        ("name", "digest", "weights_digest", "config_digest", "tokenizer_digest", "template_digest", "architecture",
         "dtype", "quantization")
    )  # fmt: skip
    facts: dict[str, Any] = {
        "name": name,
        "number": number,
        "files": ({"path": "adapter_model.safetensors", "digest": DIGEST.format(7), "bytes": 12},),
        "tree": DIGEST.format(8),
        "base": {**nothing, "name": "tiny"},
        "method": "lora",
        "plan": None,
        "peft": {"r": 4, "lora_alpha": 8.0},
        "template": None,
        "recipe": {"learning_rate": 0.001},
        "seeds": {"training": 0},
        "data": ({"digest": None, "rows": None, "licence": "社内", "purpose": None},),
        "parent": None,
        "study": None,
        "code": {"tsugiki": "0.1.0", "packages": None, "environment": None},
        "creator": PERSON.name,
        "created_at": "2026-11-02T05:05:12.123456Z",
        "note": "",
        "unknown": {"data.0.purpose": "not stated"},
        **changes,
    }
    return VersionManifest.model_validate(facts)


def register(records: Records, manifest: VersionManifest) -> Version:
    with records.database.writing() as connection:
        record_blobs(connection, [Blob(file.digest, file.bytes) for file in manifest.files])
        event = NewEvent(PERSON, "version.registered", manifest.label)
        signature = records.database.key.sign(manifest.digest.encode("ascii"))
        return version_at(connection, ledger.append(connection, event, rows_of(manifest, signature)).seq)


def found(records: Records, reference: str) -> Version:
    with records.database.reading() as connection:
        return find_version(connection, reference)


def test_a_version_is_read_back_as_it_was_written(records: Records) -> None:
    manifest = manifest_of()
    version = register(records, manifest)
    assert version == found(records, "品質QA@1")
    assert (version.label, version.model, version.number) == ("品質QA@1", "品質QA", 1)
    assert version.digest == digest_json(version.manifest) == manifest.digest == digest_bytes(version.body)
    assert VersionManifest.model_validate_json(version.body) == manifest
    assert records.database.home.public.verifies(version.digest.encode("ascii"), version.signature)
    with records.database.reading() as connection:
        (file,) = files_of(connection, version)
    assert (file.path, file.digest, file.bytes) == ("adapter_model.safetensors", DIGEST.format(7), 12)


def test_every_way_to_name_a_version(records: Records) -> None:
    first, second = register(records, manifest_of()), register(records, manifest_of(number=2))
    other = register(records, manifest_of("other"))
    with records.database.writing() as connection:
        move_alias(connection, PERSON, "品質QA", "production", first.seq)
        move_alias(connection, PERSON, "品質QA", "poc", second.seq)
    assert found(records, "品質QA@2") == second
    assert found(records, "品質QA@production") == first
    assert found(records, "品質QA@poc") == second
    assert found(records, other.digest) == other
    assert found(records, other.digest[7:25]) == other
    assert found(records, other.digest[:17]) == other


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("品質QA@3", "no version '3' of 品質QA; the last is 1"),
        ("品質QA@0", "no version '0'"),
        ("品質QA@" + "9" * 400, "cannot be a number or an alias"),
        ("品質QA@99999999999999", "no version"),
        ("品質QA@0000000000010", "no version"),  # not 1, which its first twelve digits say
        ("nobody@1", "There is no model nobody"),
        ("品質QA@production", "was never given"),
        ("品質QA@stopped", "points nowhere"),
        ("品質QA", "names no version"),
        ("品質QA@", "names no version"),
        ("@1", "names no version"),
        ("a@b@c", "names no version"),
        ("../x@1", "cannot be the name of a model"),
        ("sha256:" + "0" * 64, "No version has a digest"),
        ("abcde", "names no version"),
    ],
)
def test_what_names_nothing_is_said(reference: str, reason: str, sqlite_records: Records) -> None:
    register(sqlite_records, manifest_of())
    with sqlite_records.database.writing() as connection:
        move_alias(connection, PERSON, "品質QA", "stopped", None)
    with pytest.raises(RecordsError) as refused:
        found(sqlite_records, reference)
    assert reason in refused.value.problem


def test_a_beginning_that_fits_several_is_refused(sqlite_records: Records) -> None:
    starts: dict[str, Version] = {}
    for number in range(1, 40):
        version = register(sqlite_records, manifest_of(number=number))
        if version.digest[:8] in starts:
            break
        starts[version.digest[:8]] = version
    # Beginnings of one digit are too short to be taken for a digest; two rows with one beginning are asked directly.
    from tsugiki.records.versions import _by_digest

    with sqlite_records.database.reading() as connection, pytest.raises(RecordsError, match="Several versions"):
        _by_digest(connection, version.digest[7])


def test_numbers_count_per_model(records: Records) -> None:
    register(records, manifest_of())
    register(records, manifest_of(number=2))
    with records.database.reading() as connection:
        assert (next_number(connection, "品質QA"), next_number(connection, "other")) == (3, 1)
        assert [(line.model, line.number) for line in version_lines(connection)] == [("品質QA", 2), ("品質QA", 1)]
        assert list(version_lines(connection, "other")) == []


def test_the_same_is_found_whatever_its_number_and_time(records: Records) -> None:
    first = register(records, manifest_of())

    def same(**changes: Any) -> Version | None:
        with records.database.reading() as connection:
            return same_version(connection, manifest_of(number=2, **changes))

    assert same() == first
    assert same(created_at="2027-01-01T00:00:00.000000Z", creator="somebody", note="again") == first
    assert same(data=({"digest": None, "rows": None, "licence": "社内", "purpose": "回答"},), unknown={}) is None
    assert same(name="other") is None
    assert same(files=({"path": "adapter_model.safetensors", "digest": DIGEST.format(9), "bytes": 12},)) is None


def forge(connection: Connection, **columns: Any) -> None:
    """As somebody with access to the file could: without the triggers."""
    for trigger in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all():
        connection.exec_driver_sql(f"DROP TRIGGER {trigger}")
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    connection.execute(text(f"UPDATE versions SET {sets}"), columns)


@pytest.mark.parametrize("column", ["body", "digest", "number", "model", "creator", "created_at"])
def test_a_forged_row_is_refused(column: str, sqlite_records: Records) -> None:
    register(sqlite_records, manifest_of())
    forged: dict[str, Any] = {
        "body": canonical_json({**manifest_of().model_dump(mode="json"), "note": "better"}),
        "digest": DIGEST.format(1),
        "number": 2,
        "model": "other",
        "creator": "somebody",
        "created_at": "2020-01-01T00:00:00.000000Z",
    }
    with sqlite_records.database.transaction() as connection:
        forge(connection, **{column: forged[column]})
    with (
        sqlite_records.database.reading() as connection,
        pytest.raises(RecordsError, match="is not what was registered"),
    ):
        version_at(connection, 2)


def test_rows_of_versions_cannot_be_changed(sqlite_records: Records) -> None:
    register(sqlite_records, manifest_of())
    for statement in ("UPDATE versions SET number = 2", "DELETE FROM versions", "UPDATE version_files SET path = 'x'"):
        with (
            pytest.raises((RecordsError, DBAPIError), match=r"does not change what was recorded|append-only"),
            sqlite_records.database.transaction() as connection,
        ):
            connection.exec_driver_sql(statement)


def test_files_that_the_manifest_does_not_name_are_refused(sqlite_records: Records) -> None:
    version = register(sqlite_records, manifest_of())
    from tsugiki.records.schema import version_files

    with sqlite_records.database.transaction() as connection:
        record_blobs(connection, [Blob(DIGEST.format(3), 4)])
        connection.execute(insert(version_files).values(seq=version.seq, path="hook.py", digest=DIGEST.format(3)))
    with sqlite_records.database.reading() as connection, pytest.raises(RecordsError, match="not those"):
        files_of(connection, version)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": ()},
        {"number": 0},
        {"tree": "sha256:x"},
        {"method": "prompt"},
        {"surprise": 1},
        {"recipe": {"learning_rate": float("nan")}},
        {"data": ({"digest": None, "rows": -1, "licence": None, "purpose": None},)},
    ],
)
def test_a_manifest_is_strict(changes: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, ValueError)):
        _ = manifest_of(**changes).digest


def test_the_tree_is_that_of_the_folder(tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "a")
    assert tree_digest(read_adapter_folder(folder).digests) == digest_tree(folder)


def test_references_are_split() -> None:
    assert split_reference("品質QA@production") == ("品質QA", "production")
