"""Deciding: approve, reject, renew, withdraw.

Called by the commands of the same names. Whoever asked and whoever made the version decide about neither. An approval
is bound to the digests that the request names, carries its conditions and expires; withdrawing is for good and stops
every name that points to the version, in the same transaction. Never moves a name forward (work/promotion.py does).
"""

from __future__ import annotations

from collections.abc import Sequence

from tsugiki.errors import RecordsError
from tsugiki.records.aliases import alias_at, aliases_of
from tsugiki.records.approvals import decision_row, find_request
from tsugiki.records.ledger import NewEvent, append, moment
from tsugiki.records.moments import later
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor, require
from tsugiki.work.lifecycle import (
    WITHDRAWN,
    gates_of,
    refuse_too_near,
    refuse_unless_passed,
    refuse_withdrawn,
    subject_of,
)
from tsugiki.work.policy import policy_in_force
from tsugiki.work.promotion import Promoted, promoted
from tsugiki.work.reason import said
from tsugiki.work.requests import Standing, decide, refuse_unless_alive, standing
from tsugiki.work.rollback import Moved, stop_in

MOST_CONDITIONS = 50


def approve(
    records: Records,
    id: str,
    *,
    conditions: Sequence[str] = (),
    days: int | None = None,
    actor: Actor,
    reason: str,
) -> Standing:
    """Approve a request for `days` days, at most as many as the policy gives. Raises RecordsError or Undecided.

    Refused: to whoever asked or made the version, twice to the same person, and when anything is no longer as it was
    asked for or a gate no longer passes.
    """
    require(actor, "approve")
    why, kept = said(reason), [said(condition, "condition") for condition in conditions]
    if len(kept) > MOST_CONDITIONS:
        raise RecordsError(f"{len(kept)} conditions are too many.", fix=f"Give at most {MOST_CONDITIONS}.")
    with records.database.writing() as connection:
        policy = policy_in_force(records, connection).policy
        found = standing(connection, find_request(connection, id), policy)
        refuse_unless_alive(found)
        refuse_too_near(actor, found.subject, found.request.requester, "approve")
        if actor.name in found.approvers:
            raise RecordsError(f"{actor.name} approved {id} already.", fix="Ask another approver.")
        stage = policy.stage(found.request.stage)
        judged = gates_of(connection, found.subject, found.request.stage, stage)
        refuse_unless_passed(judged, subject=found.subject, stage=found.request.stage)
        lasting = stage.approval_days if days is None else days
        if not 1 <= lasting <= stage.approval_days:
            raise RecordsError(
                f"An approval for {found.request.stage} cannot last {lasting} days.",
                fix=f"The policy allows 1 to {stage.approval_days}.",
            )
        decide(
            connection,
            found,
            "approve",
            kind="approval.given",
            actor=actor,
            reason=why,
            expires_at=later(moment(connection), days=lasting),
            conditions=kept,
        )
        return standing(connection, found.request, policy)


def reject(records: Records, id: str, *, actor: Actor, reason: str) -> Standing:
    """Close a request, also one that was approved and not used. Raises RecordsError where nothing is left to reject."""
    require(actor, "reject")
    why = said(reason)
    with records.database.writing() as connection:
        policy = policy_in_force(records, connection).policy
        found = standing(connection, find_request(connection, id), policy)
        refuse_unless_alive(found)
        decide(connection, found, "reject", kind="approval.rejected", actor=actor, reason=why)
        return standing(connection, found.request, policy)


def renew(records: Records, reference: str, *, actor: Actor, reason: str) -> Promoted:
    """Decide that what `name@alias` points to stays, and set the next date. Raises RecordsError or Undecided.

    Every gate of the stage has to pass now, so evidence that has become too old is renewed first.
    """
    require(actor, "renew")
    why = said(reason)
    with records.database.writing() as connection:
        before = promoted(connection, reference)
        policy = policy_in_force(records, connection).policy
        about = subject_of(connection, f"{before.model}@{before.version.number}")
        refuse_withdrawn(about)
        refuse_too_near(actor, about, before.request.requester, "renew")
        stage = policy.stage(before.alias)
        judged = gates_of(connection, about, before.alias, stage)
        refuse_unless_passed(judged, subject=about, stage=before.alias)
        by, digests = later(moment(connection), days=stage.reevaluate_days), about.bound(policy)
        decided = {"reason": why, "digests": digests}
        row = decision_row(before.request, "renew", by=actor.name, expires_at=by, body=decided)
        event = NewEvent(
            actor=actor,
            kind="approval.renewed",
            object=f"{before.model}@{before.alias}",
            before={"reevaluate_by": before.reevaluate_by},
            after={"version": before.version.number, "reevaluate_by": by, "digests": digests},
            reason=why,
            request=before.request.id,
        )
        append(connection, event, {"decisions": [row]})
        return promoted(connection, reference)


def withdraw(records: Records, reference: str, *, actor: Actor, reason: str) -> tuple[str, list[Moved]]:
    """Take a version out of use for good; says which, and which names were stopped. Raises RecordsError."""
    require(actor, "withdraw")
    why = said(reason)
    with records.database.writing() as connection:
        about = subject_of(connection, reference)
        if about.withdrawn:
            raise RecordsError(f"{about.name} was withdrawn already.", fix="See: tsugiki registry history.")
        append(
            connection,
            NewEvent(
                actor=actor,
                kind=WITHDRAWN,
                object=about.name,
                before={"withdrawn": False},
                after={"withdrawn": True, "version": about.version.digest},
                reason=why,
            ),
        )
        states = [
            alias_at(connection, about.version.model, alias) for alias in aliases_of(connection, about.version.model)
        ]
        moved = [
            stop_in(connection, state, actor=actor, reason=f"{about.name} was withdrawn: {why}")
            for state in states
            if state.version == about.version.seq
        ]
    return about.name, moved
