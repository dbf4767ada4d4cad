"""Commands around one adapter: train, evaluate. Each parses, calls one function of `work`, renders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tsugiki.cli.data import AsJson, CompletionColumn, GroupColumn, PromptColumn, Sheet
from tsugiki.cli.options import From, with_knobs
from tsugiki.cli.studies import RANK_AUTO, Data, print_json, print_line
from tsugiki.config import Criteria, Design, MetricName, PlanSpec, Recipe, parse


@with_knobs(plan=From(PlanSpec, "Method", leave_out=("method",), defaults=RANK_AUTO), recipe=From(Recipe, "Training"))
def train(
    data: Data,
    base: Annotated[str, typer.Option("--base", help="hub id, folder, .gguf file, smollm2-135m or gemma3-270m")],
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


def evaluate(
    adapter: Annotated[Path, typer.Argument(help="adapter folder", show_default=False)],
    data: Data,
    base: Annotated[str | None, typer.Option("--base", help="where the base is, if its name does not say it")] = None,
    metric: Annotated[MetricName, typer.Option(help="the task metric")] = Criteria.model_fields["metric"].default,
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    sheet: Sheet = None,
    as_json: AsJson = False,
) -> None:
    """Quality of an adapter with its interval, against the base, on rows that it has not seen in training."""
    from tsugiki.cli.progress import telling
    from tsugiki.data.shapes import Columns
    from tsugiki.work.evaluate import Evaluation, evaluate_adapter
    from tsugiki.work.prepare import DataSpec

    spec = DataSpec(data, Columns(prompt_column, completion_column, group_column), sheet)
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
        shown = (
            one["reason"]
            if one["estimate"] is None
            else f"{one['estimate']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
        )
        print_line(f"{name:11} {one['metric']} {shown}")
