"""`tsugiki registry retention …`: what is kept how long, what is on hold, and erasing the texts of rows.

Added to the sub-app by `main`. Each command parses, calls one function of `work`, renders.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.registry_options import HERE, RegistryFolder, TokenFile, acting, opened
from tsugiki.cli.studies import print_json, print_line

Why = Annotated[str, typer.Option("--reason", help="why, for the ledger; without the content itself")]
What = Annotated[str, typer.Argument(help="NAME@3, NAME, or * for everything", show_default=False)]

app = typer.Typer(
    name="retention",
    help="How long contents of evidence are kept, what is on hold, and erasing the texts of rows.",
    no_args_is_help=True,
)


@app.command()
def show(registry: RegistryFolder = HERE, as_json: AsJson = False) -> None:
    """The periods of retention.yaml in the registry's folder, and what is on hold."""
    from tsugiki.work.retention import holds, read_periods

    records = opened(registry)
    periods = read_periods(records.folder)
    with records.database.reading() as connection:
        held = holds(connection)
    if as_json:
        on_hold = [
            {"what": what, "event": one.seq, "at": one.at, "by": one.actor["name"], "reason": one.reason}
            for what, one in held.items()
        ]
        print_json({"periods": periods.model_dump(), "holds": on_hold})
        return
    for name, days in periods.model_dump().items():
        print_line(f"{name}  {'kept' if days is None else days}")
    for what, one in held.items():
        print_line(f"hold on {what}  since {one.at} by {one.actor['name']}, event {one.seq}: {one.reason}")


@app.command()
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run/--delete", help="show what is due, or erase it as well")] = True,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """What is older than its period and not on hold. Shows it; --delete erases it."""
    from tsugiki.work.retention import apply as apply_periods

    records = opened(registry)
    found = apply_periods(records, actor=acting(records, token_file), dry_run=dry_run)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "erased": [{"version": one.version, "pack": one.pack, "files": one.files} for one in found],
            }
        )
        return
    for one in found:
        print_line(f"{one.version}  {one.files} files of pack {one.pack} {'are due' if dry_run else 'erased'}")
    if not found:
        print_line("nothing is due")


@app.command()
def erase(
    version: Annotated[str, typer.Argument(help="NAME@3, NAME@production, or the start of a digest")],
    reason: Why,
    row: Annotated[list[int] | None, typer.Option(help="row of the data file; may be repeated")] = None,
    all_rows: Annotated[bool, typer.Option("--all-rows", help="the texts of all rows")] = False,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Erase kept texts of rows for good; scores, digests and the ledger stay."""
    from tsugiki.errors import UsageError
    from tsugiki.records.versions import find_version
    from tsugiki.work.retention import erase as erase_rows

    if bool(row) == all_rows:
        raise UsageError("Either --row or --all-rows must be given.", fix="For example: --row 17 --row 18.")
    records = opened(registry)
    actor = acting(records, token_file)
    with records.database.reading() as connection:
        found = find_version(connection, version)
    done = erase_rows(records, found, None if all_rows else row, actor=actor, reason=reason)
    event = None if done.event is None else done.event.seq
    if as_json:
        print_json({"version": done.version, "event": event, "files": done.files})
        return
    print_line(f"{done.version}  {done.files} texts erased, event {event}")
    print_line("The study folder, earlier backups and exported archives are copies of their own: see to them too.")


@app.command()
def hold(
    what: What, reason: Why, registry: RegistryFolder = HERE, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Keep contents from being erased, whatever their period."""
    from tsugiki.work.retention import hold as put_on_hold

    records = opened(registry)
    event = put_on_hold(records, what, actor=acting(records, token_file), reason=reason)
    _told(event.seq, f"{what} is on hold", as_json=as_json)


@app.command()
def release(
    what: What, reason: Why, registry: RegistryFolder = HERE, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """Let go of a hold."""
    from tsugiki.work.retention import release as let_go

    records = opened(registry)
    event = let_go(records, what, actor=acting(records, token_file), reason=reason)
    _told(event.seq, f"{what} is no longer on hold", as_json=as_json)


def _told(event: int, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"event": event})
    else:
        print_line(f"{sentence}, event {event}")
