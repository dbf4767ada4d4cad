"""The common ground of the lifecycle: which version is spoken of, what it shows, what an approval of it is bound to.

Called by requests, decisions, promotion and rollback, and by the command that lists gates. Everything is read inside
the caller's transaction, so that what was judged is what is recorded. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from tsugiki.errors import RecordsError, Undecided
from tsugiki.fingerprint import digest_bytes
from tsugiki.records.ledger import moment
from tsugiki.records.moments import moment_of
from tsugiki.records.open import Records
from tsugiki.records.packs import PackRow, packs_of
from tsugiki.records.rights import Actor
from tsugiki.records.schema import alias_moves, events
from tsugiki.records.versions import Version, files_of, find_version, split_reference
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
        return self.version.label

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
    return subject(connection, find_version(connection, reference))


def split_alias(reference: str) -> tuple[str, str]:
    """`name@production` in its two halves. Raises RecordsError for another form, and for `name@3`."""
    model, alias = split_reference(reference)
    if alias.isdecimal():
        raise RecordsError(f"{reference} is a version, not an alias.", fix=f"Name one, such as {model}@production.")
    return model, alias


def subject(connection: Connection, version: Version) -> Subject:
    """Raises RecordsError where an evidence pack is not what was attached."""
    packs = tuple(packs_of(connection, version.seq))
    for pack in packs:
        if digest_bytes(pack.body) != pack.digest:
            raise RecordsError(
                f"The evidence pack {pack.digest[:19]}… of {version.label} is not what was attached.",
                fix="Run tsugiki registry verify, and restore the registry from a backup.",
            )
    return Subject(version, packs, is_withdrawn(connection, version.model, version.number))


def is_withdrawn(connection: Connection, model: str, number: int) -> bool:
    found = select(events.c.seq).where(events.c.object == f"{model}@{number}", events.c.kind == WITHDRAWN).limit(1)
    return connection.execute(found).first() is not None


def gates_of(connection: Connection, subject: Subject, name: str, stage: Stage) -> tuple[Judged, ...]:
    """Every gate of the stage, the order of stages first."""
    before = () if stage.after is None else (_order(connection, subject, name, stage.after),)
    return (*before, *judge(stage.gates, subject.shown(), at=moment_of(moment(connection))))


def refuse_unless_passed(judged: Sequence[Judged], *, subject: Subject, stage: str) -> None:
    """Raises Undecided (exit status 3) where gates cannot tell, RecordsError where one fails."""
    verdict = verdict_of(judged)
    if verdict == "pass":
        return
    worst = [one for one in judged if one.verdict == verdict]
    more = f" ({len(worst) - 1} more gates say so too)" if len(worst) > 1 else ""
    kind, does = (RecordsError, "fails") if verdict == "fail" else (Undecided, "cannot tell")
    raise kind(
        f"{subject.name} may not go to {stage}: the gate {worst[0].gate} {does}{more}: {worst[0].says}",
        fix=f"See all of them with: tsugiki registry gates {subject.name} --stage {stage}.",
    )


def refuse_withdrawn(subject: Subject) -> None:
    if subject.withdrawn:
        raise RecordsError(
            f"{subject.name} was withdrawn, and no name may point to it again.", fix="Take another version."
        )


def refuse_too_near(actor: Actor, subject: Subject, requester: str, verb: str) -> None:
    """Raises RecordsError for whoever asked and for whoever made the version: they do not decide about it."""
    for name, what in ((requester, "asked for this"), (subject.version.creator, f"made {subject.name}")):
        if actor.name == name:
            raise RecordsError(f"{actor.name} {what} and may not {verb} it.", fix="Ask another approver.")


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is no longer as it was when an approval was asked for; empty where it holds."""
    found = []
    if then["version"] != now["version"]:
        found.append(f"the version was {then['version'][:19]}… and is {now['version'][:19]}…")
    new = [digest for digest in now["packs"] if digest not in then["packs"]]
    gone = [digest for digest in then["packs"] if digest not in now["packs"]]
    found += [f"the evidence pack {digest[:19]}… was attached since" for digest in new]
    found += [f"the evidence pack {digest[:19]}… is gone" for digest in gone]
    if then["policy"] != now["policy"]:
        found.append(f"the policy was {then['policy'][:19]}… and is {now['policy'][:19]}…")
    return found


def verify_files(records: Records, connection: Connection, version: Version) -> None:
    """Read every file of the version in the store. Raises RecordsError at the first that is not what it was."""
    for file in files_of(connection, version):
        records.store.verify(file.digest, file.bytes)


def _order(connection: Connection, subject: Subject, name: str, before: str) -> Judged:
    was = select(alias_moves.c.seq).where(
        alias_moves.c.model == subject.version.model,
        alias_moves.c.alias == before,
        alias_moves.c.version == subject.version.seq,
    )
    if connection.execute(was.limit(1)).first() is not None:
        return Judged("after", "pass", f"{subject.name} has been at {before}, which comes before {name}.")
    return Judged("after", "fail", f"{subject.name} has never been at {before}, which comes before {name}.")
