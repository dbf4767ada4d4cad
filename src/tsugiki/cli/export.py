"""Commands that take an adapter elsewhere: export, and the compatibility check before it.

Each parses, calls one function of `work`, renders. `main` adds `check_command` to `tsugiki registry` as `check`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tsugiki.cli.data import AsJson, CompletionColumn, GroupColumn, PromptColumn, Sheet
from tsugiki.cli.registry_options import DEFAULT_FOLDER, Reason, RegistryFolder, TokenFile, acting
from tsugiki.cli.studies import print_json, print_line
from tsugiki.config import Criteria, MetricName
from tsugiki.errors import UsageError

UNDECIDABLE = 3
Adapter = Annotated[str, typer.Argument(help="adapter folder, or NAME@n of a registry", show_default=False)]
Base = Annotated[str | None, typer.Option("--base", help="where the base is, if its name does not say it")]
Licence = Annotated[str | None, typer.Option(help="licence of the base, where its files do not say it")]
Name = Annotated[str | None, typer.Option(help="what to call the adapter; its folder's name without it")]


def export(
    adapter: Adapter,
    to: Annotated[
        Literal["peft", "merged", "gguf", "vllm", "sglang", "bom", "card", "signature"],
        typer.Option(help="the form that is needed", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="folder to write; must not exist", show_default=False)],
    base: Base = None,
    name: Name = None,
    licence: Licence = None,
    served_base: Annotated[
        str | None, typer.Option(help="what the serving machine calls the base (peft, vllm, sglang)")
    ] = None,
    base_file: Annotated[
        Path | None, typer.Option(help="the base's GGUF, to read the order of its rows from (gguf)")
    ] = None,
    store_as: Annotated[
        Literal["float32", "bfloat16", "float16"] | None, typer.Option(help="number format of the weights (merged)")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="rows to measure the merged model on, unseen in training (merged)")
    ] = None,
    metric: Annotated[MetricName, typer.Option(help="the task metric for --data")] = Criteria.model_fields[
        "metric"
    ].default,
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    sheet: Sheet = None,
    study: Annotated[Path | None, typer.Option(help="folder of the study that made it (bom, card)")] = None,
    key: Annotated[
        Path | None, typer.Option(help="private key, made if it does not exist (signature)", show_default=False)
    ] = None,
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="write it although a check has not passed; kept in its record")
    ] = None,
    registry: RegistryFolder = Path(DEFAULT_FOLDER),
    as_json: AsJson = False,
) -> None:
    """Write an adapter for something else: PEFT, one merged model, llama.cpp, vLLM, SGLang, a BOM, a card."""
    from tsugiki.cli.progress import telling
    from tsugiki.data.shapes import Columns
    from tsugiki.work import export as work
    from tsugiki.work.prepare import DataSpec
    from tsugiki.work.version_folder import adapter_named

    columns = Columns(prompt_column, completion_column, group_column)
    wanted = work.Export(
        Path(adapter),
        out,
        to,
        name=name,
        base=base,
        served_base=served_base,
        base_file=base_file,
        licence=licence,
        stored_as=store_as,
        data=None if data is None else DataSpec(data, columns, sheet),
        metric=metric,
        study=study,
        key=key,
        force=force,
    )
    with telling() as emit, adapter_named(adapter, registry) as held:
        named = replace(wanted, adapter=held.folder, version=held.version, summary=held.summary)
        found = work.export(named, emit)
    if as_json:
        print_json(found)
        return
    _tell(found, adapter)


def check_command(
    adapter: Adapter,
    target: Annotated[
        list[str],
        typer.Option(
            help="engine that is to serve it: embedded, peft, vllm, sglang or llama.cpp; may be given more than once",
            show_default=False,
        ),
    ],
    base: Base = None,
    licence: Licence = None,
    quantization: Annotated[str | None, typer.Option(help="how the engine will hold the base: none, awq, …")] = None,
    max_rank: Annotated[int | None, typer.Option(min=1, help="max_lora_rank that the engine runs with")] = None,
    attach: Annotated[bool, typer.Option("--attach", help="keep the report as evidence of the version")] = False,
    reason: Reason = "",
    registry: RegistryFolder = Path(DEFAULT_FOLDER),
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Whether an engine will serve it as it was trained; exit status 3 where that cannot be told."""
    from tsugiki.work.serving_base import attach_report, check_folder
    from tsugiki.work.version_folder import adapter_named

    with adapter_named(adapter, registry) as held:
        if attach and (held.version is None or held.records is None):
            raise UsageError(f"{adapter} is no version of a registry.", fix="Leave --attach out, or name NAME@n.")
        report = check_folder(held.folder, target, base, licence=licence, quantization=quantization, max_rank=max_rank)
        if attach and held.version is not None and held.records is not None:
            actor = acting(held.records, token_file)
            attach_report(held.records, held.version, report, actor=actor, reason=reason)
    if as_json:
        print_json(report.as_json())
    else:
        for one in report.results:
            print_line(f"{one.target:10} {one.outcome:12} {one.sentence}")
        print_line(f"{report.adapter}: {report.outcome}")
    if report.outcome != "pass":
        raise typer.Exit(UNDECIDABLE if report.outcome == "undecidable" else 1)


def _tell(found: dict[str, Any], adapter: str) -> None:
    print_line(f"{found['out']}: {adapter} for {found['form']}")
    if merged := found.get("merged"):
        print_line(
            f"{merged['recovery']:.3f} recovered; same next token at {merged['same_next_token']:.1%} of "
            f"{merged['positions']} positions, logits off by {merged['largest_logit_difference']:.2g} at most"
        )
        for warning in merged["warnings"]:
            print_line(warning)
    if "forced" in found:
        print_line(f"Forced: {found['forced']}")
    if "served_name" in found:
        print_line(
            f"Served as {found['served_name']}; start it with start-{found['form']}.sh, and read NOTES.md first."
        )
