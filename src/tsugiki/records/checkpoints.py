"""Signed checkpoints: who holds the public key sees a ledger that was rewritten, who holds one sees a tail cut off.

Called by `database`, which writes one in every transaction that appended events, by `verify` and by `anchor`. A
checkpoint signs the newest event and, through `previous`, the checkpoint before it with its signature; so the newest
signature covers every event and every checkpoint, and none can be taken out of the middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from tsugiki.fingerprint import digest_bytes
from tsugiki.records import canonical
from tsugiki.records.keys import PublicKey, SigningKey
from tsugiki.records.schema import checkpoints

FIELDS = ("registry", "seq", "hash", "at", "key", "previous")
_NEWEST = select(checkpoints.c.body, checkpoints.c.signature).order_by(checkpoints.c.seq.desc()).limit(1)
_INSERT = insert(checkpoints)


@dataclass(frozen=True)
class Checkpoint:
    """The ledger of `registry` had `hash` as its event `seq` at `at`; signed by the key whose digest is `key`."""

    registry: str
    seq: int
    hash: str
    at: str
    key: str
    previous: str | None  # digest of the checkpoint before this one; the first has none
    signature: str

    @property
    def body(self) -> bytes:
        return canonical.canonical_bytes({name: getattr(self, name) for name in FIELDS})

    @property
    def digest(self) -> str:
        return link(self.body, self.signature)


def fast_body(registry: str, seq: int, hash: str, at: str, key: str, previous: str | None) -> bytes:
    """What `Checkpoint.body` is, for texts that need no escapes (a test compares); there may be a million of them."""
    before = f'"{previous}"' if previous else "null"
    return (
        f'{{"at":"{at}","hash":"{hash}","key":"{key}","previous":{before},"registry":"{registry}","seq":{seq}}}'
    ).encode()


def link(body: bytes, signature: str) -> str:
    """What the next checkpoint names as its `previous`: over body and signature, so that neither can be changed."""
    return digest_bytes(body + b"\n" + signature.encode("utf-8", "surrogatepass"))


def write_checkpoint(
    connection: Connection, key: SigningKey, *, registry: str, seq: int, hash: str, at: str
) -> Checkpoint:
    """Sign event `seq` in the transaction that appended it."""
    before = newest_checkpoint(connection)
    facts: dict[str, Any] = {
        "registry": registry, "seq": seq, "hash": hash, "at": at, "key": key.public.digest,
        "previous": before.digest if before else None,
    }  # fmt: skip
    body = canonical.canonical_bytes(facts)
    signed = Checkpoint(**facts, signature=key.sign(body))
    connection.execute(_INSERT, {"seq": seq, "body": body, "signature": signed.signature})
    return signed


def newest_checkpoint(connection: Connection) -> Checkpoint | None:
    """The newest one as it is stored; whether it is true is for `verify` to say. Raises ValueError at a broken one."""
    row = connection.execute(_NEWEST).first()
    return read_checkpoint(bytes(row.body), row.signature) if row else None


def read_checkpoint(body: bytes, signature: str) -> Checkpoint:
    """A checkpoint from its stored form. Raises ValueError when it is not one."""
    facts = canonical.parse(body)
    if not isinstance(facts, dict) or set(facts) != set(FIELDS):
        raise ValueError(f"a checkpoint holds exactly {', '.join(FIELDS)}")
    texts = (facts["registry"], facts["hash"], facts["at"], facts["key"], facts["previous"] or "")
    if not all(isinstance(text, str) for text in texts) or type(facts["seq"]) is not int:
        raise ValueError("a field of the checkpoint has the wrong type")
    return Checkpoint(**facts, signature=signature)


def is_signed(checkpoint: Checkpoint, key: PublicKey) -> bool:
    return checkpoint.key == key.digest and key.verifies(checkpoint.body, checkpoint.signature)
