"""`tsugiki registry …`: the sub-app, and the commands that make a registry and put versions into it.

Each command parses, calls one function of `work`, renders. Further commands come from other modules of this folder,
which `main` puts together. Imports nothing heavy: `registry list` has to answer at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tsugiki.cli.data import AsJson
from tsugiki.cli.registry_ledger import show_then
from tsugiki.cli.registry_mlflow import mirrored
from tsugiki.cli.registry_options import (
    DEFAULT_FOLDER,
    Reason,
    RegistryFolder,
    SaveToken,
    TokenFile,
    acting,
    opened,
    token_place,
)
from tsugiki.cli.studies import print_json, print_line

app = typer.Typer(
    name="registry",
    help="Versions, evidence, approval, rollback: what is in production, since when, on whose word.",
    no_args_is_help=True,
)


@app.command()
def init(
    admin: Annotated[str, typer.Option(help="name of the first person, who may add the others")],
    save_token: SaveToken = None,
    registry: RegistryFolder = Path(DEFAULT_FOLDER),
    database: Annotated[
        str, typer.Option(help="sqlite:///FILE (counted from the registry's folder) or postgresql://…")
    ] = "sqlite:///registry.db",
    store: Annotated[str, typer.Option(help="folder (counted from the registry's) or s3://BUCKET/PREFIX")] = "blobs",
    as_json: AsJson = False,
) -> None:
    """Make a registry. Prints the first admin's token, this once."""
    from tsugiki.work.founding import found_registry

    place = token_place(save_token)
    records, token = found_registry(registry, admin=admin, database=database, store=store)
    shown = place(token)
    if as_json:
        print_json({"registry": str(records.folder), "id": records.settings.id, "admin": admin, "token": shown})
        return
    print_line(f"registry {records.settings.id} in {records.folder}")
    print_line(f"token of {admin}, shown this once: {shown}" if shown else f"token of {admin} in {save_token}")


@app.command()
def add(
    adapter: Annotated[Path, typer.Argument(help="folder that tsugiki or PEFT wrote", show_default=False)],
    name: Annotated[str, typer.Option(help="the model that this is a version of")],
    study: Annotated[Path | None, typer.Option(help="the study that trained it, for its facts and verdict")] = None,
    trial: Annotated[str | None, typer.Option(help="the trial of the study, such as lora-s0")] = None,
    data_licence: Annotated[str | None, typer.Option(help="licence of the data that it learned from")] = None,
    data_purpose: Annotated[str | None, typer.Option(help="the stated purpose for which that data may be used")] = None,
    parent: Annotated[str | None, typer.Option(help="the version that it goes on from, such as NAME@2")] = None,
    note: Annotated[str, typer.Option(help="a sentence that goes with it")] = "",
    largest: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="refuse a folder with more gigabytes than this")
    ] = 40.0,
    reason: Reason = "",
    registry: RegistryFolder = Path(DEFAULT_FOLDER),
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Make an adapter a version: its files are checked, stored and described, and never change again."""
    from tsugiki.records.adapter_folder import Limits
    from tsugiki.work.register import Stated, add_version

    records = opened(registry)
    actor = acting(records, token_file)
    facts = Stated(name, data_licence, data_purpose, parent, note, study, trial)
    limits = Limits(folder_bytes=int(largest * 1e9))
    version = add_version(records, adapter, facts, actor=actor, reason=reason, limits=limits)
    mirrored(records)
    if as_json:
        print_json({"version": version.label, "digest": version.digest, "manifest": version.manifest})
        return
    print_line(f"{version.label}  {version.digest}")
    for field, why in version.manifest["unknown"].items():
        if field in ("data.0.licence", "data.0.purpose"):
            option = f"--data-{field.rpartition('.')[2]}"
            print_line(f"{field} is {why}; the usual policy keeps it out of production ({option})")


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Option(help="versions of this model alone")] = None,
    registry: RegistryFolder = Path(DEFAULT_FOLDER),
    as_json: AsJson = False,
) -> None:
    """All versions, newest first within each model, and the aliases that point to them."""
    from tsugiki.work.catalogue import list_versions

    found = list_versions(opened(registry), model)
    if as_json:
        print_json(found)
        return
    sys.stdout.write("".join(map(_line, found)))  # one write: there may be tens of thousands


def _line(one: dict[str, Any]) -> str:
    name, digest, aliases = f"{one['model']}@{one['number']}", one["digest"][7:19], ",".join(one["aliases"])
    return f"{name}  {digest}  {one['created_at'][:16]}Z  {one['creator']}  {aliases}".rstrip() + "\n"


@app.command()
def show(
    version: Annotated[
        str, typer.Argument(help="NAME@3, NAME@production, or the start of a digest", show_default=False)
    ],
    verify: Annotated[bool, typer.Option("--verify", help="read every file and compare it")] = False,
    at: Annotated[str | None, typer.Option(help='what an alias meant then, such as "2026-11-02 14:05"')] = None,
    registry: RegistryFolder = Path(DEFAULT_FOLDER),
    as_json: AsJson = False,
) -> None:
    """Everything about one version: what it is, what it was made from, its evidence, who decided what."""
    if at is not None:
        show_then(opened(registry), version, at, as_json=as_json)
        return
    from tsugiki.work.catalogue import show_version

    found = show_version(opened(registry), version, verify=verify)
    if as_json:
        print_json(found)
        return
    for line in _told(found):
        print_line(line)


def _told(found: dict[str, Any]) -> list[str]:
    """One fact a line; a fact that nobody knows with the reason."""
    manifest = found["manifest"]
    unknown = manifest["unknown"]
    base, data, study, parent = manifest["base"], manifest["data"][0], manifest["study"], manifest["parent"]

    def said(path: str, value: Any) -> str:
        return str(value) if value is not None else f"unknown: {unknown.get(path, 'none')}"

    verdict = (
        study and f"{study['trial']} of {study['digest'][:19]}…, verdict {said('study.verdict', study['verdict'])}"
    )
    lines = [
        ("version", found["version"]),
        ("digest", found["digest"]),
        ("signed", "yes" if found["signed"] else "NO: the signature is not the registry's"),
        ("made by", f"{manifest['creator']}, {manifest['created_at']}"),
        ("base", f"{said('base.name', base['name'])}, {said('base.digest', base['digest'])}"),
        ("method", manifest["method"]),
        ("study", said("study", verdict)),
        ("data", f"{said('data.0.digest', data['digest'])}, rows {said('data.0.rows', data['rows'])}"),
        ("licence", said("data.0.licence", data["licence"])),
        ("purpose", said("data.0.purpose", data["purpose"])),
        ("parent", f"{parent['name']}@{parent['number']}" if parent else "none"),
        ("note", manifest["note"] or "none"),
        *(("file", f"{one['path']}  {one['digest']}  {one['bytes']} bytes") for one in manifest["files"]),
        *(("alias", f"{one['alias']} since {one['since']}") for one in found["aliases"]),
        *(("evidence", f"{one['kind']}  {one['digest']}  {one['at']}") for one in found["evidence"]),
    ]
    for request in found["requests"]:
        lines.append(("request", f"{request['id']} for {request['stage']} by {request['requester']}, {request['at']}"))
        for one in request["decisions"]:
            until = f", until {one['expires_at']}" if one["expires_at"] else ""
            lines.append(("decision", f"{one['verdict']} by {one['actor']}, {one['at']}{until}"))
    if found["verified"] is not None:
        lines.append(("verified", f"{found['verified']['files']} files, {found['verified']['bytes']} bytes"))
    return [f"{name:9} {text}" for name, text in lines]
