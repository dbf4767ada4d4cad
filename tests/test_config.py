"""The knobs: strict, frozen, described, and every fault named in one sentence with the value that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tsugiki.config import LEARNING_RATES, METHODS, Criteria, Design, Intake, Knobs, PlanSpec, Recipe, parse
from tsugiki.errors import UsageError

REQUIRED: dict[type[Knobs], dict[str, Any]] = {
    PlanSpec: {},
    Recipe: {},
    Design: {},
    Criteria: {"success": 0.8, "withdraw": 0.4},
    Intake: {
        "purpose": "class of a part",
        "owner": "A",
        "reviewer": "B",
        "criteria": {"success": 0.8, "withdraw": 0.4},
    },
}
KINDS = pytest.mark.parametrize("kind", REQUIRED, ids=lambda kind: kind.__name__)


@KINDS
def test_a_parsed_value_survives_json(kind: type[Knobs]) -> None:
    value = parse(kind, REQUIRED[kind], source="test")
    again = parse(kind, json.loads(value.model_dump_json()), source="test")
    assert again == value


@given(
    rank=st.integers(1, 1024),
    alpha=st.floats(0.001, 1e6),
    dropout=st.floats(0, 0.99),
    targets=st.lists(st.text(min_size=1), min_size=1, max_size=4),
)
def test_any_plan_in_range_survives_json(rank: int, alpha: float, dropout: float, targets: list[str]) -> None:
    value = parse(PlanSpec, {"rank": rank, "alpha": alpha, "dropout": dropout, "targets": targets}, source="test")
    assert value.targets == tuple(targets)
    assert parse(PlanSpec, json.loads(value.model_dump_json()), source="test") == value


@given(key=st.text(min_size=1).filter(lambda key: key not in Recipe.model_fields), value=st.integers() | st.text())
def test_an_unknown_key_is_always_refused(key: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        parse(Recipe, {key: value}, source="recipe.yaml")
    assert f"{key} is not a known key" in caught.value.problem


@KINDS
def test_knobs_cannot_be_changed(kind: type[Knobs]) -> None:
    value = parse(kind, REQUIRED[kind], source="test")
    name = next(iter(kind.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, getattr(value, name))


@pytest.mark.parametrize(
    ("kind", "values", "problem"),
    [
        (Recipe, {"max_step": 10}, "max_step is not a known key"),
        (Recipe, {"max_steps": 0}, "max_steps: input should be greater than or equal to 1, got 0"),
        (Recipe, {"max_steps": "300"}, "max_steps: input should be a valid integer, got '300'"),
        (Recipe, {"max_steps": True}, "max_steps: input should be a valid integer, got True"),
        (Recipe, {"learning_rate": float("nan")}, "learning_rate: input should be a finite number, got nan"),
        (Recipe, {"schedule": "linear"}, "schedule: input should be 'cosine' or 'constant', got 'linear'"),
        (PlanSpec, {"dropout": 1.0}, "dropout: input should be less than 1, got 1.0"),
        (PlanSpec, {"method": "adapter", "dora": True}, "dora needs method lora or hybrid, got adapter"),
        (PlanSpec, {"method": "full", "rslora": True}, "rslora needs method lora or hybrid, got full"),
        (Criteria, {"success": 0.5}, "withdraw is missing"),
        (Criteria, {"success": 0.5, "withdraw": 0.7}, "withdraw (0.7) must not be above success (0.5)"),
        (Design, {"methods": []}, "methods: tuple should have at least 1 item"),
        (Design, {"methods": ["lora", "lora"]}, "methods must be named once each, got lora, lora"),
        (Design, {"test_share": 0.6, "dev_share": 0.4}, "test_share + dev_share must be below 0.9, got 1"),
        (Intake, {**REQUIRED[Intake], "criteria": {"success": 2, "withdraw": 0}}, "criteria.success: "),
        (Intake, {**REQUIRED[Intake], "purpose": ""}, "purpose: string should have at least 1 character, got ''"),
        (Intake, {**REQUIRED[Intake], "language": "de"}, "language: input should be 'en' or 'ja', got 'de'"),
    ],
)
def test_each_fault_is_named_with_its_value(kind: type[Knobs], values: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(kind, values, source="study.yaml")
    assert caught.value.problem.startswith("study.yaml: ")
    assert problem in caught.value.problem
    assert caught.value.fix == f"Known keys: {', '.join(kind.model_fields)}."


def test_several_faults_are_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse(Recipe, {"seed": -1, "patience": 0, "colour": "red"}, source="recipe.yaml")
    assert all(word in caught.value.problem for word in ("seed", "patience", "colour"))


def test_lists_become_tuples_at_every_depth() -> None:
    assert parse(PlanSpec, {"targets": ["q_proj", "v_proj"]}, source="test").targets == ("q_proj", "v_proj")
    assert parse(Design, {"methods": ["lora", "full"]}, source="test").methods == ("lora", "full")


def test_every_method_gets_the_same_number_of_rates_for_any_number_of_tries() -> None:
    assert set(LEARNING_RATES) == set(METHODS)
    assert len({len(rates) for rates in LEARNING_RATES.values()}) == 1
    for rates in LEARNING_RATES.values():
        assert len(set(rates)) == len(rates)
