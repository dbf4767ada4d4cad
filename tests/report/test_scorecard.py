"""The contract: our small check agrees with jsonschema, and says more than the schema can."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.report.cards import every_card, full_card
from tsugiki.report.scorecard import check_scorecard, contract, scorecard_bytes, subject

REQUIRED = {
    "": {"schema", "language", "verdict", "task", "reference", "methods", "learning_curve", "machine", "data"},
    "verdict": {"value", "rule", "reasons", "needed_examples"},
    "task": {"kind", "metric", "train", "dev", "test"},
    "machine": {"cpu", "cores", "memory_bytes", "accelerator", "fingerprint"},
    "data": {"rows", "used", "excluded", "digest"},
    "learning_curve": {"method", "points", "fit", "least_data"},
}
REQUIRED_OF_A_METHOD = {
    *("name", "plan", "quality", "against_full", "trainable_share", "adapter_bytes", "peak_memory_bytes"),
    *("train_seconds", "tokens_per_second", "latency", "change", "retention", "cost", "seeds", "trials"),
}
JUNK = st.sampled_from([None, True, -1, 0, 1.5, "", "x", [], {}, [1], {"a": 1}])


def test_the_packaged_contract_asks_for_nothing_less() -> None:
    schema = contract()
    for name, fields in REQUIRED.items():
        part = schema["properties"][name] if name else schema
        assert set(part["required"]) == fields
    assert set(schema["properties"]["methods"]["items"]["required"]) == REQUIRED_OF_A_METHOD
    assert set(schema["$defs"]["quality"]["required"]) == {"metric", "estimate", "low", "high", "n", "method"}


@pytest.mark.parametrize("name", every_card())
def test_every_example_keeps_the_contract(name: str) -> None:
    card = every_card()[name]
    assert check_scorecard(card) == []
    jsonschema.validate(card, contract())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_broken_card_is_refused_where_jsonschema_refuses_it(data: st.DataObject) -> None:
    card = full_card("en")
    places = list(_places({name: card[name] for name in contract()["required"]}))
    holder, key = data.draw(st.sampled_from(places))
    inner: Any = card
    for step in holder:
        inner = inner[step]
    if data.draw(st.booleans()) and isinstance(inner, dict):
        del inner[key]
    else:
        inner[key] = data.draw(JUNK)
    if not jsonschema.Draft202012Validator(contract()).is_valid(card):
        assert check_scorecard(card)


def test_nan_and_crossed_intervals_are_refused() -> None:
    card = full_card()
    card["methods"][0]["dev_loss"] = float("nan")
    card["reference"][0]["quality"] |= {"low": 0.9, "high": 0.1}
    problems = "\n".join(check_scorecard(card))
    assert "methods[0].dev_loss must be a finite number or null, got nan" in problems
    assert "reference[0].quality must have low <= high, got 0.9 and 0.1" in problems


def test_a_null_wants_its_reason() -> None:
    card = full_card()
    card["methods"][1]["retention"] = None
    card["reference"][1]["quality"]["estimate"] = None
    assert check_scorecard(card) == [
        "reference[1].quality.estimate is null without a reason",
        "methods.adapter.retention is null without a sentence in reasons",
    ]


def test_rows_must_add_up() -> None:
    card = full_card()
    card["data"]["used"] = 799
    assert check_scorecard(card) == ["data: 799 used and 3 excluded rows are not 803 rows"]


def test_equal_cards_give_equal_bytes() -> None:
    card = full_card()
    turned = dict(reversed(list(copy.deepcopy(card).items())))
    assert scorecard_bytes(card) == scorecard_bytes(turned)
    assert json.loads(scorecard_bytes(card)) == card
    assert "設備" in scorecard_bytes(card).decode("utf-8")
    with pytest.raises(ValueError, match="JSON compliant"):
        scorecard_bytes({**card, "odd": float("inf")})


def test_the_subject_is_the_method_the_verdict_names() -> None:
    card = full_card()
    assert subject(card)["name"] == "lora"
    card["verdict"]["method"] = "hybrid"
    assert subject(card)["name"] == "hybrid"
    card["verdict"]["method"] = None
    card["methods"] = card["methods"][1:]
    assert subject(card)["name"] == "adapter"


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield path, key
        yield from _places(inner, (*path, key))
