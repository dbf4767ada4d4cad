"""Will this engine serve this adapter as it was trained? Rules from compatibility.yaml, each answered in a sentence.

Called by `tsugiki registry check`, by the gates before an approval, and by the exports for an engine. A rule answers
pass, fail or undecidable; what is not known is undecidable, never a pass. Looks at facts only: nothing is loaded, run
or fetched here.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Literal

import yaml

from tsugiki.errors import UsageError
from tsugiki.work.adapter_facts import AdapterFacts, Golden

Outcome = Literal["pass", "fail", "undecidable"]
ENGINES = ("embedded", "peft", "vllm", "sglang", "llama.cpp")
RULE_KEYS = {"id", "target", "engine", "check", "limit", "evidence"}


@dataclass(frozen=True)
class Rule:
    """`target` is an engine or "*"; `engine` is the version that the rule holds for."""

    id: str
    target: str
    engine: str
    check: str
    evidence: str
    limit: Any = None


@dataclass(frozen=True)
class Target:
    """The serving side, as far as it is known. `template` is a digest or "none"; `paths` are its linear layers."""

    engine: str
    base_name: str | None = None
    weights: str | None = None
    tokenizer: str | None = None
    template: str | None = None
    serving_class: str | None = None
    paths: frozenset[str] | None = None
    golden: tuple[Golden, ...] | None = None
    quantization: str | None = None
    context: int | None = None  # tokens
    max_rank: int | None = None  # as the engine is started; None: it is started for this adapter


@dataclass(frozen=True)
class RuleResult:
    rule: str
    target: str
    engine: str
    outcome: Outcome
    sentence: str
    evidence: str


@dataclass(frozen=True)
class Report:
    """One answer per rule of every target, in the order of the rules."""

    adapter: str
    results: tuple[RuleResult, ...]

    @property
    def outcome(self) -> Outcome:
        """fail before undecidable before pass; nothing checked is undecidable."""
        found = {result.outcome for result in self.results}
        if "fail" in found:
            return "fail"
        return "undecidable" if "undecidable" in found or not found else "pass"

    def of(self, target: str) -> Report:
        return Report(self.adapter, tuple(result for result in self.results if result.target == target))

    def not_passed(self) -> tuple[RuleResult, ...]:
        return tuple(result for result in self.results if result.outcome != "pass")

    def as_json(self) -> dict[str, Any]:
        results = [asdict(result) for result in self.results]
        return {"format": 1, "adapter": self.adapter, "outcome": self.outcome, "results": results}


Answer = tuple[Outcome, str]
Check = Callable[[AdapterFacts, Target, Any], Answer]


def load_rules(text: str | None = None) -> tuple[Rule, ...]:
    """The packaged rules, or those in `text`. Raises UsageError for a table that does not follow the format."""
    content = (
        text if text is not None else resources.files("tsugiki.work").joinpath("compatibility.yaml").read_text("utf-8")
    )
    try:
        table = yaml.safe_load(content)
        rows = table["rules"]
        if table["format"] != 1 or not rows:
            raise ValueError("it is not of format 1 or holds no rules")
        rules = tuple(_rule(row) for row in rows)
        if len({rule.id for rule in rules}) != len(rules):
            raise ValueError("two rules have the same id")
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"The compatibility rules cannot be used: {error}.", fix="Follow the format of compatibility.yaml."
        ) from error
    return rules


def check_compatibility(facts: AdapterFacts, targets: Sequence[Target], rules: Sequence[Rule]) -> Report:
    """Every rule of every target. Raises UsageError for a target that no rule knows."""
    results = []
    for target in targets:
        own = [rule for rule in rules if rule.target == target.engine]
        if not own:
            raise UsageError(
                f"No rule is known for the target {target.engine!r}.", fix=f"Targets are {', '.join(ENGINES)}."
            )
        for rule in [*own, *(rule for rule in rules if rule.target == "*")]:
            outcome, sentence = CHECKS[rule.check](facts, target, rule.limit)
            results.append(RuleResult(rule.id, target.engine, rule.engine, outcome, sentence, rule.evidence))
    return Report(facts.name, tuple(results))


def next_allowed_rank(rank: int, allowed: Sequence[int]) -> int | None:
    """The smallest setting that holds `rank`; None where none does."""
    return min((one for one in allowed if one >= rank), default=None)


def _rule(row: dict[str, Any]) -> Rule:
    unknown = set(row) - RULE_KEYS
    if unknown or row["check"] not in CHECKS or row["target"] not in (*ENGINES, "*"):
        raise ValueError(f"rule {row.get('id')!r} has an unknown key, check or target")
    return Rule(**row)


def _base(facts: AdapterFacts, target: Target, _: Any) -> Answer:
    if facts.base.weights is None:
        return "undecidable", "The adapter does not say which weights it was trained on; register it with its base."
    if target.weights is None:
        return "undecidable", f"The weights that {target.engine} will serve are not known; name them with --base."
    if facts.base.weights == target.weights:
        return "pass", f"The base is the one it was trained on ({facts.base.weights[:19]}…)."
    return "fail", (
        f"It was trained on {facts.base.name} ({facts.base.weights[:19]}…), and {target.base_name} "
        f"({target.weights[:19]}…) has other weights; serve its own base."
    )


def _paths(facts: AdapterFacts, target: Target, _: Any) -> Answer:
    if target.paths is None:
        return "undecidable", (
            f"The layers of the class that {target.engine} serves are not known; name the base with --base."
        )
    wanted = list(dict.fromkeys([*facts.ranks, *facts.modules]))
    lost = [path for path in wanted if path not in target.paths]
    if not lost:
        return "pass", f"All {len(wanted)} adapted modules are modules of {target.serving_class}."
    where = next((path for path in sorted(target.paths) if path.endswith("." + _tail(lost[0]))), None)
    cause = f", which keeps it as {where}" if where else ""
    return "fail", (
        f"{len(wanted) - len(lost)} of {len(wanted)} modules are covered: {lost[0]} is none of "
        f"{target.serving_class}{cause}; train on the class that serves, for an engine may leave it out in silence."
    )


def _tail(path: str) -> str:
    """What wrappers keep of a path: 'model.layers.0.mlp.up_proj' → 'layers.0.mlp.up_proj'."""
    return path.partition(".")[2] or path


def _rank(facts: AdapterFacts, target: Target, limit: Any) -> Answer:
    allowed = limit.get("allowed")
    largest = max(allowed) if allowed else limit["largest"]
    if facts.rank > largest:
        return (
            "fail",
            f"Rank {facts.rank} is above the largest that {target.engine} takes ({largest}); train with less.",
        )
    setting = next_allowed_rank(facts.rank, allowed) if allowed else facts.rank
    assert setting is not None
    if target.max_rank is not None and facts.rank > target.max_rank:
        return (
            "fail",
            f"Rank {facts.rank} needs max_lora_rank {setting}, and the engine is started with {target.max_rank}.",
        )
    return "pass", f"Rank {facts.rank} is served with max_lora_rank {setting}." if allowed else (
        f"Rank {facts.rank} is within {largest}."
    )


FEATURE_WORDS = {
    "dora": "DoRA",
    "bias": "trained biases",
    "alora": "activated LoRA",
    "layer_replication": "replicated layers",
    "qalora": "QA-LoRA",
    "block_diagonal": "block-diagonal LoRA",
    "special_init": "a start that changed the base (PiSSA, OLoRA, CorDA, LoftQ)",
    "modules_to_save": "layers trained in full",
    "bottleneck": "bottleneck parts",
    "no_low_rank": "no low-rank part at all",
    "added_tokens": "added tokens",
    "target_parameters": "parts on bare parameters",
    "mixed_ranks": "layers of different rank or scale",
    "rslora": "rank-stabilised scaling",
    "head": "a part on the head or the embedding",
}


def _features(facts: AdapterFacts, target: Target, limit: Any) -> Answer:
    found = sorted(set(limit) & facts.features)
    if not found:
        listed = ", ".join(FEATURE_WORDS[one] for one in limit)
        return "pass", f"It has none of what {target.engine} does not serve ({listed})."
    if set(found) <= {"mixed_ranks", "rslora"}:
        fix = f"`tsugiki export --to {target.engine}` writes it with one rank and scale."
    elif "bottleneck" in found:
        fix = "Serve it with tsugiki's own engine, or train plain LoRA."
    else:
        fix = "Merge it (`tsugiki export --to merged`), or train plain LoRA."
    words = ", ".join(FEATURE_WORDS[one] for one in found)
    return "fail", f"It has {words}, which {target.engine} does not serve. {fix}"


def _unproven(facts: AdapterFacts, target: Target, limit: Any) -> Answer:
    found = sorted(set(limit) & facts.features)
    if not found:
        return "pass", f"It has no {' or '.join(FEATURE_WORDS[one].removeprefix('a ') for one in limit)}."
    return "undecidable", (
        f"It has {FEATURE_WORDS[found[0]]}, and whether {target.engine} serves that is not proven; try it first."
    )


def _tokenizer(facts: AdapterFacts, target: Target, _: Any) -> Answer:
    return _same_digest("tokenizer", facts.base.tokenizer, target.tokenizer, target)


def _template(facts: AdapterFacts, target: Target, _: Any) -> Answer:
    return _same_digest("chat template", facts.base.template, target.template, target)


def _same_digest(what: str, trained: str | None, served: str | None, target: Target) -> Answer:
    if trained is None:
        return "undecidable", f"The adapter does not say which {what} it was trained with."
    if served is None:
        return "undecidable", f"The {what} that {target.engine} will use is not known; name the base with --base."
    if trained == served:
        return "pass", f"The {what} is the one it was trained with."
    shown = [one if one == "none" else f"{one[:19]}…" for one in (served, trained)]
    return "fail", f"The {what} ({shown[0]}) is not the one it was trained with ({shown[1]}); serve that one."


def _golden(facts: AdapterFacts, target: Target, _: Any) -> Answer:
    if not facts.golden:
        return "undecidable", "No token ids of recorded prompts came with the adapter, so none can be compared."
    if target.golden is None:
        return "undecidable", f"The tokens that {target.engine} makes of the recorded prompts are not known."
    served = {one.prompt: one.ids for one in target.golden}
    for one in facts.golden:
        if one.prompt not in served:
            return "undecidable", f"The serving side gave no tokens for the recorded prompt {one.prompt[:30]!r}."
        if served[one.prompt] != one.ids:
            at = next(
                (i for i, pair in enumerate(zip(one.ids, served[one.prompt], strict=False)) if pair[0] != pair[1]), 0
            )
            doubled = served[one.prompt][:1] * 2 == served[one.prompt][:2] != one.ids[:2]
            cause = " (the begin token stands there twice)" if doubled else ""
            return "fail", (
                f"The recorded prompt {one.prompt[:30]!r} gives other tokens from position {at} on{cause}; "
                "serve with the tokenizer it was trained with."
            )
    return "pass", f"All {len(facts.golden)} recorded prompts give the recorded token ids."


def _quantization(facts: AdapterFacts, target: Target, _: Any) -> Answer:
    trained, served = facts.base.quantization, target.quantization
    if trained is None:
        return "undecidable", "The adapter does not say how the base was held when it was trained."
    if served is None:
        return "undecidable", f"How {target.engine} will hold the base is not known; say it with --quantization."
    if trained == served:
        return "pass", f"The base is held as it was in training ({trained})."
    return "fail", (
        f"It was trained on the base in {trained}, and {target.engine} will hold it in {served}; evaluate it on the "
        "weights that serve, or serve those it was trained on."
    )


def _context(facts: AdapterFacts, target: Target, _: Any) -> Answer:
    if facts.longest is None:
        return "undecidable", "The adapter does not say how long its longest examples were."
    if target.context is None:
        return "undecidable", f"The context length of {target.engine}'s base is not known; name the base with --base."
    if facts.longest <= target.context:
        return "pass", f"Examples of up to {facts.longest} tokens fit into its context of {target.context}."
    return "fail", f"It was trained on up to {facts.longest} tokens, and the context is {target.context}; serve more."


def _serving_class(_: AdapterFacts, target: Target, limit: Any) -> Answer:
    if target.serving_class is None:
        return "undecidable", f"The class that {target.engine} serves is not known; name the base with --base."
    if any(fnmatch.fnmatchcase(target.serving_class, pattern) for pattern in limit):
        return "fail", (
            f"{target.serving_class} wraps the language model, and {target.engine} refuses its nested layer names; "
            "serve the text-only class."
        )
    return "pass", f"{target.serving_class} is no wrapper around the language model."


def _licence(facts: AdapterFacts, _: Target, limit: Any) -> Answer:
    if facts.base.licence is None:
        return "undecidable", "The base's licence is not known; say it with --licence."
    name = facts.base.licence.lower()
    if name in limit["permitted"]:
        return "pass", f"The base's licence ({facts.base.licence}) is one that permits commercial use."
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in limit["refused"]):
        return "fail", f"The base's licence ({facts.base.licence}) does not permit use in a company; take another base."
    return "undecidable", f"The base's licence ({facts.base.licence}) has terms of its own; someone has to read them."


CHECKS: dict[str, Check] = {
    "base": _base,
    "paths": _paths,
    "rank": _rank,
    "features": _features,
    "unproven": _unproven,
    "serving_class": _serving_class,
    "tokenizer": _tokenizer,
    "template": _template,
    "golden": _golden,
    "quantization": _quantization,
    "context": _context,
    "licence": _licence,
}
