"""Commands around one adapter: train, layers, evaluate. Each parses, calls one function of `work`, renders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tsugiki.cli.data import AsJson, CompletionColumn, GroupColumn, PromptColumn, Sheet, SliceColumns, plain
from tsugiki.cli.options import From, with_knobs
from tsugiki.cli.studies import RANK_AUTO, Data, print_json, print_line
from tsugiki.config import Criteria, Design, MetricName, PlanSpec, Recipe, parse

NamedBase = Annotated[str, typer.Option("--base", help="hub id, folder, .gguf file, smollm2-135m or gemma3-270m")]


@with_knobs(plan=From(PlanSpec, "Method", leave_out=("method",), defaults=RANK_AUTO), recipe=From(Recipe, "Training"))
def train(
    data: Data,
    base: NamedBase,
    out: Annotated[Path, typer.Option(help="folder of the adapter; must not exist")],
    method: Annotated[
        Literal["lora", "adapter", "hybrid", "full", "auto"],
        typer.Option(
            help="auto: tries lora, adapter and hybrid for a third of the steps and takes the simplest good one"
        ),
    ] = "lora",
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    sheet: Sheet = None,
    template: Annotated[
        Literal["auto", "plain", "chat"],
        typer.Option(help="show prompts as they are, or as the base's chat; auto: chats only"),
    ] = "auto",
    dev_share: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="share of the rows that chooses the best checkpoint")
    ] = float(Design.model_fields["dev_share"].default),
    as_json: AsJson = False,
    *,
    plan: PlanSpec,
    recipe: Recipe,
) -> None:
    """Train one adapter; no comparison, no verdict."""
    from tsugiki.cli.progress import telling
    from tsugiki.data.shapes import Columns
    from tsugiki.work.adapt import Adaptation, train_adapter
    from tsugiki.work.prepare import DataSpec

    spec = DataSpec(data, Columns(prompt_column, completion_column, group_column), sheet)
    if method != "auto":
        plan = parse(PlanSpec, {**plan.model_dump(), "method": method}, source="command line")
    wanted = Adaptation(spec, base, plan, recipe, template, dev_share, try_methods=method == "auto")
    with telling() as emit:
        found = train_adapter(wanted, out, emit)
    if as_json:
        print_json(found)
        return
    training = found["training"]
    print_line(f"{found['adapter']}: {found['plan']['describe']} on {found['base']}")
    best = f"best dev loss {training['best_dev_loss']:.3f} at step {training['best_step']}"
    print_line(f"{training['steps']} steps in {training['seconds']:.0f} s, {best}")
    for one in found["methods"] or ():
        print_line(f"tried {one['method']:8} {one['reason'] or 'dev loss {:.3f}'.format(one['dev_loss'])}")
    if rank := found["rank"]:
        loss = {one["rank"]: one["dev_loss"] for one in rank["losses"]}
        kept = f"rank {rank['kept']} of {rank['of']} kept: dev loss {loss[rank['kept']]:.3f}"
        print_line(f"{kept}, and {loss[rank['of']]:.3f} with all of it")
    print_line(f"{found['trainable_share']:.1%} of the parameters, {found['adapter_bytes'] / 1e6:.1f} MB")


@with_knobs(
    plan=From(PlanSpec, "Low-rank parts", leave_out=("method", "full_layers", "full_blocks", "bottleneck", "width")),
    recipe=From(Recipe, "Training", leave_out=("learning_rate",), defaults={"max_steps": 100}),
)
def layers(
    data: Data,
    base: NamedBase,
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    sheet: Sheet = None,
    dev_share: Annotated[
        float, typer.Option(min=0.01, max=0.5, help="share of the rows on which the plans are compared")
    ] = float(Design.model_fields["dev_share"].default),
    as_json: AsJson = False,
    *,
    plan: PlanSpec,
    recipe: Recipe,
) -> None:
    """Which blocks a hybrid should train in full, and what each megabyte of trained weights buys on dev."""
    from tsugiki.cli.progress import telling
    from tsugiki.data.shapes import Columns
    from tsugiki.work.adapt import Adaptation
    from tsugiki.work.layers import name_of, plan_layers
    from tsugiki.work.prepare import DataSpec

    spec = DataSpec(data, Columns(prompt_column, completion_column, group_column), sheet)
    with telling() as emit:
        found = plan_layers(Adaptation(spec, base, plan, recipe, "auto", dev_share), emit)
    if as_json:
        print_json(found)
        return
    print_line(f"gradient over weight by block of {found['base']}, the highest first:")
    for block in found["ranked"]:
        print_line(f"  {block:4}  {found['scores'][str(block)]:.3g}")
    print_line(
        f"dev loss after {found['steps']} steps, {found['rows']['dev']} dev rows (* nothing smaller is as good):"
    )
    for one in found["tries"]:
        loss = one["reason"] or f"{one['dev_loss']:.3f}{' *' if one['on_front'] else ''}"
        print_line(f"  {name_of(one['method'], one['blocks']):26} {one['megabytes']:9,.1f} MB trained  {loss}")
    chosen = found["tries"][found["proposed"]]
    if chosen["method"] == "lora":
        print_line(f"LoRA suffices: {found['rows']['dev']} dev rows do not show it to be worse than the best.")
        return
    blocks = ",".join(map(str, chosen["blocks"]))
    how = f"--method hybrid --full-layers {blocks}" if chosen["method"] == "hybrid" else "--method full"
    print_line(f"LoRA is measurably short; the smallest plan as good as the best: {how}")


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="adapter folder", show_default=False)],
    data: Data,
    base: Annotated[str | None, typer.Option("--base", help="where the base is, if its name does not say it")] = None,
    metric: Annotated[MetricName, typer.Option(help="the task metric")] = Criteria.model_fields["metric"].default,
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    slice_columns: SliceColumns = None,
    sheet: Sheet = None,
    as_json: AsJson = False,
) -> None:
    """Quality of an adapter with its interval, against the base, on rows that it has not seen in training."""
    from tsugiki.cli.progress import telling
    from tsugiki.data.shapes import Columns
    from tsugiki.work.evaluate import Evaluation, evaluate_adapter
    from tsugiki.work.prepare import DataSpec

    columns = Columns(prompt_column, completion_column, group_column)
    spec = DataSpec(data, columns, sheet, slice_columns=tuple(slice_columns or ()))
    with telling() as emit:
        found = evaluate_adapter(Evaluation(adapter, spec, metric, base), emit)
    if as_json:
        print_json(found)
        return
    rows = found["rows"]
    left_out = f" ({rows['seen']} that it has seen in training are left out)" if rows["seen"] else ""
    print_line(f"{found['adapter']} on {found['base']}, {rows['tested']} rows{left_out}")
    for name, key in (("adapter", "quality"), ("base", "base_quality"), ("difference", "difference")):
        one = found[key]
        print_line(f"{name:11} {one['metric']} {_with_interval(one)}")
    _print_slices(found["slices"])


def _print_slices(found: Mapping[str, Any]) -> None:
    """Slices with enough rows, and the weakest of those that are surely worse than the whole."""
    from tsugiki.report.slices import dimension_name, slice_name

    def name_of(dimension: Mapping[str, Any], one: Mapping[str, Any]) -> str:
        return plain(f"{dimension_name(dimension, 'en')}: {slice_name(dimension['by'], one, 'en')}")

    shown = [
        (name_of(dimension, one), one)
        for dimension in found["dimensions"]
        for one in dimension["slices"]
        if not one["too_small"]
    ]
    if not shown:
        return
    together = f"all intervals hold together at {found['confidence']:.0%}"
    print_line(
        f"slices, {found['metric']} of adapter and base ({together}; slices below {found['fewest']} rows left out)"
    )
    for name, one in shown:
        ours, base = (_with_interval(one["quality"][who]) for who in ("adapter", "base"))
        print_line(f"  {name}, {one['n']} rows: {ours}, base {base}")
    worst = found["worst"]
    print_line(
        f"weakest     {name_of(worst, worst)}" if worst else "weakest     no slice is surely worse than the whole"
    )


def _with_interval(one: Mapping[str, Any]) -> str:
    if one["estimate"] is None:
        return str(one["reason"])
    return f"{one['estimate']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
