"""Commands around a study: demo, poc, scorecard, estimate. Each parses, calls one function of `work`, renders."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tsugiki.cli.data import (
    AsJson,
    CompletionColumn,
    GroupColumn,
    PromptColumn,
    Sheet,
    SliceColumns,
    SplitColumn,
    TimeColumn,
    plain,
)
from tsugiki.cli.options import From, with_knobs
from tsugiki.cli.slides import SlidesFile, slides_wanted, slides_written
from tsugiki.config import Design, Intake, KindName, LanguageName, PlanSpec, Recipe
from tsugiki.errors import UsageError

if TYPE_CHECKING:
    from tsugiki.work.prepare import DataSpec
    from tsugiki.work.study import Study

UNDECIDABLE = 3  # exit status
RANK_AUTO = {"rank": "auto"}
DECIDED_BY_STUDY = ("learning_rate", "max_steps", "seed")

DATA_HELP = "CSV, TSV, XLSX, JSONL, JSON or Parquet file"
Data = Annotated[Path, typer.Argument(help=DATA_HELP, show_default=False)]
OptionalData = Annotated[Path | None, typer.Argument(help=DATA_HELP, show_default=False)]
BaseName = Annotated[str | None, typer.Option("--base", help="hub id, folder, .gguf file, smollm2-135m or gemma3-270m")]
Out = Annotated[Path | None, typer.Option(help="folder of the study; the same folder again resumes it")]
IntakeFile = Annotated[Path | None, typer.Option("--intake", help="YAML file with purpose, criteria, owner, reviewer")]
WriteIntake = Annotated[Path | None, typer.Option(help="write an intake file to fill in, and stop")]
Language = Annotated[LanguageName | None, typer.Option(help="language of the file that --write-intake writes")]
KindOfWork = Annotated[
    KindName | None, typer.Option("--kind", help="kind of work that --write-intake writes for (tsugiki templates)")
]
TemplateName = Annotated[
    Literal["auto", "plain", "chat"],
    typer.Option(help="show prompts as they are, or as the base's chat; auto: chats only"),
]
PriceFile = Annotated[Path | None, typer.Option(help="YAML file with prices and business case; see tsugiki prices")]
LearnFrom = Annotated[
    Path | None,
    typer.Option(
        exists=True, file_okay=False, help="folder of earlier studies to learn from; else the one around --out"
    ),
]
Folder = Annotated[Path, typer.Argument(help="folder of a study", show_default=False)]


@with_knobs(
    design=From(Design, "Design"),
    plan=From(PlanSpec, "Methods", leave_out=("method",), defaults=RANK_AUTO),
    recipe=From(Recipe, "Training", leave_out=DECIDED_BY_STUDY),
)
def poc(
    data: OptionalData = None,
    base: BaseName = None,
    out: Out = None,
    intake: IntakeFile = None,
    write_intake: WriteIntake = None,
    language: Language = None,
    kind: KindOfWork = None,
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    split_column: SplitColumn = None,
    time_column: TimeColumn = None,
    slice_column: SliceColumns = None,
    sheet: Sheet = None,
    template: TemplateName = "auto",
    prices: PriceFile = None,
    learn_from: LearnFrom = None,
    slides: SlidesFile = None,
    as_json: AsJson = False,
    *,
    design: Design,
    plan: PlanSpec,
    recipe: Recipe,
) -> int:
    """The main job: a study of your data on a base, a verdict, a scorecard. Run it again to resume."""
    if write_intake is not None:
        given = {"DATA": data, "--base": base, "--out": out, "--intake": intake, "--prices": prices, "--slides": slides}
        if beside := [name for name, value in given.items() if value is not None]:
            raise UsageError(
                f"--write-intake writes a form and stops; {', '.join(beside)} would not be looked at.",
                fix=f"Leave out {', '.join(beside)}, fill in the form, then pass it with --intake.",
            )
        text = _starter(language or "en", kind)
        return write_starter(write_intake, text, option="--write-intake", used_with="--intake")
    if language is not None:
        raise UsageError("--language belongs to --write-intake.", fix="Set the language in the intake file.")
    if kind is not None:
        raise UsageError("--kind belongs to --write-intake.", fix="Set metric and margins in the intake file.")
    if data is None or base is None or out is None:
        missing = [name for name, value in (("DATA", data), ("--base", base), ("--out", out)) if value is None]
        raise UsageError(
            f"{' and '.join(missing)} must be given.",
            fix="For example: tsugiki poc data.csv --base smollm2-135m --out study.",
        )
    from tsugiki.data.shapes import Columns
    from tsugiki.work.prepare import DataSpec
    from tsugiki.work.price_table import read_prices
    from tsugiki.work.study import Study

    slides_wanted(slides, out)
    columns, slices = Columns(prompt_column, completion_column, group_column), tuple(slice_column or ())
    spec = DataSpec(data, columns, sheet, split_column, time_column, slices)
    study = Study(
        data=spec,
        base=base,
        intake=_intake(intake, out, spec, base),
        design=design,
        plan=plan,
        recipe=recipe,
        template=template,
        prices=None if prices is None else read_prices(prices),
        learn_from=learn_from or out.resolve().parent,
    )
    return _run(study, out, slides, as_json=as_json)


def demo(
    language: Annotated[
        LanguageName, typer.Option(help="en: linter findings on SmolLM2; ja: spelling variants on Gemma 3")
    ] = "en",
    out: Annotated[Path, typer.Option(help="folder of the study; the same folder again resumes it")] = Path("demo-out"),
    as_json: AsJson = False,
) -> int:
    """The main job on packaged real data and a packaged real model: ten minutes on two cores, twenty in Japanese."""
    from tsugiki.work.demo import demo_study

    return _run(demo_study(language, out), out, None, as_json=as_json)


def scorecard(folder: Folder, slides: SlidesFile = None, as_json: AsJson = False) -> int:
    """Rebuild scorecard.json and scorecard.html of a study from its folder."""
    from tsugiki.work.assemble import write_scorecard

    slides_wanted(slides, folder)
    card = write_scorecard(folder)
    slides_written(slides, card)
    return _show(folder, card, as_json=as_json)


def lessons(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="folder of studies", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """What earlier studies have taught, and how well each would have been foretold by the others."""
    from dataclasses import asdict

    from tsugiki.work.lessons import read_lessons, unreadable_lessons
    from tsugiki.work.prior import held_out

    found, unreadable = read_lessons(folder), unreadable_lessons(folder)
    judged = held_out(found)
    if as_json:
        lessons = [asdict(lesson) for lesson in found]
        print_json({"lessons": lessons, "held_out": judged, "unreadable": [str(path) for path in unreadable]})
        return
    for lesson in found:
        rank = "" if lesson.rank is None else f", rank {lesson.rank} of {lesson.largest_rank} sufficed"
        print_line(f"{plain(lesson.folder)}: {lesson.features.rows} training rows{rank}")
        for one in judged:
            if one["study"] == lesson.folder:
                print_line(f"  {one['method']:8} best rate {one['best']:g}; {_foretold(one)}")
    for path in unreadable:
        print_line(f"{plain(str(path))} cannot be read and teaches nothing: delete it, or put the old file back.")
    if not found:
        print_line(f"No study in {folder} has searched a rate or a rank yet.")


def _foretold(one: Mapping[str, Any]) -> str:
    if not one["from"]:
        return "no other study is near enough to say"
    lost = "a rate not tried here" if one["learned"] is None else f"{one['learned']:.3f} nats worse"
    others = "1 other suggests" if one["from"] == 1 else f"{one['from']} others suggest"
    return f"{others} {one['suggested']:g} ({lost})"


@with_knobs(
    design=From(
        Design, "Design", leave_out=("seeds", "curve_sizes", "tries", "budget_minutes", "budget_money", "shots")
    ),
    plan=From(PlanSpec, "Methods", leave_out=("method",), defaults=RANK_AUTO),
    recipe=From(
        Recipe,
        "Training",
        leave_out=set(Recipe.model_fields)
        - {"batch_size", "micro_tokens", "max_length", "precision", "quantize", "recompute"},
    ),
)
def estimate(
    data: Data,
    base: Annotated[str, typer.Option("--base", help="hub id, folder, .gguf file, smollm2-135m or gemma3-270m")],
    prompt_column: PromptColumn = None,
    completion_column: CompletionColumn = None,
    group_column: GroupColumn = None,
    split_column: SplitColumn = None,
    time_column: TimeColumn = None,
    sheet: Sheet = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="take a few training steps per method: minutes, and memory as it is here")
    ] = False,
    as_json: AsJson = False,
    *,
    design: Design,
    plan: PlanSpec,
    recipe: Recipe,
) -> int:
    """Memory per method, phase by phase, and training steps, before anything runs; 1 where a study refuses the data."""
    from tsugiki.cli.progress import telling
    from tsugiki.data.shapes import Columns
    from tsugiki.work.outlook import estimate_study, measured
    from tsugiki.work.prepare import DataSpec

    spec = DataSpec(data, Columns(prompt_column, completion_column, group_column), sheet, split_column, time_column)
    found = estimate_study(spec, base, design, plan, recipe)
    if measure:
        with telling() as on_event:
            found = measured(found, spec, design, plan, recipe, on_event)
    if as_json:
        print_json(found)
        return int(found["refused"])
    free = found["free_bytes"] / 1e9
    slow = " (emulated here, slower than float32)" if found["emulated"] else ""
    print_line(f"{found['base']} as {found['precision']}{slow} on {found['device']}, {free:.1f} GB free")
    rows = found["rows"]
    print_line(f"{rows['usable']} usable rows, {rows['train']} to train on, {found['steps']} steps")
    if rows["too_long"]:
        print_line(f"{rows['too_long']} rows are longer than {recipe.max_length} tokens (--max-length) and left out")
    for concern in found["concerns"]:
        print_line(plain(concern))
    for method in found["methods"]:
        peak = method["peak"]
        share = method["trainable_parameters"] / method["base_parameters"]
        memory = f"{peak['bytes'] / 1e9:6.2f} GB at its peak ({peak['phase']})"
        size = f"{share:.1%} of the parameters trained, {method['adapter_bytes'] / 1e6:.0f} MB stored"
        how = ", activations computed again" if method["recompute"] else ""
        print_line(f"{method['name']:8} {memory}, {size}{how}{'' if method['fits'] else ': does not fit'}")
        if measure:
            print_line(f"{'measured':8} {_measured(method['measured'])}")
    return int(found["refused"])


def _measured(found: Mapping[str, Any]) -> str:
    from tsugiki.cli.progress import duration

    if found["reason"] is not None:
        return str(found["reason"])
    return f"{found['peak_bytes'] / 1e9:6.2f} GB in training, {duration(found['seconds'])} for all steps"


def print_json(value: Any) -> None:
    """ASCII escapes survive any terminal and any pipe."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")


def _run(study: Study, out: Path, slides: Path | None, *, as_json: bool) -> int:
    from tsugiki.cli.progress import telling
    from tsugiki.work.study import run_study

    with telling() as on_event:
        found = run_study(study, out, on_event)
    slides_written(slides, found.scorecard)
    return _show(out, found.scorecard, as_json=as_json)


def _show(folder: Path, card: Any, *, as_json: bool) -> int:
    from tsugiki.report.text import render_text

    if as_json:
        print_json(card)
    else:
        print_line(f"\n{render_text(card)}\n{folder / 'scorecard.html'}")
    return UNDECIDABLE if card["verdict"]["value"] == "undecidable" else 0


def _intake(path: Path | None, out: Path, data: DataSpec, base: str) -> Intake:
    """From the file, from the study that is resumed, or from a person at the terminal.

    A person is asked only once it is sure that the data can be read and the base is there.
    """
    from tsugiki.engine.locate import find_base
    from tsugiki.work.intake import ask_intake, intake_needed, read_intake
    from tsugiki.work.lock import locked_intake
    from tsugiki.work.prepare import read_source

    if path is not None:
        return read_intake(path)
    if (locked := locked_intake(out)) is not None:
        return locked
    read_source(data)
    if not sys.stdin.isatty():
        raise intake_needed()
    find_base(base)
    return ask_intake(
        lambda question, default: str(typer.prompt(question, default=default, err=True)),
        lambda sentence: typer.echo(sentence, err=True),
    )


def _starter(language: LanguageName, kind: KindName | None) -> str:
    if kind is None:
        from tsugiki.work.intake import starter

        return starter(language)
    from tsugiki.work.papers import kind_starter

    return kind_starter(kind, language)


def write_starter(path: Path, text: str, *, option: str, used_with: str) -> int:
    """A file for a person to fill in; never over one that is there."""
    from tsugiki.files import make_folder, write_text

    if path.exists():
        raise UsageError(f"{path} exists already.", fix="Name another file, or delete it.")
    make_folder(path.parent, option)
    write_text(path, text)
    sys.stderr.write(f"Fill in {path}, then pass it with {used_with}.\n")
    return 0
