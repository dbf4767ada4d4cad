"""The common ground of the lifecycle: which version is spoken of, what it shows, what an approval of it is bound to.

Called by requests, decisions, promotion and rollback, and by nobody else but the command that lists gates. A version is
named `name@3`, or by an alias that points to it. Everything is read inside the caller's transaction, so that what was
judged is what is recorded. Changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from tsugiki.errors import RecordsError, Undecided
from tsugiki.fingerprint import digest_bytes
from tsugiki.records import schema
from tsugiki.records.aliases import alias_at
from tsugiki.records.ledger import history
from tsugiki.records.moments import moment_of
from tsugiki.records.open import Records
from tsugiki.records.packs import PackRow, packs_of
from tsugiki.records.versions import Version, find_version
from tsugiki.work.gates import Judged, Shown, judge, verdict_of
from tsugiki.work.policy import Policy, Stage

WITHDRAWN = "version.withdrawn"


@dataclass(frozen=True)
class Subject:
    """One version with everything that was attached to it, the oldest first."""

    version: Version
    packs: tuple[PackRow, ...]
    withdrawn: bool

    @property
    def name(self) -> str:
        return f"{self.version.model}@{self.version.number}"

    def shown(self) -> Shown:
        """The newest study or re-evaluation counts, and every compatibility report."""
        summaries = [pack.manifest["summary"] for pack in self.packs if pack.kind in ("study", "re-evaluation")]
        reports = [pack.manifest["summary"] for pack in self.packs if pack.kind == "compatibility"]
        return Shown(summaries[-1] if summaries else None, reports, self.version.manifest["data"])

    def bound(self, policy: Policy) -> dict[str, Any]:
        """The digests that an approval names: it holds for these and for no others."""
        return {
            "version": self.version.digest,
            "packs": [pack.digest for pack in self.packs],
            "policy": policy.digest,
        }


def subject_of(connection: Connection, reference: str) -> Subject:
    """The version that `name@3` or `name@alias` means now. Raises RecordsError where there is none."""
    version = find_version(connection, reference)
    packs = tuple(packs_of(connection, version.seq))
    for pack in packs:
        if digest_bytes(pack.body) != pack.digest:
            raise RecordsError(
                f"The evidence pack {pack.digest[:19]}… of {reference} is not what was attached.",
                fix="Run tsugiki registry verify, and restore the registry from a backup.",
            )
    return Subject(version, packs, is_withdrawn(connection, version))


def is_withdrawn(connection: Connection, version: Version) -> bool:
    found = history(connection, object=f"{version.model}@{version.number}", limit=1000)
    return any(event.kind == WITHDRAWN for event in found)
