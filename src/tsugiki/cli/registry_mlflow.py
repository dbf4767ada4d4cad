"""`tsugiki registry mlflow mirror` and `import`: runs, versions and aliases shown in MLflow, adapters taken from it.

Added to the sub-app by `main`. Each command parses, calls one function of `work`, renders. Needs the extra `mlflow`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.registry_options import HERE, RegistryFolder, TokenFile, acting, opened
from tsugiki.cli.studies import print_json, print_line

if TYPE_CHECKING:
    from tsugiki.records.open import Records

Uri = Annotated[str | None, typer.Option(help="the MLflow server or store; else it is taken from MLFLOW_TRACKING_URI")]

app = typer.Typer(
    name="mlflow", help="Show runs, versions and aliases in MLflow, and take adapters from it.", no_args_is_help=True
)


def mirrored(records: Records) -> None:
    """After a change: mirror it where MLFLOW_TRACKING_URI is set. A failure is said on stderr and changes nothing."""
    from tsugiki.work.mlflow_bridge import mirror_quietly

    if (problem := mirror_quietly(records)) is not None:
        sys.stderr.write(f"tsugiki: {' '.join(problem.split())}\n")


@app.command()
def mirror(
    uri: Uri = None, registry: RegistryFolder = HERE, token_file: TokenFile = None, as_json: AsJson = False
) -> int:
    """Bring MLflow up to date, one way; may be repeated at any time. Exit status 1 where MLflow refused a part."""
    from tsugiki.work import mlflow_bridge

    records = opened(registry)
    actor = acting(records, token_file)
    found = mlflow_bridge.mirror(records, mlflow_bridge.tracking_uri(uri), actor=actor)
    if as_json:
        print_json(asdict(found))
    else:
        print_line(f"{found.uri}  {found.runs} runs, {found.versions} versions, {found.aliases} aliases written")
        for problem in found.problems:
            print_line(problem)
    return 1 if found.problems else 0


@app.command("import")
def import_(
    run: Annotated[str, typer.Argument(help="id of the MLflow run", show_default=False)],
    name: Annotated[str, typer.Option(help="the model that this is a version of")],
    path: Annotated[str, typer.Option(help="folder of the adapter among the run's artifacts")] = "",
    data_licence: Annotated[str | None, typer.Option(help="licence of the data that it learned from")] = None,
    data_purpose: Annotated[str | None, typer.Option(help="the stated purpose for which that data may be used")] = None,
    reason: Annotated[str, typer.Option("--reason", help="why, for the ledger; else it names the run")] = "",
    uri: Uri = None,
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Add the adapter of an MLflow run as a version. A PEFT folder needs no MLflow: tsugiki registry add FOLDER."""
    from tsugiki.work import mlflow_bridge
    from tsugiki.work.register import Stated

    records = opened(registry)
    actor = acting(records, token_file)
    facts = Stated(name, data_licence, data_purpose, None, f"from MLflow run {run}")
    version = mlflow_bridge.import_run(
        records, mlflow_bridge.tracking_uri(uri), run, facts, path=path, actor=actor, reason=reason
    )
    mirrored(records)
    if as_json:
        print_json({"version": version.label, "digest": version.digest})
        return
    print_line(f"{version.label}  {version.digest}")
