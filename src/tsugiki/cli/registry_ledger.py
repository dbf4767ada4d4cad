"""`tsugiki registry history`, `verify`, `anchor` and `policy`: what happened, and whether it can be believed.

Added to the sub-app by `main`. Each command parses, calls one function below, renders. Moments are read and shown in
the zone of this machine unless another one is written, and the answer says which zone was taken.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.lines import NOTHING, facts, table, when
from tsugiki.cli.registry_options import HERE, RegistryFolder, TokenFile, acting, opened
from tsugiki.cli.studies import print_json, print_line, write_starter
from tsugiki.config import LanguageName
from tsugiki.errors import UsageError

if TYPE_CHECKING:
    from tsugiki.records.ledger import Event
    from tsugiki.records.open import Records


def history(
    about: Annotated[
        str | None,
        typer.Argument(help="name, name@3, name@production, person:NAME or policy; everything if left out"),
    ] = None,
    since: Annotated[str | None, typer.Option(help='not before, such as "2026-11-02 14:05"')] = None,
    until: Annotated[str | None, typer.Option(help="not after")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="so many of the newest")] = 100,
    registry: RegistryFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """What happened, the newest first: when, who, what, from what to what, and why."""
    from tsugiki.records.moments import asked
    from tsugiki.work.audit import history_of

    begin, end = (None if text is None else asked(text) for text in (since, until))
    events, waiting = history_of(
        opened(registry), about, since=begin.at if begin else None, until=end.at if end else None, limit=limit
    )
    if as_json:
        print_json({"events": [asdict(one) for one in events], "waiting": waiting})
        return
    zone = begin or end
    facts([("time zone", zone.zone if zone else None)])
    rows = [
        (one.seq, when(one.at), f"{one.actor['name']} ({one.actor['role']})", one.kind, one.object, _change(one),
         one.request or NOTHING, one.reason)
        for one in events
    ]  # fmt: skip
    table(("event", "when", "who", "what", "of", "change", "request", "why"), rows, empty="no events")
    for one in waiting:
        print_line(f"waits to be recorded: {one['kind']} of {one['object']} by {one['actor']} at {when(one['at'])}")


def verify(
    anchor: Annotated[Path | None, typer.Option(help="file that checkpoints were anchored to")] = None,
    public_key: Annotated[Path | None, typer.Option(help="ledger.pub as you were given it, not the registry's")] = None,
    files: Annotated[bool, typer.Option("--files", help="also read and compare every stored file")] = False,
    registry: RegistryFolder = HERE,
    as_json: AsJson = False,
) -> int:
    """Whether ledger and tables are what was signed; names the first bad record and ends with exit status 1."""
    from tsugiki.work.audit import verify_registry

    records = opened(registry)
    report, read = verify_registry(records, anchor=anchor, public_key=public_key, files=files)
    bad = report.bad
    if as_json:
        print_json({
            "verified": bad is None,
            "registry": report.registry,
            "events": report.events,
            "checkpoints": report.checkpoints,
            "newest": None if report.newest is None else {"seq": report.newest.seq, "hash": report.newest.hash},
            "anchored": report.anchored,
            "own_key": public_key is not None,
            "files": read,
            "bad": None if bad is None else asdict(bad),
        })  # fmt: skip
        return 0 if bad is None else 1
    if bad is not None:
        print_line(f"not verified: {bad}")
        return 1
    newest = report.newest
    facts(
        [
            ("verified", f"{report.events} events, {report.checkpoints} checkpoints"),
            ("registry", report.registry),
            ("newest event", None if newest is None else f"{newest.seq}, {when(newest.at)}, {newest.hash}"),
            ("files read", read),
            ("anchor", "agrees" if report.anchored else "none given: a tail that was cut off is not seen without one"),
            (
                "public key",
                public_key or "the registry's own: whoever holds its private key could have signed all anew",
            ),
        ]
    )
    return 0


def anchor(
    file: Annotated[
        Path | None, typer.Option(help="append the checkpoint to this file, best on another machine")
    ] = None,
    command: Annotated[str | None, typer.Option(help="hand it to this command's standard input")] = None,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Keep the newest checkpoint where whoever writes to the registry cannot, so that a cut tail is seen."""
    from tsugiki.work.audit import anchor_newest

    if (file is None) == (command is None):
        raise UsageError("One of --file and --command is needed.", fix="For example: --file /mnt/audit/anchor.jsonl.")
    try:
        words = None if command is None else shlex.split(command)
    except ValueError as error:
        words = []
        fault = f"{str(error)[0].lower()}{str(error)[1:]}"
    else:
        fault = "it is empty"
    if words == []:
        raise UsageError(f"The command {command!r} cannot be run: {fault}.", fix="Name a program with its arguments.")
    records = opened(registry)
    done = anchor_newest(records, file=file, command=words, actor=acting(records, token_file))
    if as_json:
        print_json(done)
        return
    facts([("anchored event", done["seq"]), ("hash", done["hash"]), ("to", done["to"])])


def policy(
    write: Annotated[Path | None, typer.Option(help="write the default policy here, to start from, and stop")] = None,
    language: Annotated[LanguageName, typer.Option(help="language of the comments that --write writes")] = "en",
    put: Annotated[Path | None, typer.Option("--set", help="put this policy in force (an admin)")] = None,
    reason: Annotated[str, typer.Option(help="why, for the ledger; with --set")] = "",
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> int:
    """Stages and gates: print those in force, write the default, or put others in force."""
    from tsugiki.work.policy import default_text, policy_in_force, set_policy

    if write is not None:
        if put is not None:
            raise UsageError("--write and --set do not go together.", fix="Write one first, change it, then set it.")
        return write_starter(write, default_text(language), option="--write", used_with="tsugiki registry policy --set")
    records = opened(registry)
    if put is not None:
        found = set_policy(records, put, actor=acting(records, token_file), reason=reason)
    else:
        with records.database.reading() as connection:
            found = policy_in_force(records, connection)
    if as_json:
        rules = found.policy.model_dump(mode="json")
        print_json({"digest": found.policy.digest, "since_event": found.since, "policy": rules})
        return 0
    if put is None:
        print_line(found.text.rstrip("\n"))
        return 0
    facts(
        [("in force since event", found.since), ("digest", found.policy.digest), ("stages", list(found.policy.stages))]
    )
    return 0


COMMANDS = (history, verify, anchor, policy)


def show_then(records: Records, reference: str, at: str, *, as_json: bool) -> None:
    """What an alias meant at a moment, on whose word; for `tsugiki registry show --at`."""
    from tsugiki.records.moments import asked
    from tsugiki.records.times import now
    from tsugiki.work.audit import pointed

    moment = asked(at)
    found = pointed(records, reference, moment.at)
    state, promotion = found.state, found.promotion
    rests_on = promotion.after if promotion is not None else {}
    if as_json:
        print_json(
            {
                "alias": reference,
                "at": moment.at,
                "zone": moment.zone,
                "version": None if state.version is None else f"{state.model}@{state.number}",
                "digest": state.digest,
                "since": state.since,
                "event": state.seq,
                "request": promotion.request if promotion is not None else None,
                **{name: rests_on.get(name) for name in ("approved_by", "conditions", "reevaluate_by")},
            }
        )
        return
    never = "nothing: it had never been given" if state.since is None else "nothing: it was stopped"
    facts(
        [
            ("at", f"{when(moment.at)}, read as {moment.zone}"),
            ("not come yet", "as things stand now" if moment.at > now() else None),
            (reference, never if state.version is None else f"{state.model}@{state.number}"),
            ("digest", state.digest),
            ("since", when(state.since)),
            ("moved by event", state.seq),
            ("request", promotion.request if promotion is not None else None),
            ("approved by", rests_on.get("approved_by")),
            *(("condition", condition) for condition in rests_on.get("conditions", ())),
            ("re-evaluate by", when(rests_on.get("reevaluate_by"))),
        ]
    )


def _change(event: Event) -> str:
    """From what to what, in the words of the event; of a decision only what it is about."""
    before, after = _short(event.kind, event.before), _short(event.kind, event.after)
    return after if before == NOTHING else f"{before} → {after}"


# What a reader wants to see of an event, by the first word of its kind.
_SHOWN = {
    "alias": "version",
    "approval": "stage",
    "evidence": "digest",
    "person": "role",
    "policy": "digest",
    "token": "token",
    "version": "digest",
}


def _short(kind: str, value: Any) -> str:
    found = value.get(_SHOWN.get(kind.partition(".")[0], "")) if isinstance(value, dict) else None
    if not isinstance(found, str):
        return NOTHING
    return f"{found[:19]}…" if found.startswith("sha256:") else found
