"""Archives for auditors: the same registry gives the same bytes, they verify alone, and every change is found."""

from __future__ import annotations

import ast
import io
import json
import struct
import subprocess
import sys
import venv
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.work.finished_studies import PERSON, WORD, finish_study
from tests.work.registries import (
    ADMIN,
    AUDITOR,
    MAKER,
    Made,
    add_version,
    approve,
    busy_with,
    new_registry,
)
from tsugiki.errors import RecordsError, UsageError
from tsugiki.fingerprint import canonical_json, digest_bytes, digest_file
from tsugiki.records.keys import SigningKey, create_key
from tsugiki.records.ledger import history
from tsugiki.records.open import Records
from tsugiki.work import archive_verifier
from tsugiki.work.archive import export_evidence, verify_archive
from tsugiki.work.archive_verifier import BadArchive, Entry, directory, local_header, verify
from tsugiki.work.attach import attach_bundle, attach_study

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_study(tmp_path_factory.mktemp("studies") / "study")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, study: Path) -> tuple[Records, Made]:
    records = new_registry(tmp_path_factory.mktemp("registries") / "registry")
    busy_with(records, 3)
    add_version(records, study / "adapters" / "full-s0", "other")
    version = add_version(records, study / "adapters" / "lora-s0")
    attach_study(records, version, study, texts=True, actor=MAKER, reason="")
    attach_bundle(records, version, "compatibility", {"r.json": b"{}"}, {"results": []}, actor=MAKER, reason="")
    approve(records, version)
    busy_with(records, 2)
    return records, version


@pytest.fixture(scope="module")
def archive(registry: tuple[Records, Made], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("archives") / "evidence.zip"
    export_evidence(*registry, out, texts=False, actor=AUDITOR, reason="yearly audit")
    return out


@pytest.fixture
def key(registry: tuple[Records, Made]) -> bytes:
    return registry[0].database.home.public.pem()


def unpacked(archive: Path) -> Files:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(files: Files, order: Callable[[Files], list[str]] = sorted) -> bytes:
    out, found = io.BytesIO(), []
    for name in order(files):
        crc = zlib.crc32(files[name])
        out.write(local_header(name, len(files[name]), crc))
        found.append(Entry(name, out.tell(), len(files[name]), crc))
        out.write(files[name])
    return out.getvalue() + directory(found, out.tell())


def signed(files: Files, key: SigningKey) -> Files:
    """What somebody with the registry's own key could sign: shows that the checks below the signature hold too."""
    listed = json.loads(files["archive.json"])
    rest = {name: content for name, content in files.items() if not name.startswith("archive.")}
    listed["files"] = [
        {"path": name, "digest": digest_bytes(content), "bytes": len(content)} for name, content in sorted(rest.items())
    ]
    body = canonical_json(listed)
    return {**rest, "archive.json": body, "archive.sig": (key.sign(body) + "\n").encode()}


def test_an_archive_verifies_and_says_what_is_in_it(archive: Path, key: bytes, registry: tuple[Records, Made]) -> None:
    found = verify(archive, key)
    assert found.version == "分類@1" and found.digest == registry[1].digest
    assert (found.packs, found.requests, found.decisions) == (2, 1, 1)
    assert found.texts == 0 and found.texts_elsewhere > 40 and found.texts_erased == 0
    kinds = [one["kind"] for one in found.history]
    assert kinds == [
        "version.added", "evidence.attached", "evidence.attached", "approval.requested", "approval.decided",
        "alias.moved",
    ]  # fmt: skip
    assert [one["actor"] for one in found.history][-2] == "kaneko"
    assert found.events == json.loads(unpacked(archive)["archive.json"])["checkpoint"]["seq"]


def test_the_export_is_in_the_ledger_and_the_next_one_holds_it(
    archive: Path, registry: tuple[Records, Made], tmp_path: Path, key: bytes
) -> None:
    records, version = registry
    with records.database.reading() as connection:
        exported = [one for one in history(connection, object="分類@1") if one.kind == "evidence.exported"][-1]
    assert exported.after["archive"] == digest_file(archive) and exported.reason == "yearly audit"
    export_evidence(records, version, tmp_path / "next.zip", texts=False, actor=AUDITOR, reason="")
    assert verify(tmp_path / "next.zip", key).history[-1]["kind"] == "evidence.exported"


def test_the_same_registry_gives_the_same_bytes(registry: tuple[Records, Made], tmp_path: Path) -> None:
    records, version = registry
    first = export_evidence(records, version, tmp_path / "1.zip", texts=True, actor=AUDITOR, reason="")
    files = unpacked(tmp_path / "1.zip")
    assert packed(files) == (tmp_path / "1.zip").read_bytes()
    second = export_evidence(records, version, tmp_path / "2.zip", texts=True, actor=AUDITOR, reason="")
    changed = {name for name, content in unpacked(tmp_path / "2.zip").items() if content != files[name]}
    assert second.checkpoint == first.checkpoint + 1  # the first export itself
    ledger = {"ledger/events.jsonl", "ledger/checkpoint.json", "ledger/checkpoint.sig"}
    assert changed == {"archive.json", "archive.sig", *ledger}


def test_any_unzip_reads_it(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert {one.compress_type for one in opened.infolist()} == {zipfile.ZIP_STORED}
    files = unpacked(archive)
    assert "--public-key" in files["README.md"].decode() and "検証の手順" in files["README.ja.md"].decode()
    assert files["verify.py"] == Path(archive_verifier.__file__).read_bytes()


def test_texts_are_in_it_only_when_asked_for(archive: Path, registry: tuple[Records, Made], tmp_path: Path) -> None:
    content = archive.read_bytes()
    assert WORD.encode() not in content and PERSON.encode() not in content
    export_evidence(*registry, tmp_path / "texts.zip", texts=True, actor=AUDITOR, reason="")
    assert PERSON.encode() in (tmp_path / "texts.zip").read_bytes()
    found = verify(tmp_path / "texts.zip", registry[0].database.home.public.pem())
    assert found.texts > 40 and found.texts_elsewhere == 0


def test_what_cannot_be_exported_leaves_nothing(registry: tuple[Records, Made], tmp_path: Path) -> None:
    records, version = registry
    out = tmp_path / "there.zip"
    out.write_bytes(b"")
    with pytest.raises(UsageError, match="is there already"):
        export_evidence(records, version, out, texts=False, actor=AUDITOR, reason="")
    with pytest.raises(RecordsError, match="anna is an admin and may not export-evidence"):
        export_evidence(records, version, tmp_path / "a.zip", texts=False, actor=ADMIN, reason="")
    assert list(tmp_path.iterdir()) == [out]


def test_damaged_evidence_is_not_exported(study: Path, tmp_path: Path) -> None:
    records = new_registry(tmp_path / "registry")
    version = add_version(records, study / "adapters" / "lora-s0")
    attached = attach_bundle(records, version, "compatibility", {"r.json": b"{}"}, {}, actor=MAKER, reason="")
    digest = attached.manifest["files"][0]["digest"]
    path = next(records.folder.glob(f"blobs/**/{digest[7:]}"))
    path.chmod(0o644)
    path.write_bytes(b"[]")
    with pytest.raises(RecordsError, match="is damaged"):
        export_evidence(records, version, tmp_path / "a.zip", texts=False, actor=AUDITOR, reason="")
    assert not (tmp_path / "a.zip").exists()


def first_line(files: Files, change: Callable[[dict[str, Any]], None], number: int = 1) -> Files:
    lines = files["ledger/events.jsonl"].split(b"\n")
    event = json.loads(lines[number])
    change(event)
    lines[number] = canonical_json(event)
    return {**files, "ledger/events.jsonl": b"\n".join(lines)}


def lines(files: Files, change: Callable[[list[bytes]], list[bytes]]) -> Files:
    kept = change(files["ledger/events.jsonl"].split(b"\n")[:-1])
    return {**files, "ledger/events.jsonl": b"".join(line + b"\n" for line in kept)}


def name_of(files: Files, start: str, end: str = "") -> str:
    return next(name for name in sorted(files) if name.startswith(start) and name.endswith(end))


def without(files: Files, start: str) -> Files:
    gone = name_of(files, start)
    return {name: content for name, content in files.items() if name != gone}


def changed(files: Files, start: str, content: bytes = b"{}") -> Files:
    return {**files, name_of(files, start): content}


def flipped(files: Files, name: str) -> Files:
    content = bytearray(files[name])
    content[len(content) // 2] ^= 1
    return {**files, name: bytes(content)}


# What is done to the files of an archive by somebody without the key, and what the verifier names.
TAMPERED: dict[str, tuple[Callable[[Files], Files], str]] = {
    "an event edited": (lambda files: first_line(files, lambda one: one.update(reason="other")), "ledger/events"),
    "a scorecard edited": (lambda files: flipped(files, name_of(files, "packs/", "scorecard.json")), "scorecard.json"),
    "the manifest edited": (lambda files: flipped(files, name_of(files, "records/versions")), "records/versions"),
    "a decision dropped": (lambda files: without(files, "records/decisions"), "records/decisions"),
    "a file added": (lambda files: {**files, "more.txt": b"x"}, "more.txt"),
    "the README edited": (lambda files: flipped(files, "README.md"), "README.md"),
    "the verifier edited": (lambda files: flipped(files, "verify.py"), "verify.py"),
    "the key replaced": (lambda files: {**files, "keys/ledger.pub": b"-----"}, "keys/ledger.pub"),
    "the list edited": (lambda files: flipped(files, "archive.json"), "archive.json"),
    "the signature edited": (lambda files: flipped(files, "archive.sig"), "archive.json"),
    "the signature missing": (lambda files: without(files, "archive.sig"), "archive.sig"),
    "the ledger missing": (lambda files: without(files, "ledger/events"), "ledger/events.jsonl"),
    "two files swapped": (
        lambda files: {**files, "README.md": files["README.ja.md"], "README.ja.md": files["README.md"]},
        "README",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_changed_is_named(name: str, archive: Path, key: bytes, tmp_path: Path) -> None:
    change, where = TAMPERED[name]
    path = tmp_path / "bad.zip"
    path.write_bytes(packed(change(unpacked(archive))))
    with pytest.raises(BadArchive) as bad:
        verify(path, key)
    assert where in bad.value.where, bad.value


# The same by somebody who can sign with the registry's key: the ledger still names what does not fit it.
RESIGNED: dict[str, tuple[Callable[[Files], Files], str]] = {
    "an event edited": (
        lambda files: first_line(files, lambda one: one.update(reason="other")),
        r"events\.jsonl, event 3",
    ),
    "an event deleted": (lambda files: lines(files, lambda all: [*all[:2], *all[3:]]), r"events\.jsonl, event 3"),
    "events swapped": (lambda files: lines(files, lambda all: [all[0], all[2], all[1], *all[3:]]), "event 2"),
    "an event inserted": (lambda files: lines(files, lambda all: [*all[:2], all[1], *all[2:]]), "event 3"),
    "the tail cut off": (lambda files: lines(files, lambda all: all[:-1]), r"checkpoint\.json: it signs event"),
    "half an event": (lambda files: {**files, "ledger/events.jsonl": files["ledger/events.jsonl"][:-9]}, "cut off"),
    "an event not canonical": (
        lambda files: lines(files, lambda all: [all[0].replace(b'":', b'": ', 1), *all[1:]]),
        "event 1: it is not an event as the ledger writes them",
    ),
    "another checkpoint": (
        lambda files: flipped(files, "ledger/checkpoint.json"),
        r"checkpoint\.json: it is not signed",
    ),
    "another pack": (lambda files: changed(files, "records/packs"), "records/packs.*is not what event"),
    "a pack dropped": (lambda files: without(files, "records/packs"), "records/packs.*missing"),
    "another request": (lambda files: changed(files, "records/requests"), "records/requests.*is not what event"),
    "a decision dropped": (lambda files: without(files, "records/decisions"), "records/decisions.*missing"),
    "another version": (lambda files: changed(files, "records/versions"), "records/versions.*is not what event"),
    "a pack's file changed": (lambda files: changed(files, "packs/"), "packs/.*not the file that the evidence names"),
    "a pack's file dropped": (lambda files: without(files, "packs/"), "packs/.*missing"),
    "a file too many": (lambda files: {**files, "packs/0/x": b""}, "packs/0/x: nothing in the ledger asks for it"),
}


@pytest.mark.parametrize("name", RESIGNED)
def test_the_ledger_names_what_does_not_fit_it(
    name: str, archive: Path, key: bytes, registry: tuple[Records, Made], tmp_path: Path
) -> None:
    change, message = RESIGNED[name]
    path = tmp_path / "bad.zip"
    path.write_bytes(packed(signed(change(unpacked(archive)), registry[0].database.key)))
    with pytest.raises(BadArchive, match=message):
        verify(path, key)


def test_a_ledger_written_anew_with_another_key_is_found(archive: Path, key: bytes, tmp_path: Path) -> None:
    other = create_key(tmp_path / "keys")
    path = tmp_path / "bad.zip"
    path.write_bytes(packed(signed(unpacked(archive), other)))
    with pytest.raises(BadArchive, match=r"archive\.json: it is not signed by the owner of this public key"):
        verify(path, key)
    with pytest.raises(BadArchive, match="event 1: it does not follow"):
        verify(path, other.public.pem())


def test_an_approval_by_the_maker_is_named(study: Path, tmp_path: Path) -> None:
    records = new_registry(tmp_path / "registry")
    version = add_version(records, study / "adapters" / "lora-s0")
    approve(records, version, approver=MAKER)
    with pytest.raises(RecordsError, match="event 4: ota approved, who made the version"):
        export_evidence(records, version, tmp_path / "a.zip", texts=False, actor=AUDITOR, reason="")


def written(files: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        for info, content in files:
            opened.writestr(info, content)
    return out.getvalue()


def info(name: str, **values: Any) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)
    for field, value in values.items():
        setattr(found, field, value)
    return found


def twice() -> bytes:
    return packed({"a": b"1", "b": b"2"}).replace(b"b", b"a")


def mode(value: int) -> bytes:
    return struct.pack("<L", value << 16)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "directory"),
    "no zip": (b"PK\3\4 or not", "it ends at byte 0"),
    "a bomb": (written([(info("a", compress_type=zipfile.ZIP_DEFLATED), bytes(10**6))]), "not stored as it is"),
    "a way out": (written([(info("../a"), b"")]), "not a name"),
    "an absolute name": (written([(info("/a"), b"")]), "not a name"),
    "a drive": (written([(info("C:a"), b"")]), "not a name"),
    "a backslash": (written([(info("a\\b"), b"")]), "not a name"),
    "a hidden file": (written([(info(".a"), b"")]), "not a name"),
    "a name that is no ASCII": (written([(info("あ"), b"")]), "not a name"),
    "a link": (packed({"a": b"b"}).replace(mode(0o100644), mode(0o120777)), "directory"),
    "a date": (written([(info("a", date_time=(2026, 1, 1, 0, 0, 0)), b"")]), "not stored as it is"),
    "the same name twice": (twice(), "twice"),
    "names that differ in case": (packed({"A": b"", "a": b""}), "twice"),
    "names out of order": (packed({"b": b"", "a": b""}, list), "out of order"),
    "something before it": (b"x" + packed({"a": b""}), "directory"),
    "something behind it": (packed({"a": b""}) + b"x", "directory"),
    "cut off": (packed({"a": b"1234"})[:33], "cut off"),
    "a lie about the size": (packed({"a": b"1"}).replace(b"PK\1\2", b"PK\1\3"), "directory"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layouts_are_refused(name: str, key: bytes, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    path = tmp_path / "bad.zip"
    path.write_bytes(content)
    with pytest.raises(BadArchive, match=message):
        verify(path, key)


def test_every_flipped_bit_is_found(archive: Path, key: bytes, tmp_path: Path) -> None:
    content = archive.read_bytes()
    path = tmp_path / "bad.zip"
    for place in range(0, len(content), len(content) // 60):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(BadArchive):
            verify(path, key)


def test_the_verifier_stands_alone() -> None:
    tree = ast.parse(Path(archive_verifier.__file__).read_text(encoding="utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [one.name for one in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert names - set(sys.stdlib_module_names) == {"cryptography"}


def test_the_command_says_good_or_bad(archive: Path, key: bytes, tmp_path: Path) -> None:
    (tmp_path / "ledger.pub").write_bytes(key)
    command = [sys.executable, archive_verifier.__file__, archive, "--public-key", tmp_path / "ledger.pub"]
    good = subprocess.run(command, capture_output=True, text=True, check=False)
    assert good.returncode == 0 and good.stdout.startswith("GOOD  分類@1"), good.stderr
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert found["good"] and found["decisions"] == 1
    bad = tmp_path / "bad.zip"
    bad.write_bytes(packed(flipped(unpacked(archive), "README.md")))
    said = subprocess.run([*command[:2], bad, *command[3:]], capture_output=True, text=True, check=False)
    assert said.returncode == 1 and said.stderr == "BAD  README.md: it is not the file that the signed list names\n"
    gone = subprocess.run([*command[:2], tmp_path / "no", *command[3:]], capture_output=True, text=True, check=False)
    assert gone.returncode == 1 and "No such file" in gone.stderr and "Traceback" not in gone.stderr


def test_wrong_keys_are_said_in_one_sentence(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="the public key: it is no Ed25519 key"):
        verify_archive(archive, archive)
    with pytest.raises(RecordsError, match="No such file"):
        verify_archive(archive, tmp_path / "none")
    assert BadArchive("a", "b").where == "a"


@pytest.mark.slow
def test_it_verifies_in_an_empty_environment(archive: Path, key: bytes, tmp_path: Path) -> None:
    venv.create(tmp_path / "check", with_pip=True)
    python = tmp_path / "check" / "bin" / "python"
    install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*install, "--constraint", "constraints.txt", "cryptography"], check=True)
    with zipfile.ZipFile(archive) as opened:
        (tmp_path / "verify.py").write_bytes(opened.read("verify.py"))
    (tmp_path / "ledger.pub").write_bytes(key)
    command = [python, tmp_path / "verify.py", archive, "--public-key", tmp_path / "ledger.pub"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert said.returncode == 0 and said.stdout.startswith("GOOD"), said.stderr
    there = subprocess.run([python, "-c", "import tsugiki"], capture_output=True, check=False, cwd=tmp_path)
    assert there.returncode != 0
