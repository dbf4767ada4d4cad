"""Asking that a version may go to a stage, and saying how far each request has come.

Called by `tsugiki registry request`, `requests` and `review`, and by decisions and promotion for how far one has come.
A request is taken only when every gate passes, and names the exact digests that an approval will be bound to. What has
become of it is worked out anew each time from what is there now; it is stored nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import canonical_json
from tsugiki.records.approvals import Decision, Request, decision_row, decisions_on, find_request, requests_of
from tsugiki.records.ledger import NewEvent, append, head, moment
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor, require
from tsugiki.records.versions import version_at
from tsugiki.work.gates import Judged
from tsugiki.work.lifecycle import (
    Subject,
    differences,
    gates_of,
    refuse_unless_passed,
    refuse_withdrawn,
    subject,
    subject_of,
)
from tsugiki.work.policy import Policy, policy_in_force
from tsugiki.work.reason import said

State = Literal["open", "approved", "rejected", "promoted", "expired", "void"]
ALIVE = ("open", "approved")


@dataclass(frozen=True)
class Standing:
    """A request, its version, what was decided, and what it has come to; `says` is why, where that needs saying."""

    request: Request
    subject: Subject
    decisions: Sequence[Decision]
    state: State
    says: str
    missing: int  # approvals

    @property
    def approvers(self) -> list[str]:
        return list(dict.fromkeys(one.actor for one in self.decisions if one.verdict == "approve"))

    @property
    def conditions(self) -> list[str]:
        found = (one.body["conditions"] for one in self.decisions if one.verdict == "approve")
        return list(dict.fromkeys(condition for conditions in found for condition in conditions))

    @property
    def expires_at(self) -> str | None:
        """When the first of its approvals expires."""
        return min(
            (one.expires_at for one in self.decisions if one.verdict == "approve" and one.expires_at), default=None
        )


def request(
    records: Records, reference: str, stage: str, *, purpose: str, criteria: str, scope: str, actor: Actor, reason: str
) -> Standing:
    """Ask that a version may go to `stage`; `criteria` says what would take it back, `scope` who uses it for what.

    Raises RecordsError (Undecided, where a gate cannot tell) and records nothing unless every gate passes.
    """
    require(actor, "request")
    why = said(reason)
    texts = {"purpose": purpose.strip(), "criteria": criteria.strip(), "scope": scope.strip()}
    for name, text in texts.items():
        if not text:
            raise RecordsError(f"The {name} is empty.", fix=f"Say it with --{name}; whoever approves has to know it.")
    with records.database.writing() as connection:
        about = subject_of(connection, reference)
        refuse_withdrawn(about)
        policy = policy_in_force(records, connection).policy
        judged = gates_of(connection, about, stage, policy.stage(stage))
        refuse_unless_passed(judged, subject=about, stage=stage)
        for earlier in requests_of(connection, about.version.seq, stage):
            if standing(connection, earlier, policy).state in ALIVE:
                raise RecordsError(
                    f"{earlier.id} asks the same already.", fix=f"See it with: tsugiki registry requests {earlier.id}."
                )
        id = f"r{head(connection).seq + 1}"  # of its own event: short, and never given twice
        body = {
            **texts,
            "digests": about.bound(policy),
            "gates": [{"gate": one.gate, "verdict": one.verdict, "says": one.says} for one in judged],
        }
        row: dict[str, str | int | bytes | None] = {
            "id": id,
            "version": about.version.seq,
            "stage": stage,
            "requester": actor.name,
            "body": canonical_json(body),
        }
        append(
            connection,
            NewEvent(
                actor=actor,
                kind="approval.requested",
                object=about.name,
                after={"stage": stage, "digests": body["digests"], **texts},
                reason=why,
                request=id,
            ),
            {"requests": [row]},
        )
        return standing(connection, find_request(connection, id), policy)


def review(records: Records, id: str, *, comment: str, actor: Actor) -> Standing:
    """Say something about a request before it is decided. Raises RecordsError where it is decided already."""
    require(actor, "review")
    text = said(comment, "comment")
    with records.database.writing() as connection:
        policy = policy_in_force(records, connection).policy
        found = standing(connection, find_request(connection, id), policy)
        refuse_unless_alive(found)
        decide(connection, found, "comment", kind="approval.commented", actor=actor, reason=text)
        return standing(connection, found.request, policy)


def all_requests(records: Records, *, alive_only: bool = False) -> list[Standing]:
    """Every request, or those that still wait for somebody; the oldest first."""
    with records.database.reading() as connection:
        policy = policy_in_force(records, connection).policy
        found = [standing(connection, one, policy) for one in requests_of(connection)]
    return [one for one in found if one.state in ALIVE] if alive_only else found


def one_request(records: Records, id: str) -> Standing:
    with records.database.reading() as connection:
        return standing(connection, find_request(connection, id), policy_in_force(records, connection).policy)


def standing(connection: Connection, asked: Request, policy: Policy) -> Standing:
    """What a request has come to, seen from now and under this policy."""
    about = subject(connection, version_at(connection, asked.version))
    decided = decisions_on(connection, asked)
    needed = policy.stages[asked.stage].approvals if asked.stage in policy.stages else 1
    found = Standing(asked, about, decided, "open", "", needed)
    missing = max(needed - len(found.approvers), 0)

    def so(state: State, says: str = "") -> Standing:
        return Standing(asked, about, decided, state, says, missing)

    verdicts = {one.verdict: one for one in decided}
    if "promote" in verdicts:
        return so("promoted", f"{verdicts['promote'].actor} promoted it on {verdicts['promote'].at[:10]}")
    if "reject" in verdicts:
        return so("rejected", f"{verdicts['reject'].actor}: {verdicts['reject'].body['reason']}")
    if about.withdrawn:
        return so("void", "the version was withdrawn")
    if changed := differences(asked.body["digests"], about.bound(policy)):
        return so("void", "; ".join(changed))
    if found.expires_at is not None and found.expires_at <= moment(connection):
        return so("expired", f"the approval expired on {found.expires_at[:10]}")
    return so("open" if missing else "approved")


def refuse_unless_alive(found: Standing) -> None:
    """Raises RecordsError for a request that nothing more can come of."""
    if found.state not in ALIVE:
        says = f": {found.says}" if found.says else ""
        raise RecordsError(
            f"{found.request.id} for {found.subject.name} is {found.state}{says}.",
            fix=f"Ask anew with: tsugiki registry request {found.subject.name} --stage {found.request.stage}.",
        )


def decide(
    connection: Connection,
    about: Standing,
    verdict: str,
    *,
    kind: str,
    actor: Actor,
    reason: str,
    expires_at: str | None = None,
    **body: Any,
) -> None:
    """Write one decision with its event."""
    whole = {"reason": reason, "digests": about.request.body["digests"], **body}
    row = decision_row(about.request, verdict, by=actor.name, expires_at=expires_at, body=whole)
    append(
        connection,
        NewEvent(
            actor=actor,
            kind=kind,
            object=about.subject.name,
            before={"state": about.state},
            after={"stage": about.request.stage, "expires_at": expires_at, "digests": whole["digests"], **body},
            reason=reason,
            request=about.request.id,
        ),
        {"decisions": [row]},
    )


def gates_for(records: Records, reference: str, stage: str) -> tuple[Judged, ...]:
    """What the version would show if somebody asked now. Raises RecordsError for an unknown version or stage."""
    with records.database.reading() as connection:
        asked = policy_in_force(records, connection).policy.stage(stage)
        return gates_of(connection, subject_of(connection, reference), stage, asked)
