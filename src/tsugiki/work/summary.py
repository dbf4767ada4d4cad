"""One entry of the scorecard per method and per reference: quality with its interval, and what it takes.

Called by `assemble`. A number that could not be measured is null, with a sentence under the same name in `reasons`.
Speed, memory and change cost come from the first seed, which alone was measured in full; quality, training time and the
loss on general text are over all seeds that ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from tsugiki.config import MethodName, parse
from tsugiki.measure.baselines import copy_answers, majority_answer
from tsugiki.measure.cost import Machine, cost_of, rate_for
from tsugiki.measure.metrics import comparable_scores, quality, scores_of
from tsugiki.measure.prices import Prices
from tsugiki.measure.stats import Estimate, margin_for, non_inferiority, unmeasured
from tsugiki.report.words import missing_sentence
from tsugiki.work.evidence import Evidence, Result
from tsugiki.work.measured import Measured, Retention

Entry = dict[str, Any]


def measured_references(evidence: Evidence) -> dict[str, Measured | None]:
    found: dict[str, Measured | None] = {"base": None, "k-shot": None}
    trial = evidence.result("reference")
    if trial is not None:
        for name, answers in trial["references"].items():
            found[name] = measured_answers(evidence, [answers_of(answers)], trial["test_digest"])
    copied = copy_answers([example.prompt for example in evidence.test])
    frequent = majority_answer([example.completion for example in evidence.train])
    for name, texts in (("copy", copied), ("majority", [frequent or ""] * len(evidence.test))):
        found[name] = measured_answers(evidence, [texts], evidence.test_digest)
    return found


def measured_methods(evidence: Evidence) -> dict[MethodName, Measured]:
    found = {}
    for method in evidence.methods:
        done = evidence.done(evidence.finals(method))
        if done:
            answers = [answers_of(one) for one in done]
            digest = next((one["test_digest"] for one in done if one["test_digest"] != evidence.test_digest), None)
            found[method] = measured_answers(evidence, answers, digest or evidence.test_digest)
    return found


def retention_of(evidence: Evidence, method: MethodName) -> Retention:
    """Both languages count the same, and so does every seed; a seed that was not measured leaves it open."""
    before = _general_before(evidence, method)
    after = [_general_after(one) for one in evidence.done(evidence.finals(method))]
    known = [loss for loss in after if loss is not None]
    return Retention(
        loss_before=None if before is None else mean(before.values()),
        loss_after=mean(known) if known and len(known) == len(after) else None,
    )


def _general_after(found: Result) -> float | None:
    return mean(found["general"].values()) if "general" in found else None


def _general_before(evidence: Evidence, method: MethodName) -> dict[str, float] | None:
    """By language; a method whose base is held in another way than the reference's has a loss before of its own."""
    own = [one["general_before"] for one in evidence.done(evidence.finals(method)) if "general_before" in one]
    before = evidence.result("reference")
    return own[0] if own else None if before is None else before["general"]


def quality_json(evidence: Evidence, measured: Measured | None, why: str) -> dict[str, Any]:
    metric = evidence.criteria.metric
    if measured is None:
        return unmeasured(metric, missing_sentence(why, evidence.intake.language))
    if measured.test_digest != evidence.test_digest:
        return unmeasured(metric, missing_sentence("stale", evidence.intake.language))
    if measured.quality is None:
        return unmeasured(metric, missing_sentence("too_few", evidence.intake.language), n=len(evidence.test))
    return measured.quality.as_json(metric)


def method_entry(
    evidence: Evidence, method: MethodName, measured: Mapping[MethodName, Measured], base: Measured | None
) -> Entry:
    trials = evidence.finals(method)
    done = evidence.done(trials)
    why = why_not(evidence, method)
    first = evidence.result(trials[0].id)
    retention = retention_of(evidence, method)
    entry: Entry = {
        "name": method,
        "plan": done[0]["plan"]["describe"] if done else "",
        "quality": quality_json(evidence, measured.get(method), why),
        "against_full": _against_full(evidence, method, measured, base),
        "trainable_share": done[0]["trainable_share"] if done else None,
        "trainable_parameters": done[0]["trainable_parameters"] if done else None,
        "adapter_bytes": done[0]["adapter_bytes"] if done else None,
        "peak_memory_bytes": max((one["memory"]["train_bytes"] for one in done), default=None),
        "memory": first and first["memory"],
        "train_seconds": mean(one["training"]["seconds"] for one in done) if done else None,
        "tokens_per_second": mean(one["training"]["tokens_per_second"] for one in done) if done else None,
        "latency": first and first["latency"],
        "change": first and first["change"],
        "retention": _retention_json(evidence, method, retention),
        "cost": _cost(evidence, done),
        "seeds": [one["seed"] for one in done] or [trial.seed for trial in trials],
        "trials": [trial.id for trial in trials],
        "dev_loss": mean(one["dev_loss"] for one in done) if done else None,
        "facts": _facts(evidence, done),
        "by_seed": [_by_seed(evidence, one) for one in done if is_current(evidence, one)],
        "recipe": _recipe(evidence, method, done),
    }
    entry["reasons"] = _reasons(evidence, entry, why)
    return entry


def why_not(evidence: Evidence, method: MethodName) -> str:
    """The code of why a method has no result, as in the words for what is missing."""
    statuses = [found["status"] for trial in evidence.finals(method) if (found := evidence.results[trial.id])]
    for status, code in (("does_not_fit", "does_not_fit"), ("failed", "trial_failed"), ("skipped", "out_of_time")):
        if status in statuses:
            return code
    return "not_measured"


def per_item(evidence: Evidence, answers: Sequence[str]) -> list[float]:
    return scores_of(evidence.criteria.metric, answers, evidence.references)


def is_current(evidence: Evidence, found: Result) -> bool:
    """Whether a trial answered the test set that lies in the study now."""
    return bool(found["test_digest"] == evidence.test_digest)


def answers_of(found: Result) -> list[str]:
    return [one["predicted"] for one in found["predictions"]]


def estimate(evidence: Evidence, answers: Sequence[Sequence[str]]) -> Estimate | None:
    criteria = evidence.criteria
    return quality(
        criteria.metric, answers, evidence.references, confidence=criteria.confidence, groups=evidence.groups
    )


def scores_by_seed(evidence: Evidence, done: Sequence[Result]) -> list[list[float]]:
    """For comparisons; trials that ended, one per seed."""
    return _comparable(evidence, [answers_of(one) for one in done])


def _comparable(evidence: Evidence, answers: Sequence[Sequence[str]]) -> list[list[float]]:
    return [comparable_scores(evidence.criteria.metric, one, evidence.references) for one in answers]


def measured_answers(evidence: Evidence, answers: Sequence[Sequence[str]], digest: str) -> Measured:
    """`answers`: of each seed to the test rows of `evidence`; `digest`: of the rows that were really answered."""
    return Measured(scores=_comparable(evidence, answers), quality=estimate(evidence, answers), test_digest=digest)


def _against_full(
    evidence: Evidence, method: MethodName, measured: Mapping[MethodName, Measured], base: Measured | None
) -> dict[str, Any] | None:
    """The same comparison, by the same per-item scores and margin, that the verdict makes for its candidate."""
    ours, full = measured.get(method), measured.get("full")
    if method == "full" or ours is None or full is None:
        return None
    if {ours.test_digest, full.test_digest} != {evidence.test_digest}:
        return None
    criteria = evidence.criteria
    level = _mean(full)
    margin = margin_for(
        level,
        level if base is None else _mean(base),
        points=criteria.margin_points,
        gain_share=criteria.margin_gain_share,
    )
    found = non_inferiority(ours.scores, full.scores, margin, confidence=criteria.confidence, groups=evidence.groups)
    if found is None:
        return None
    difference = found.difference.as_json(criteria.metric)
    return {"difference": difference, "non_inferior": found.holds, "margin": margin, "p": found.p}


def _mean(measured: Measured) -> float:
    return sum(map(sum, measured.scores)) / sum(map(len, measured.scores))


def _retention_json(evidence: Evidence, method: MethodName, found: Retention) -> dict[str, Any] | None:
    before = _general_before(evidence, method)
    if before is None or found.loss_before is None or found.loss_after is None:
        return None
    after = [one["general"] for one in evidence.done(evidence.finals(method)) if "general" in one]
    by_language = {
        language: {"loss_before": loss, "loss_after": mean(one[language] for one in after)}
        for language, loss in before.items()
    }
    return {"loss_before": found.loss_before, "loss_after": found.loss_after, "by_language": by_language}


def _cost(evidence: Evidence, done: Sequence[Result]) -> dict[str, Any] | None:
    """Of one training, and of a thousand answers at the pace of the test set; None without the user's prices."""
    prices = prices_of(evidence)
    if prices is None or not done:
        return None
    machine, case = machine_of(done[0]), prices.case
    seconds = mean(one["training"]["seconds"] for one in done)
    training = cost_of(seconds, rate_for(prices, machine, case.training_paid))
    per_answer = done[0]["answer_seconds"] / len(evidence.test)
    answers = cost_of(
        1000 * per_answer, rate_for(prices, machine, case.serving_paid, kept_on=case.serving == "kept_on")
    )
    if training is None and answers is None:
        return None
    about = {"currency": prices.currency, "source": prices.source, "date": prices.date}
    return {"train": training, "per_1000_answers": answers, **about}


def prices_of(evidence: Evidence) -> Prices | None:
    """The user's table; None where the study was started without one."""
    table = evidence.lock["prices"]
    return None if table is None else parse(Prices, table, source="prices of the study")


def machine_of(found: Result) -> Machine:
    return "cpu" if found["machine"]["accelerator"] is None else "gpu"


def _facts(evidence: Evidence, done: Sequence[Result]) -> dict[str, int] | None:
    """Of the first seed: a count over several seeds would be of answers that nobody will see together.

    A label is a name: the 8 in flake8 is no quantity, and a wrong label is a wrong answer already.
    """
    return dict(done[0]["facts"]) if done and not evidence.check["closed_labels"] else None


def _by_seed(evidence: Evidence, found: Result) -> dict[str, Any]:
    value = estimate(evidence, [answers_of(found)])
    metric = evidence.criteria.metric
    too_few = missing_sentence("too_few", evidence.intake.language)
    return {
        "seed": found["seed"],
        "trial": found["id"],
        "quality": unmeasured(metric, too_few) if value is None else value.as_json(metric),
        "dev_loss": found["dev_loss"],
        "train_seconds": found["training"]["seconds"],
        "best_step": found["training"]["best_step"],
        "loss_after": _general_after(found),
    }


def _recipe(evidence: Evidence, method: MethodName, done: Sequence[Result]) -> dict[str, Any] | None:
    if not done:
        return None
    search = evidence.result(f"search-{method}")
    tries = (
        []
        if search is None
        else [{"learning_rate": one["learning_rate"], "dev_loss": one["dev_loss"]} for one in search["tries"]]
    )
    recipe = {name: value for name, value in done[0]["spec"]["recipe"].items() if name != "seed"}
    return {**recipe, "tries": max(1, len(tries)), "search": tries}


def _reasons(evidence: Evidence, entry: Entry, why: str) -> dict[str, str]:
    """A sentence for every null of the contract."""
    codes = dict.fromkeys(
        (
            "trainable_share", "adapter_bytes", "peak_memory_bytes", "train_seconds", "tokens_per_second", "latency",
            "change", "retention",
        ),
        why,
    )  # fmt: skip
    codes["cost"] = why if entry["train_seconds"] is None else "no_price"
    codes["against_full"] = why if entry["quality"]["estimate"] is None else "no_full"
    missing = {name: code for name, code in codes.items() if entry[name] is None}
    if entry["name"] == "full":
        missing.pop("against_full", None)
    if entry["latency"] is not None and not any(row["weights"] == "merged" for row in entry["latency"]):
        missing["merged"] = "cannot_merge"
    return {name: missing_sentence(code, evidence.intake.language) for name, code in missing.items()}
