"""`tsugiki registry attach-evidence`, `evidence`, `export-evidence` and `verify-archive`.

Added to the sub-app by `main`. Each command parses, calls one function of `work`, renders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tsugiki.cli.data import AsJson, plain
from tsugiki.cli.registry_mlflow import mirrored
from tsugiki.cli.registry_options import HERE, Reason, RegistryFolder, TokenFile, acting, opened
from tsugiki.cli.studies import print_json, print_line

Version = Annotated[str, typer.Argument(help="NAME@3, NAME@production, or the start of a digest", show_default=False)]


def attach_evidence(
    version: Version,
    study: Annotated[Path, typer.Option(help="folder of the finished study that trained this version")],
    texts: Annotated[
        bool, typer.Option("--texts", help="keep the texts of the rows too, so that the scorecard can be rebuilt")
    ] = False,
    reason: Reason = "",
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Bind what a study measured to the version that it trained. Texts of rows stay out unless --texts is given."""
    from tsugiki.records.versions import find_version
    from tsugiki.work.attach import attach_study

    records = opened(registry)
    actor = acting(records, token_file)
    with records.database.reading() as connection:
        found = find_version(connection, version)
    attached = attach_study(records, found, study, texts=texts, actor=actor, reason=reason)
    mirrored(records)
    if as_json:
        about = {"event": attached.event.seq, "digest": attached.digest, "manifest": attached.manifest}
        print_json({"version": found.label, **about, "texts": attached.texts, "erased": attached.erased})
        return
    print_line(f"{found.label}  evidence {attached.digest}, event {attached.event.seq}")
    for line in _summary(attached.manifest["summary"]):
        print_line(line)
    print_line(f"texts of rows kept: {attached.texts}" if texts else "texts of rows: not kept, named by salted digests")
    if attached.erased:
        print_line(f"{attached.erased} texts were erased here before and stay out")


def evidence(
    version: Version,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="assemble the scorecard again from the evidence and compare its bytes")
    ] = False,
    registry: RegistryFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """What evidence a version has."""
    from tsugiki.work import evidence_view

    if rebuild:
        found = evidence_view.rebuild(opened(registry), version)
        if as_json:
            print_json(found)
        else:
            print_line(f"{found['version']}  scorecard.json comes out the same, {found['bytes']} bytes")
        return
    found = evidence_view.evidence_of(opened(registry), version)
    if as_json:
        print_json(found)
        return
    print_line(f"{found['version']}  {found['digest']}")
    for pack in found["packs"]:
        print_line(f"event {pack['event']}  {pack['kind']}  {pack['digest']}  {pack['at']}")
        print_line(f"  {pack['files']} files, {pack['texts']} texts of rows, {pack['erased']} of these erased")
        for line in _summary(pack["summary"]) if pack["kind"] == "study" else ():
            print_line(f"  {line}")
    if not found["packs"]:
        print_line("no evidence yet")


def export_evidence(
    version: Version,
    out: Annotated[Path, typer.Option(help="the archive to write, a .zip")],
    texts: Annotated[bool, typer.Option("--texts", help="with those texts of rows that are kept")] = False,
    reason: Reason = "",
    registry: RegistryFolder = HERE,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Write an archive for auditors: it verifies offline, without tsugiki, with the public key alone."""
    from tsugiki.records.versions import find_version
    from tsugiki.work.archive import export_evidence as export

    records = opened(registry)
    actor = acting(records, token_file)
    with records.database.reading() as connection:
        found = find_version(connection, version)
    written = export(records, found, out, texts=texts, actor=actor, reason=reason)
    if as_json:
        print_json({**asdict(written), "path": str(written.path), "version": found.label})
        return
    print_line(f"{written.path}  {written.digest}")
    print_line(f"{written.files} files, {written.bytes} bytes, the ledger up to event {written.checkpoint}")
    print_line(f"key {records.database.home.public.digest}")


def verify_archive(
    archive: Annotated[Path, typer.Argument(help="an archive that export-evidence wrote", show_default=False)],
    public_key: Annotated[Path, typer.Option(help="the registry's ledger.pub, as you were given it")],
    as_json: AsJson = False,
) -> None:
    """Verify an archive; the first bad file or record is named. Needs no registry."""
    from tsugiki.work import archive as archives
    from tsugiki.work.archive_verifier import told

    found = archives.verify_archive(archive, public_key)
    if as_json:
        print_json({"good": True, **asdict(found)})
    else:
        print_line(told(found))


def _summary(summary: Mapping[str, Any]) -> list[str]:
    verdict, quality = summary["verdict"], summary["quality"]
    said = verdict["value"] or f"none: {verdict['reason']}"
    lines = [f"verdict {said} ({verdict['code']}), {summary['method']}, trial {summary['trial']}"]
    if quality["estimate"] is not None:
        interval = f"{quality['estimate']:.3f} [{quality['low']:.3f}, {quality['high']:.3f}]"
        lines.append(f"{quality['metric']} {interval} on {quality['n']} items")
    lines.append(
        f"study {summary['study']}, made {summary['made_at']}, prices of {summary['prices_date'] or 'no date'}"
    )
    return [plain(line) for line in lines]
