"""A real S3 HTTP server in this process, and an empty bucket in it for every test that asks."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = itertools.count()


@contextmanager
def server() -> Iterator[str]:
    """The URL of the server, with credentials for it in the environment."""
    from moto.server import ThreadedMotoServer

    with patch.dict(os.environ, CREDENTIALS):
        one = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        one.start()
        host, port = one.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            one.stop()


def new_bucket(endpoint: str) -> str:
    """The store URL of an empty bucket."""
    import s3fs

    name = f"registry-{next(_numbers)}"
    s3fs.S3FileSystem(endpoint_url=endpoint, skip_instance_cache=True).mkdir(name)
    return f"s3://{name}/some/prefix?endpoint_url={endpoint}"
