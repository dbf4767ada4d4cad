"""`tsugiki registry backup`, `restore`, `upgrade` and `gc`: a copy of everything, the way back, files nobody needs.

Added to the sub-app by `main`. Each command parses, calls one function of `work`, renders.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.registry_options import HERE, Reason, RegistryFolder, TokenFile, acting, opened
from tsugiki.cli.studies import print_json, print_line


def backup(
    out: Annotated[Path, typer.Option(help="folder of the backup; the same folder again copies only what is new")],
    reason: Reason = "",
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy the whole registry, also while it is written to. The copy holds the private key: keep it safe."""
    from tsugiki.work.backup import backup as back_up

    records = opened(registry)
    made = back_up(records, out, actor=acting(records, token_file), reason=reason)
    if as_json:
        print_json({**asdict(made), "folder": str(made.folder)})
        return
    print_line(f"{made.folder}  registry {made.registry} up to event {made.event}")
    print_line(f"{made.files} files: {made.copied} copied now; {made.removed} no longer needed and removed")


def restore(
    folder: Annotated[Path, typer.Argument(help="folder of a backup", show_default=False)],
    out: Annotated[Path, typer.Option(help="new folder for the registry")],
    public_key: Annotated[
        Path | None, typer.Option(help="a ledger.pub known from elsewhere, which must be the backup's")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a registry again from a backup; nothing appears unless all of it verifies."""
    from tsugiki.work.backup import restore as bring_back

    made = bring_back(folder, out, public_key=public_key)
    if as_json:
        print_json({**asdict(made), "folder": str(made.folder)})
        return
    print_line(f"{made.folder}  registry {made.registry} up to event {made.event}, {made.files} files, all verified")


def upgrade(
    reason: Reason = "",
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database to the schema of this program, after a backup; older programs cannot read it then."""
    from tsugiki.records import upgrade as work
    from tsugiki.records.open import open_registry

    records = open_registry(registry, to_upgrade=True)
    run = work.upgrade(records, actor=acting(records, token_file), reason=reason)
    if as_json:
        print_json({"revisions": list(run)})
        return
    print_line(f"brought to the schema {run[-1]}" if run else "the schema is the newest already; nothing was changed")


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--delete", help="show what nothing needs, or remove it as well")
    ] = True,
    grace: Annotated[float, typer.Option(help="leave files alone that are younger than so many hours")] = 24.0,
    reason: Reason = "",
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Files that nothing refers to, as after a change that was cut short. Shows them; --delete removes them."""
    from tsugiki.work.collect import collect

    records = opened(registry)
    actor = acting(records, token_file)
    found = collect(records, actor=actor, reason=reason, dry_run=dry_run, grace_hours=grace)
    if as_json:
        print_json(asdict(found))
        return
    for digest in (*found.files, *found.erased):
        print_line(digest)
    done = "can be removed with --delete" if dry_run else "removed"
    print_line(
        f"{len(found.files)} files that nothing refers to and {len(found.erased)} erased ones {done}; "
        f"{found.kept} are needed, {found.young} are younger than {grace:g} hours"
    )
