"""Promotion: let the name of a stage point to a version that was approved for it.

Called by `tsugiki registry promote`. Before the name moves everything is checked once more: the files of the version
are read and compared with their digests, the approval must stand, unexpired and bound to what is there now, and every
gate must pass. Also says of a name what it points to on whose word, and by when that is decided again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from tsugiki.errors import RecordsError
from tsugiki.records.aliases import alias_at, move
from tsugiki.records.approvals import Request, decision_row, decisions_on, requests_of
from tsugiki.records.ledger import append, moment
from tsugiki.records.moments import later
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor, require
from tsugiki.records.versions import Version, find_version, version_at
from tsugiki.work.lifecycle import (
    Subject,
    gates_of,
    refuse_unless_passed,
    refuse_withdrawn,
    split_alias,
    subject,
    verify_files,
)
from tsugiki.work.policy import Policy, policy_in_force
from tsugiki.work.reason import said
from tsugiki.work.requests import ALIVE, Standing, standing

PROMOTED = "alias.promoted"


@dataclass(frozen=True)
class Promoted:
    """What a name points to, and the request that it rests on; `reevaluate_by` is a stored moment."""

    model: str
    alias: str
    version: Version
    since: str
    request: Request
    approvers: Sequence[str]
    conditions: Sequence[str]
    reevaluate_by: str


def promote(records: Records, reference: str, stage: str, *, actor: Actor, reason: str) -> Promoted:
    """Raises RecordsError, or Undecided where a gate cannot tell; nothing moves then."""
    require(actor, "promote")
    why = said(reason)
    with records.database.reading() as connection:
        version = find_version(connection, reference)
        verify_files(records, connection, version)
    with records.database.writing() as connection:
        about = subject(connection, version)  # whose files were read; a name may mean another one by now
        refuse_withdrawn(about)
        policy = policy_in_force(records, connection).policy
        asked = policy.stage(stage)
        approved = _approved(connection, about, stage, policy)
        judged = gates_of(connection, about, stage, asked)
        refuse_unless_passed(judged, subject=about, stage=stage)
        by = later(moment(connection), days=asked.reevaluate_days)
        event, rows = move(
            connection,
            actor,
            about.version.model,
            stage,
            about.version.seq,
            kind=PROMOTED,
            reason=why,
            request=approved.request.id,
        )
        after = {
            **event.after,
            "approved_by": approved.approvers,
            "conditions": approved.conditions,
            "reevaluate_by": by,
        }
        decided = {"reason": why, "digests": about.bound(policy)}
        decision = decision_row(approved.request, "promote", by=actor.name, expires_at=by, body=decided)
        append(connection, replace(event, after=after), {**rows, "decisions": [decision]})
        return promoted(connection, f"{about.version.model}@{stage}")


def promoted(connection: Connection, reference: str) -> Promoted:
    """What `name@alias` rests on. Raises RecordsError where it points to nothing, or to what was never promoted."""
    model, alias = split_alias(reference)
    state = alias_at(connection, model, alias)
    if state.version is None or state.since is None:
        raise RecordsError(
            f"{reference} points to nothing.", fix=f"See what it was with: tsugiki registry history {reference}."
        )
    for asked in reversed(requests_of(connection, state.version, alias)):
        decided = decisions_on(connection, asked)
        dates = [one.expires_at for one in decided if one.verdict in ("promote", "renew") and one.expires_at]
        if dates:
            approvals = [one for one in decided if one.verdict == "approve"]
            return Promoted(
                model,
                alias,
                version_at(connection, state.version),
                state.since,
                asked,
                list(dict.fromkeys(one.actor for one in approvals)),
                list(dict.fromkeys(condition for one in approvals for condition in one.body["conditions"])),
                dates[-1],
            )
    raise RecordsError(f"{reference} was never promoted.", fix="Run: tsugiki registry verify.")


def _approved(connection: Connection, about: Subject, stage: str, policy: Policy) -> Standing:
    found = [standing(connection, one, policy) for one in requests_of(connection, about.version.seq, stage)]
    approved = [one for one in found if one.state == "approved"]
    if approved:
        return approved[-1]
    if not found:
        raise RecordsError(
            f"Nobody has asked that {about.name} may go to {stage}.",
            fix=f"Ask with: tsugiki registry request {about.name} --stage {stage}.",
        )
    last = found[-1]
    if last.state in ALIVE:
        raise RecordsError(
            f"{last.request.id} for {about.name} lacks {last.missing} of its approvals.",
            fix=f"An approver runs: tsugiki registry approve {last.request.id}.",
        )
    raise RecordsError(
        f"{about.name} is not approved for {stage}: {last.request.id} is {last.state}: {last.says}.",
        fix=f"Ask anew with: tsugiki registry request {about.name} --stage {stage}.",
    )
