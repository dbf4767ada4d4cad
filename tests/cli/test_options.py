from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner

from tsugiki.cli.options import From, with_knobs
from tsugiki.cli.studies import DECIDED_BY_STUDY, poc
from tsugiki.config import Design, PlanSpec, Recipe
from tsugiki.errors import UsageError

OTHER = {  # a value for each knob that is not its default
    "methods": "lora,full", "method": "hybrid", "targets": "q_proj, v_proj", "full_layers": "0,1",
    "bottleneck": "parallel", "schedule": "constant", "precision": "float32", "dropout": "0.25",
    "full_learning_rate_ratio": "0.5", "warmup_share": "0.5", "weight_decay": "0.5", "learning_rate": "0.5",
    "rank_spread": "activations",
    "test_share": "0.3", "dev_share": "0.3", "rslora": "", "dora": "", "blocks": "last:1", "recompute": "always",
    "quantize": "int8", "budget_money": "500.0",
}  # fmt: skip


def command() -> tuple[typer.Typer, dict[str, Any]]:
    got: dict[str, Any] = {}
    app = typer.Typer()

    @app.command()
    @with_knobs(design=From(Design, "Design"), plan=From(PlanSpec, "Plan"), recipe=From(Recipe, "Recipe"))
    def build(name: str, *, design: Design, plan: PlanSpec, recipe: Recipe) -> None:
        """A command with every knob."""
        got.update(name=name, design=design, plan=plan, recipe=recipe)

    return app, got


def test_without_options_the_defaults_of_config_hold():
    app, got = command()
    assert CliRunner().invoke(app, ["x"]).exit_code == 0
    assert got == {"name": "x", "design": Design(), "plan": PlanSpec(), "recipe": Recipe()}


@pytest.mark.parametrize(
    ("group", "kind", "name"),
    [
        (group, kind, name)
        for group, kind in (("design", Design), ("plan", PlanSpec), ("recipe", Recipe))
        for name in kind.model_fields
    ],
)
def test_every_knob_has_an_option_that_sets_it(group: str, kind: Any, name: str):
    default = getattr(kind(), name)
    value = OTHER[name] if name in OTHER else str(default + 1)
    flag = "--budget" if name == "budget_minutes" else "--" + name.replace("_", "-")
    app, got = command()
    ran = CliRunner().invoke(app, ["x", flag, *([value] if value else [])])
    assert ran.exit_code == 0, ran.output
    changed = getattr(got[group], name)
    assert changed != default
    kind_of_value = float if default is None else type(default)
    expected = (
        tuple(part.strip() for part in value.split(",")) if isinstance(default, tuple) else kind_of_value(value or 1)
    )
    assert changed == expected


def test_help_repeats_the_descriptions_and_defaults():
    app, _ = command()
    text = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).output.split())
    for kind in (Design, PlanSpec, Recipe):
        for field in kind.model_fields.values():
            assert str(field.description) in text
    assert "[default: lora,adapter,hybrid,full]" in text


def test_faults_are_usage_errors_in_one_sentence():
    app, _ = command()
    ran = CliRunner().invoke(app, ["x", "--rank", "0"])
    assert isinstance(ran.exception, UsageError)
    assert "rank must be a whole number from 1 to 1024, or auto; got 0" in str(ran.exception)


def test_poc_leaves_to_the_study_what_the_study_decides():
    names = set(inspect.signature(poc).parameters)
    assert set(Design.model_fields) < names
    assert set(Recipe.model_fields) - names == set(DECIDED_BY_STUDY)
    assert set(PlanSpec.model_fields) - names == {"method"}
    assert get_args(inspect.signature(poc).parameters["rank"].annotation)[0] is str  # a number, or auto
