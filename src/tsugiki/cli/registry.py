"""`tsugiki registry …`: the sub-app, and the commands that make a registry and put versions into it.

Each command parses, calls one function of `work`, renders. Further commands come from other modules of this folder,
which `main` puts together. Imports nothing heavy: `registry list` has to answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.registry_options import DEFAULT_FOLDER, RegistryFolder
from tsugiki.cli.studies import print_json, print_line

app = typer.Typer(
    name="registry",
    help="Versions, evidence, approval, rollback: what is in production, since when, on whose word.",
    no_args_is_help=True,
)


@app.command()
def init(
    admin: Annotated[str, typer.Option(help="name of the first person, who may add the others")],
    registry: RegistryFolder = Path(DEFAULT_FOLDER),
    database: Annotated[
        str, typer.Option(help="sqlite:///FILE (counted from the registry's folder) or postgresql://…")
    ] = "sqlite:///registry.db",
    store: Annotated[str, typer.Option(help="folder (counted from the registry's) or s3://BUCKET/PREFIX")] = "blobs",
    as_json: AsJson = False,
) -> None:
    """Make a registry. Prints the first admin's token, this once."""
    from tsugiki.work.founding import found_registry

    records, token = found_registry(registry, admin=admin, database=database, store=store)
    if as_json:
        print_json({"registry": str(records.folder), "id": records.settings.id, "admin": admin, "token": token})
        return
    print_line(f"registry {records.settings.id} in {records.folder}")
    print_line(f"token of {admin}, shown this once: {token}")
