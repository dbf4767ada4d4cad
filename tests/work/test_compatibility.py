"""Every rule can pass, fail and be undecidable; unknown never passes; the packaged table is sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from tsugiki.errors import UsageError
from tsugiki.work.adapter_facts import AdapterFacts, BaseFacts, Golden
from tsugiki.work.compatibility import (
    CHECKS,
    ENGINES,
    FEATURE_WORDS,
    Report,
    Rule,
    Target,
    check_compatibility,
    load_rules,
    next_allowed_rank,
)

RULES = load_rules()
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj")
GOLDEN = (Golden("部品番号はAB-1204", (1, 5, 6, 7)), Golden("pump", (1, 9)))
BASE = BaseFacts(
    name="smollm2", digest="sha256:d", weights="sha256:w", tokenizer="sha256:t", template="sha256:c",
    architecture="LlamaForCausalLM", quantization="none", licence="apache-2.0",
)  # fmt: skip
FACTS = AdapterFacts(
    name="qa", base=BASE, ranks=dict.fromkeys(LAYERS, 8), scales=dict.fromkeys(LAYERS, 2.0), full=(), modules=(),
    features=frozenset(), files={}, golden=GOLDEN, longest=512,
)  # fmt: skip


def target(engine: str, **changes: Any) -> Target:
    known = Target(
        engine, base_name="smollm2", weights="sha256:w", tokenizer="sha256:t", template="sha256:c",
        serving_class="LlamaForCausalLM", paths=frozenset(LAYERS), golden=GOLDEN, quantization="none", context=8192,
    )  # fmt: skip
    return replace(known, **changes)


def answer(rule: Rule, facts: AdapterFacts, serving: Target) -> Any:
    (found,) = check_compatibility(facts, [serving], [replace(rule, target=serving.engine)]).results
    return found


Change = Callable[[Rule], tuple[AdapterFacts, dict[str, Any]]]


def with_base(**changes: Any) -> AdapterFacts:
    return replace(FACTS, base=replace(BASE, **changes))


def too_high(rule: Rule) -> AdapterFacts:
    largest = max(rule.limit["allowed"]) if "allowed" in rule.limit else rule.limit["largest"]
    return replace(FACTS, ranks=dict.fromkeys(LAYERS, largest + 1))


# check → what makes it fail, and what leaves it undecidable
FAILS: dict[str, Change] = {
    "base": lambda rule: (FACTS, {"weights": "sha256:other"}),
    "paths": lambda rule: (FACTS, {"paths": frozenset(f"language_model.{path}" for path in LAYERS)}),
    "rank": lambda rule: (too_high(rule), {}),
    "features": lambda rule: (replace(FACTS, features=frozenset(rule.limit[:1])), {}),
    "serving_class": lambda rule: (FACTS, {"serving_class": "Gemma3ForConditionalGeneration"}),
    "tokenizer": lambda rule: (FACTS, {"tokenizer": "sha256:other"}),
    "template": lambda rule: (FACTS, {"template": "none"}),
    "golden": lambda rule: (FACTS, {"golden": (GOLDEN[0], Golden("pump", (1, 1, 9)))}),
    "quantization": lambda rule: (FACTS, {"quantization": "awq"}),
    "context": lambda rule: (FACTS, {"context": 511}),
    "licence": lambda rule: (with_base(licence="CC-BY-NC-4.0"), {}),
}
UNDECIDABLE: dict[str, list[tuple[AdapterFacts, dict[str, Any]]]] = {
    "base": [(FACTS, {"weights": None}), (with_base(weights=None), {})],
    "paths": [(FACTS, {"paths": None})],
    "unproven": [(replace(FACTS, features=frozenset(["head"])), {})],
    "serving_class": [(FACTS, {"serving_class": None})],
    "tokenizer": [(FACTS, {"tokenizer": None}), (with_base(tokenizer=None), {})],
    "template": [(FACTS, {"template": None}), (with_base(template=None), {})],
    "golden": [(FACTS, {"golden": None}), (replace(FACTS, golden=None), {}), (FACTS, {"golden": GOLDEN[:1]})],
    "quantization": [(FACTS, {"quantization": None}), (with_base(quantization=None), {})],
    "context": [(FACTS, {"context": None}), (replace(FACTS, longest=None), {})],
    "licence": [(with_base(licence=None), {}), (with_base(licence="gemma"), {})],
}


def serving_for(rule: Rule) -> str:
    return "vllm" if rule.target == "*" else rule.target


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_passes_what_is_sound_and_names_its_evidence(rule: Rule) -> None:
    found = answer(rule, FACTS, target(serving_for(rule)))
    assert found.outcome == "pass", found.sentence
    assert len(found.evidence) > 10 and found.sentence.endswith(".")


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.check != "unproven"], ids=lambda rule: rule.id)
def test_every_rule_can_fail_with_one_sentence(rule: Rule) -> None:
    facts, changes = FAILS[rule.check](rule)
    found = answer(rule, facts, target(serving_for(rule), **changes))
    assert found.outcome == "fail", found.sentence
    assert "\n" not in found.sentence and len(found.sentence) > 30


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.check in UNDECIDABLE], ids=lambda rule: rule.id)
def test_what_is_not_known_is_undecidable_and_never_passes(rule: Rule) -> None:
    for facts, changes in UNDECIDABLE[rule.check]:
        found = answer(rule, facts, target(serving_for(rule), **changes))
        assert found.outcome == "undecidable", found.sentence


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.check == "features"], ids=lambda rule: rule.id)
def test_every_feature_of_a_rule_is_refused_by_its_name(rule: Rule) -> None:
    for feature in rule.limit:
        found = answer(rule, replace(FACTS, features=frozenset([feature])), target(rule.target))
        assert found.outcome == "fail" and FEATURE_WORDS[feature] in found.sentence


def test_every_engine_has_the_rules_it_needs_and_every_check_is_used() -> None:
    needed = {"base", "paths", "rank", "features", "tokenizer", "template", "golden", "quantization", "context"}
    for engine in ENGINES:
        assert needed <= {rule.check for rule in RULES if rule.target == engine}, engine
    assert {rule.check for rule in RULES} == set(CHECKS)


@pytest.mark.parametrize(("rank", "setting"), [(1, 1), (2, 8), (8, 8), (12, 16), (100, 128), (257, 320), (512, 512)])
def test_vllm_gets_the_next_rank_that_it_takes(rank: int, setting: int) -> None:
    rule = next(rule for rule in RULES if rule.id == "vllm-rank")
    assert next_allowed_rank(rank, rule.limit["allowed"]) == setting
    found = answer(rule, replace(FACTS, ranks={LAYERS[0]: rank}), target("vllm"))
    assert f"max_lora_rank {setting}" in found.sentence and found.outcome == "pass"


def test_an_engine_that_runs_with_less_rank_is_refused() -> None:
    rule = next(rule for rule in RULES if rule.id == "vllm-rank")
    found = answer(rule, replace(FACTS, ranks={LAYERS[0]: 20}), target("vllm", max_rank=16))
    assert found.outcome == "fail" and "needs max_lora_rank 32" in found.sentence and "with 16" in found.sentence


def test_a_wrapper_around_the_language_model_is_named_as_the_cause() -> None:
    rule = next(rule for rule in RULES if rule.id == "vllm-paths")
    wrapped = frozenset(f"model.language_model.{path.removeprefix('model.')}" for path in LAYERS)
    found = answer(rule, FACTS, target("vllm", paths=wrapped, serving_class="Gemma3ForConditionalGeneration"))
    assert found.outcome == "fail"
    assert "0 of 2 modules are covered" in found.sentence
    assert "which keeps it as model.language_model.layers.0.self_attn.q_proj" in found.sentence


def test_one_layer_that_is_not_found_is_enough_to_fail() -> None:
    rule = next(rule for rule in RULES if rule.id == "vllm-paths")
    found = answer(rule, FACTS, target("vllm", paths=frozenset(LAYERS[:1])))
    assert found.outcome == "fail" and "1 of 2" in found.sentence
    whole = replace(FACTS, modules=("model.norm",))
    assert answer(rule, whole, target("vllm")).outcome == "fail"


def test_a_doubled_begin_token_is_named() -> None:
    rule = next(rule for rule in RULES if rule.id == "vllm-golden")
    doubled = tuple(Golden(one.prompt, (1, *one.ids)) for one in GOLDEN)
    found = answer(rule, FACTS, target("vllm", golden=doubled))
    assert found.outcome == "fail" and "begin token stands there twice" in found.sentence


def test_the_report_is_as_bad_as_its_worst_answer() -> None:
    good = check_compatibility(FACTS, [target("vllm"), target("llama.cpp")], RULES)
    assert good.outcome == "pass" and not good.not_passed()
    assert {one.target for one in good.results} == {"vllm", "llama.cpp"}
    assert sum(one.rule == "licence" for one in good.results) == 2
    unknown = check_compatibility(FACTS, [target("vllm", context=None)], RULES)
    assert unknown.outcome == "undecidable" and [one.rule for one in unknown.not_passed()] == ["vllm-context"]
    both = check_compatibility(FACTS, [target("vllm", context=None, weights="x")], RULES)
    assert both.outcome == "fail" and both.as_json()["outcome"] == "fail"
    assert Report("nothing", ()).outcome == "undecidable"


def test_a_bare_target_leaves_almost_everything_undecidable() -> None:
    report = check_compatibility(FACTS, [Target("peft")], RULES)
    assert report.outcome == "undecidable"
    assert {one.rule for one in report.results if one.outcome == "pass"} == {"peft-rank", "peft-features", "licence"}


def test_a_target_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match=r"No rule is known for the target 'tgi'.*embedded, peft, vllm"):
        check_compatibility(FACTS, [Target("tgi")], RULES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format: 2\nrules: [{id: a, target: vllm, engine: '1', check: base, evidence: x}]",
        "format: 1\nrules: []",
        "format: 1\nrules: [{id: a, target: vllm, engine: '1', check: magic, evidence: x}]",
        "format: 1\nrules: [{id: a, target: tgi, engine: '1', check: base, evidence: x}]",
        "format: 1\nrules: [{id: a, target: vllm, engine: '1', check: base}]",
        "format: 1\nrules: [{id: a, target: vllm, engine: '1', check: base, evidence: x, more: 1}]",
        "format: 1\nrules: [{id: a, target: vllm, engine: '1', check: base, evidence: x}, "
        "{id: a, target: peft, engine: '1', check: base, evidence: x}]",
        "format: 1\nrules: [",
    ],
)
def test_a_table_that_is_not_sound_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="compatibility rules cannot be used"):
        load_rules(text)


def test_a_table_of_ones_own_is_taken() -> None:
    rows = [{"id": "own", "target": "vllm", "engine": "9", "check": "rank", "limit": {"largest": 4}, "evidence": "own"}]
    rules = load_rules(yaml.safe_dump({"format": 1, "rules": rows}))
    assert check_compatibility(FACTS, [target("vllm")], rules).outcome == "fail"
