"""An S3 bucket as the place of a registry's files, through s3fs.

Used by `store` for `s3://bucket/prefix`. S3 has no rename and needs none: an object appears whole when its upload ends.
A file is collected on the local disk first, since its key is its digest, then uploaded once with its SHA-256, which the
server compares. Credentials come from the environment, as every AWS program takes them; the endpoint from the URL's
query (`?endpoint_url=http://…`) or from AWS_ENDPOINT_URL. What a broken upload leaves on the server is no object that
could be seen; a lifecycle rule of the bucket removes it.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qs, urlsplit

from tsugiki.errors import RecordsError
from tsugiki.records.safe_names import shown
from tsugiki.records.store import key_of

ENDPOINT = "endpoint_url"


class BucketPlace:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        if not parts.netloc or "@" in parts.netloc or parts.fragment or query.keys() - {ENDPOINT}:
            raise RecordsError(
                f"{shown(url)} is not a bucket.",
                fix="Write s3://BUCKET/PREFIX, with ?endpoint_url=http://… where it is not AWS, and no credentials.",
            )
        self.name = f"s3://{parts.netloc}{parts.path}".rstrip("/")
        self._root = f"{parts.netloc}{parts.path}".rstrip("/")
        self._endpoint = query[ENDPOINT][0] if ENDPOINT in query else os.environ.get("AWS_ENDPOINT_URL")
        self._opened: Any = None

    @property
    def _files(self) -> Any:
        """The file system of s3fs, made at its first use."""
        if self._opened is None:
            try:
                import s3fs
            except ModuleNotFoundError:
                raise RecordsError(
                    f"The files in {self.name} need s3fs, which is not installed.", fix="pip install 'tsugiki[s3]'"
                ) from None
            self._opened = s3fs.S3FileSystem(
                endpoint_url=self._endpoint, use_listings_cache=False, skip_instance_cache=True
            )
        return self._opened

    @contextmanager
    def incoming(self) -> Iterator[_Upload]:
        with tempfile.NamedTemporaryFile(suffix=".partial") as file:
            yield _Upload(self, file)

    def upload(self, path: str, digest: str) -> None:
        checksum = base64.b64encode(bytes.fromhex(digest.partition(":")[2])).decode()
        with _plain_errors():
            self._files.put_file(path, self._path(digest), ChecksumSHA256=checksum)

    def open(self, digest: str) -> BinaryIO:
        file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            with _plain_errors():
                self._files.get_file(self._path(digest), file.name)
        except BaseException:
            file.close()
            raise
        return cast(BinaryIO, file)

    def exists(self, digest: str) -> bool:
        with _plain_errors():
            return bool(self._files.exists(self._path(digest)))

    def modified(self, digest: str) -> float:
        with _plain_errors():
            return float(self._files.modified(self._path(digest)).timestamp())

    def delete(self, digest: str) -> None:
        with _plain_errors():
            if self._files.exists(self._path(digest)):
                self._files.rm_file(self._path(digest))

    def digests(self) -> Iterator[str]:
        with _plain_errors():
            found = self._files.find(f"{self._root}/sha256")
        for path in found:
            name = path.rpartition("/")[2]
            if path == f"{self._root}/{key_of('sha256:' + name)}":
                yield f"sha256:{name}"

    def sweep(self) -> int:
        """Nothing is left behind that could be seen."""
        return 0

    def _path(self, digest: str) -> str:
        return f"{self._root}/{key_of(digest)}"


class _Upload:
    def __init__(self, place: BucketPlace, file: Any) -> None:
        self._place, self._file = place, file

    def write(self, content: bytes) -> None:
        self._file.write(content)

    def keep(self, digest: str) -> None:
        self._file.flush()
        self._place.upload(self._file.name, digest)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What botocore and the connection raise, as the OSError that a disk would raise."""
    from aiohttp import ClientError as ConnectionFailed
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, ConnectionFailed) as error:
        raise OSError(0, str(error)) from error
