"""`tsugiki registry request … gates`: asking for a stage, and what reviewers and approvers say to it.

Added to the sub-app by `main`. Each command parses, calls one function of `work`, renders. A gate that cannot tell ends
with exit status 3, one that fails with 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.lines import facts, table, when
from tsugiki.cli.registry_options import HERE, Reason, RegistryFolder, Stage, TokenFile, Version, acting, opened
from tsugiki.cli.studies import UNDECIDABLE, print_json

if TYPE_CHECKING:
    from tsugiki.work.requests import Standing

RequestId = Annotated[str, typer.Argument(metavar="REQUEST", help="such as r12", show_default=False)]


def request(
    version: Version,
    stage: Stage,
    purpose: Annotated[str, typer.Option(help="what the version is to be used for there")],
    criteria: Annotated[str, typer.Option(help="what success is, and what would take it back")],
    scope: Annotated[str, typer.Option(help="where and by whom: lines, sites, people")],
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask that a version may go to a stage; every gate of the stage has to pass."""
    from tsugiki.work import requests

    records = opened(registry)
    found = requests.request(
        records,
        version,
        stage,
        purpose=purpose,
        criteria=criteria,
        scope=scope,
        actor=acting(records, token_file),
        reason=reason,
    )
    _print_request(found, as_json=as_json)


def review(
    request: RequestId,
    comment: Annotated[str, typer.Option(help="what is to be said about it")],
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Comment on a request before it is decided."""
    from tsugiki.work import requests

    records = opened(registry)
    found = requests.review(records, request, comment=comment, actor=acting(records, token_file))
    _print_request(found, as_json=as_json)


def approve(
    request: RequestId,
    reason: Reason,
    condition: Annotated[list[str] | None, typer.Option("--condition", help="may be given several times")] = None,
    days: Annotated[int | None, typer.Option(help="days until it expires; as many as the policy allows")] = None,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Approve a request: for exactly this version, this evidence and this policy."""
    from tsugiki.work import decisions

    records = opened(registry)
    found = decisions.approve(
        records,
        request,
        conditions=condition or (),
        days=days,
        actor=acting(records, token_file),
        reason=reason,
    )
    _print_request(found, as_json=as_json)


def reject(
    request: RequestId,
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Reject a request, also one that was approved and not used yet."""
    from tsugiki.work import decisions

    records = opened(registry)
    found = decisions.reject(records, request, actor=acting(records, token_file), reason=reason)
    _print_request(found, as_json=as_json)


def requests(
    request: Annotated[str | None, typer.Argument(help="one request in full, such as r12")] = None,
    everything: Annotated[bool, typer.Option("--all", help="also those that nothing can come of any more")] = False,
    registry: RegistryFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """What waits for a review, an approval or a promotion."""
    from tsugiki.work import requests as work

    records = opened(registry)
    if request is not None:
        _print_request(work.one_request(records, request), as_json=as_json)
        return
    found = work.all_requests(records, alive_only=not everything)
    if as_json:
        print_json([_request_json(one) for one in found])
        return
    rows = [
        (one.request.id, one.subject.name, one.request.stage, one.state, one.request.requester, when(one.request.at))
        for one in found
    ]
    heads = ("request", "version", "stage", "state", "asked by", "asked")
    table(heads, rows, empty="no requests" if everything else "no requests wait; see those of before with --all")


def gates(version: Version, stage: Stage, registry: RegistryFolder = HERE, as_json: AsJson = False) -> int:
    """What a version has to show for a stage, and whether it does: 0 it does, 1 it does not, 3 it cannot be told."""
    from tsugiki.work.gates import verdict_of
    from tsugiki.work.requests import gates_for

    judged = gates_for(opened(registry), version, stage)
    verdict = verdict_of(judged)
    if as_json:
        print_json({"verdict": verdict, "gates": [vars(one) for one in judged]})
    else:
        table(("gate", "verdict", ""), [(one.gate, one.verdict, one.says) for one in judged], empty="no gates")
        facts([(stage, verdict)])
    return {"pass": 0, "fail": 1}.get(verdict, UNDECIDABLE)


COMMANDS = (request, requests, review, approve, reject, gates)


def _print_request(found: Standing, *, as_json: bool) -> None:
    if as_json:
        print_json(_request_json(found))
        return
    body, digests = found.request.body, found.request.body["digests"]
    facts(
        [
            ("request", found.request.id),
            ("version", found.subject.name),
            ("stage", found.request.stage),
            ("state", f"{found.state}: {found.says}" if found.says else found.state),
            ("approvals missing", found.missing if found.state == "open" else None),
            ("asked by", f"{found.request.requester}, {when(found.request.at)}"),
            ("purpose", body["purpose"]),
            ("criteria", body["criteria"]),
            ("scope", body["scope"]),
            *(
                (f"{_VERBS.get(one.verdict, one.verdict)} by", f"{one.actor}, {when(one.at)}: {one.body['reason']}")
                for one in found.decisions
            ),
            *(("condition", condition) for condition in found.conditions),
            ("approval expires", when(found.expires_at) if found.state == "approved" else None),
            ("bound to version", digests["version"]),
            *(("bound to evidence", digest) for digest in digests["packs"]),
            ("bound to policy", digests["policy"]),
        ]
    )


_VERBS = {
    "comment": "comment",
    "approve": "approved",
    "reject": "rejected",
    "promote": "promoted",
    "renew": "renewed",
}


def _request_json(found: Standing) -> dict[str, Any]:
    return {
        "id": found.request.id,
        "version": found.subject.name,
        "stage": found.request.stage,
        "state": found.state,
        "says": found.says,
        "missing": found.missing,
        "requester": found.request.requester,
        "at": found.request.at,
        **{name: found.request.body[name] for name in ("purpose", "criteria", "scope", "digests", "gates")},
        "decisions": [
            {"verdict": one.verdict, "actor": one.actor, "at": one.at, "expires_at": one.expires_at, **one.body}
            for one in found.decisions
        ],
        "conditions": found.conditions,
        "expires_at": found.expires_at,
    }
