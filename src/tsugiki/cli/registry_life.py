"""`tsugiki registry promote … withdraw`: what becomes of an approved version, up to its withdrawal.

Added to the sub-app by `main`. Each command parses, calls one function of `work`, renders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.lines import facts, when
from tsugiki.cli.registry_mlflow import mirrored
from tsugiki.cli.registry_options import HERE, Reason, RegistryFolder, Stage, TokenFile, Version, acting, opened
from tsugiki.cli.studies import print_json

if TYPE_CHECKING:
    from tsugiki.work.promotion import Promoted
    from tsugiki.work.rollback import Moved

Alias = Annotated[str, typer.Argument(help="name@production, or another alias", show_default=False)]


def promote(
    version: Version,
    stage: Stage,
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Let the stage's alias point to an approved version; everything is checked once more."""
    from tsugiki.work import promotion

    records = opened(registry)
    found = promotion.promote(records, version, stage, actor=acting(records, token_file), reason=reason)
    _print_promoted(found, as_json=as_json)
    mirrored(records)


def renew(
    alias: Alias,
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Decide that what an alias points to stays, and set the next date of re-evaluation."""
    from tsugiki.work import decisions

    records = opened(registry)
    found = decisions.renew(records, alias, actor=acting(records, token_file), reason=reason)
    _print_promoted(found, as_json=as_json)


def rollback(
    alias: Alias,
    reason: Reason,
    to: Annotated[int | None, typer.Option(help="number of a version that the alias had; else the one before")] = None,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Go back to the version before, at once and without a new approval; also when the database cannot be written."""
    from tsugiki.work import rollback as work

    records = opened(registry)
    moved = work.rollback(records, alias, to=to, actor=acting(records, token_file), reason=reason)
    _print_moved([moved], as_json=as_json)
    mirrored(records)


def stop(
    alias: Alias,
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Emergency stop: the alias points to nothing from now on."""
    from tsugiki.work import rollback as work

    records = opened(registry)
    _print_moved([work.stop(records, alias, actor=acting(records, token_file), reason=reason)], as_json=as_json)
    mirrored(records)


def withdraw(
    version: Version,
    reason: Reason,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a version out of use for good; every alias that points to it is stopped."""
    from tsugiki.work import decisions

    records = opened(registry)
    name, moved = decisions.withdraw(records, version, actor=acting(records, token_file), reason=reason)
    mirrored(records)
    if as_json:
        print_json({"withdrawn": name, "stopped": [vars(one) for one in moved]})
        return
    facts([("withdrawn", name)])
    _print_moved(moved, as_json=False)


COMMANDS = (promote, renew, rollback, stop, withdraw)


def _print_promoted(found: Promoted, *, as_json: bool) -> None:
    if as_json:
        print_json(promoted_json(found))
        return
    facts(promoted_facts(found))


def promoted_json(found: Promoted) -> dict[str, Any]:
    return {
        "alias": f"{found.model}@{found.alias}",
        "version": found.version.label,
        "digest": found.version.digest,
        "since": found.since,
        "request": found.request.id,
        "asked_by": found.request.requester,
        "approved_by": list(found.approvers),
        "conditions": list(found.conditions),
        "reevaluate_by": found.reevaluate_by,
    }


def promoted_facts(found: Promoted) -> list[tuple[str, Any]]:
    return [
        (f"{found.model}@{found.alias}", found.version.label),
        ("digest", found.version.digest),
        ("since", when(found.since)),
        ("request", found.request.id),
        ("asked by", found.request.requester),
        ("approved by", list(found.approvers)),
        *(("condition", condition) for condition in found.conditions),
        ("re-evaluate by", when(found.reevaluate_by)),
    ]


def _print_moved(moved: list[Moved], *, as_json: bool) -> None:
    if as_json:
        print_json([vars(one) for one in moved])
        return
    for one in moved:
        facts(
            [
                (f"{one.model}@{one.alias}", "nothing" if one.after is None else f"{one.model}@{one.after}"),
                ("before", "nothing" if one.before is None else f"{one.model}@{one.before}"),
                ("passed over, withdrawn", [f"{one.model}@{number}" for number in one.skipped]),
                ("not recorded yet", "the database cannot be written; it holds, and the next writer records it")
                if one.waits
                else ("not recorded yet", None),
            ]
        )
