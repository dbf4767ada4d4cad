"""The store, in a folder and in an S3 bucket behind a real HTTP server: whole files or none, verified on every read."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.records import buckets
from tsugiki.errors import RecordsError
from tsugiki.records import store as store_module
from tsugiki.records.store import Blob, Store, key_of, open_store

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"weights " * 1000
BLOB = Blob("sha256:" + hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with buckets.server() as endpoint:
        yield endpoint


@dataclass(frozen=True)
class Kept:
    """A store, and a way past it to what it keeps."""

    store: Store
    overwrite: Callable[[str, bytes], None]
    listed: Callable[[], list[str]]


@pytest.fixture(params=["folder", "bucket"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "folder":
        root = tmp_path / "blobs"

        def overwrite(digest: str, content: bytes) -> None:
            path = root / key_of(digest)
            path.chmod(0o644)
            path.write_bytes(content)

        def listed() -> list[str]:
            return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

        return Kept(open_store("blobs", tmp_path), overwrite, listed)
    import s3fs

    endpoint = request.getfixturevalue("s3_endpoint")
    url = buckets.new_bucket(endpoint)
    files = s3fs.S3FileSystem(endpoint_url=endpoint, skip_instance_cache=True, use_listings_cache=False)
    prefix = url.removeprefix("s3://").partition("?")[0]
    return Kept(
        open_store(url, tmp_path),
        lambda digest, content: files.pipe_file(f"{prefix}/{key_of(digest)}", content),
        lambda: sorted(name.removeprefix(f"{prefix}/") for name in files.find(prefix)),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "adapter_model.safetensors"
    path.write_bytes(CONTENT)
    return path


def test_what_is_put_is_read_back(kept: Kept, source: Path, tmp_path: Path) -> None:
    assert kept.store.put(source) == BLOB
    assert kept.store.put(b"") == Blob("sha256:" + hashlib.sha256(b"").hexdigest(), 0)
    assert kept.store.read(BLOB.digest, BLOB.bytes) == CONTENT
    with kept.store.open(BLOB.digest) as file:
        assert file.read(8) == b"weights "
        file.seek(-8, os.SEEK_END)
        assert file.read() == b"weights "
    kept.store.fetch(BLOB.digest, tmp_path / "out" / "file", BLOB.bytes)
    assert (tmp_path / "out" / "file").read_bytes() == CONTENT
    kept.store.verify(BLOB.digest, BLOB.bytes)
    assert kept.store.exists(BLOB.digest)
    assert sorted(kept.store.digests()) == sorted([BLOB.digest, "sha256:" + hashlib.sha256(b"").hexdigest()])
    assert len(kept.listed()) == 2


def test_equal_content_is_kept_once(kept: Kept, source: Path) -> None:
    assert kept.store.put(source) == kept.store.put(CONTENT) == BLOB
    assert kept.listed() == [key_of(BLOB.digest)]


def damage(kind: str) -> bytes:
    return {
        "a flipped bit": CONTENT[:3000] + bytes([CONTENT[3000] ^ 1]) + CONTENT[3001:],
        "a missing byte": CONTENT[:-1],
        "a further byte": CONTENT + b"\0",
        "nothing left": b"",
    }[kind]


READS: dict[str, Callable[[Store, Path], Any]] = {
    "open": lambda store, _: store.open(BLOB.digest),
    "read": lambda store, _: store.read(BLOB.digest),
    "fetch": lambda store, to: store.fetch(BLOB.digest, to),
    "verify": lambda store, _: store.verify(BLOB.digest),
    "read with its size": lambda store, _: store.read(BLOB.digest, BLOB.bytes),
}


@pytest.mark.parametrize("kind", ["a flipped bit", "a missing byte", "a further byte", "nothing left"])
@pytest.mark.parametrize("way", READS)
def test_damage_is_refused_on_every_way_of_reading(way: str, kind: str, kept: Kept, tmp_path: Path) -> None:
    kept.store.put(CONTENT)
    kept.overwrite(BLOB.digest, damage(kind))
    with pytest.raises(RecordsError) as refused:
        READS[way](kept.store, tmp_path / "to")
    assert BLOB.digest in refused.value.problem
    assert "is damaged" in refused.value.problem or "bytes instead of 8000" in refused.value.problem
    assert not (tmp_path / "to").exists()


def test_damaged_content_is_replaced_when_it_is_put_again(kept: Kept) -> None:
    kept.store.put(CONTENT)
    kept.overwrite(BLOB.digest, damage("a flipped bit"))
    assert kept.store.put(CONTENT) == BLOB
    assert kept.store.read(BLOB.digest) == CONTENT


@pytest.mark.parametrize("way", READS)
def test_a_missing_file_is_named(way: str, kept: Kept, tmp_path: Path) -> None:
    kept.store.put(b"another")
    assert not kept.store.exists(BLOB.digest)
    with pytest.raises(RecordsError, match=f"{BLOB.digest} is missing"):
        READS[way](kept.store, tmp_path / "to")


def test_a_file_that_has_changed_since_it_was_judged_is_not_kept(kept: Kept, source: Path) -> None:
    with pytest.raises(RecordsError, match="changed while it was being stored"):
        kept.store.put(source, expected="sha256:" + "0" * 64)
    assert kept.listed() == []
    assert kept.store.put(source, expected=BLOB.digest) == BLOB


@pytest.mark.parametrize("digest", ["", "abcd", "sha256:../../x", "sha256:" + "A" * 64, "md5:" + "0" * 64])
def test_what_is_no_digest_is_not_looked_up(digest: str, kept: Kept, tmp_path: Path) -> None:
    for way in (kept.store.read, kept.store.exists, kept.store.delete, kept.store.verify):
        with pytest.raises(RecordsError, match="is not a digest"):
            way(digest)


def test_deleting_twice_is_deleting(kept: Kept) -> None:
    kept.store.put(CONTENT)
    kept.store.delete(BLOB.digest)
    kept.store.delete(BLOB.digest)
    assert kept.listed() == []
    assert list(kept.store.digests()) == []


def test_sweeping_twice_is_sweeping(kept: Kept) -> None:
    kept.store.put(CONTENT)
    assert (kept.store.sweep(), kept.store.sweep()) == (0, 0)
    assert kept.store.read(BLOB.digest) == CONTENT


def test_a_link_is_not_stored(kept: Kept, source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(RecordsError, match="could not be stored"):
        kept.store.put(tmp_path / "link")
    assert kept.listed() == []


# The folder alone


def test_files_are_read_only_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    store = open_store("blobs", tmp_path)
    store.put(CONTENT)
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path / "blobs").as_posix() for path in files] == [key_of(BLOB.digest)]
    assert files[0].stat().st_mode & 0o777 == 0o444


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path, source: Path) -> None:
    store = open_store("blobs", tmp_path)
    store.put(CONTENT)
    path = tmp_path / "blobs" / key_of(BLOB.digest)
    path.unlink()
    path.symlink_to(source)  # the very same content, but elsewhere
    with pytest.raises(RecordsError, match="could not be read"):
        store.read(BLOB.digest)


def test_sweeping_takes_what_the_dead_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    store = open_store("blobs", tmp_path)
    store.put(CONTENT)
    (tmp_path / "blobs" / "dead.partial").write_bytes(b"half")
    (tmp_path / "blobs" / "notes.txt").write_bytes(b"mine")
    begun, go_on = threading.Event(), threading.Event()

    place = store._place
    found: list[str] = []

    def write_slowly() -> None:
        with place.incoming() as incoming:
            incoming.write(b"half")
            begun.set()
            go_on.wait()
            incoming.write(b" and half")
            digest = "sha256:" + hashlib.sha256(b"half and half").hexdigest()
            incoming.keep(digest)
            found.append(digest)

    thread = threading.Thread(target=write_slowly)
    thread.start()
    begun.wait()
    swept = (store.sweep(), store.sweep())
    go_on.set()
    thread.join()
    assert swept == (1, 0)
    assert store.read(found[0]) == b"half and half"
    assert (tmp_path / "blobs" / "notes.txt").exists()
    assert not list((tmp_path / "blobs").glob("*.partial"))


CALLS = ("open", "write", "fchmod", "fsync", "replace")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_a_fault_at_any_call_leaves_nothing_half(
    call: str, fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store("blobs", tmp_path)
    store.put(b"before")
    real = getattr(os, call)
    for turn in range(10):  # the first, the second, … call of the kind fails
        left = [turn]

        def failing(*arguments: Any, real: Any = real, left: list[int] = left, **named: Any) -> Any:
            if left[0] == 0:
                left[0] -= 1
                raise OSError(fault, os.strerror(fault))
            left[0] -= 1
            return real(*arguments, **named)

        monkeypatch.setattr(os, call, failing)
        try:
            store.put(CONTENT + bytes([turn]))
            failed = False
        except RecordsError as error:
            failed = True
            assert os.strerror(fault) in error.problem
            assert ("Free some space" in error.fix) == (fault == errno.ENOSPC)
        monkeypatch.setattr(os, call, real)
        assert not list((tmp_path / "blobs").glob("*.partial"))
        for digest in store.digests():
            store.verify(digest)
        if not failed and left[0] >= 0:
            break
    else:
        pytest.fail(f"{call} was called ten times and more")
    assert store.read("sha256:" + hashlib.sha256(b"before").hexdigest()) == b"before"


FULL = """
import resource, signal, sys
from pathlib import Path
from tsugiki.errors import RecordsError
from tsugiki.records.store import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    open_store("blobs", Path(sys.argv[1])).put(bytes(5_000_000))
except RecordsError as error:
    print(error)
"""


def test_a_file_that_the_system_cuts_off_leaves_nothing(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"},
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    assert "could not be stored: File too large. Free some space" in said
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


# The bucket alone


def test_a_bucket_is_found_through_the_environment(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = buckets.new_bucket(s3_endpoint).partition("?")[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    assert open_store(url, tmp_path).put(CONTENT) == BLOB


@pytest.mark.parametrize(
    "url", ["s3://", "s3://key:secret@bucket", "s3://bucket?region=x", "s3://bucket#x", "https://x", "gs://bucket"]
)
def test_a_url_that_is_no_bucket_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="is not a"):
        open_store(url, tmp_path)


def test_a_server_that_does_not_answer_is_said_in_one_sentence(tmp_path: Path, s3_endpoint: str) -> None:
    url = buckets.new_bucket(s3_endpoint).partition("/some")[0] + "-missing"
    store = open_store(f"{url}?endpoint_url={s3_endpoint}", tmp_path)
    with pytest.raises(RecordsError, match="could not be stored"):
        store.put(CONTENT)


@pytest.mark.slow
def test_what_is_uploaded_in_parts_is_read_back(s3_endpoint: str, tmp_path: Path) -> None:
    store = open_store(buckets.new_bucket(s3_endpoint), tmp_path)
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1 << 20) * 120)
    blob = store.put(path)
    store.fetch(blob.digest, tmp_path / "back", blob.bytes)
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_a_folder_needs_no_fsspec() -> None:
    program = "import sys, tsugiki.records.store_folder; print({'fsspec', 's3fs', 'botocore'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"},
                           stdout=subprocess.PIPE, text=True, check=True)  # fmt: skip
    assert found.stdout.strip() == "set()"
    assert store_module.key_of(BLOB.digest).startswith("sha256/")
