"""From a study folder to its scorecard, as JSON and as a page: the same folder gives the same bytes, always.

Called at the end of a study and by `tsugiki scorecard`. A pure function of the folder. What is missing is said; the
verdict is `verdict.decide`'s and nobody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tsugiki.config import MethodName
from tsugiki.data.sensitive import masked
from tsugiki.errors import StudyError
from tsugiki.files import write_bytes, write_text
from tsugiki.measure.curve import FACTORS, Point, fit_curve
from tsugiki.report.curve_words import advice_sentence
from tsugiki.report.html import render_html
from tsugiki.report.scorecard import check_scorecard, scorecard_bytes
from tsugiki.report.words import name_of, reason_sentence, rule_sentence, say
from tsugiki.work.choose import LOSS_TOLERANCE, chosen_rank, sufficient_rank
from tsugiki.work.design import Cut, curve_method
from tsugiki.work.evidence import Evidence, read_evidence
from tsugiki.work.measured import Measured
from tsugiki.work.money import money_of
from tsugiki.work.shift import shift_entry, shift_numbers
from tsugiki.work.slices import slices_entry
from tsugiki.work.summary import (
    answers_of,
    estimate,
    is_current,
    measured_methods,
    measured_references,
    method_entry,
    per_item,
    quality_json,
    retention_of,
    scores_by_seed,
)
from tsugiki.work.verdict import StudyNumbers, Verdict, decide

Card = dict[str, Any]

CURVE_POINTS = 24  # of the drawn line
EXAMPLES = 6
MERGE_ERROR = 0.1  # of the trained updates, above which merged weights are another model


def write_scorecard(folder: Path) -> Card:
    """Write scorecard.json and scorecard.html into the folder, and return what stands in the JSON."""
    card = scorecard_of(read_evidence(folder))
    write_card(card, folder)
    return card


def write_card(card: Card, folder: Path) -> None:
    faults = check_scorecard(card)
    assert not faults, faults
    write_bytes(folder / "scorecard.json", scorecard_bytes(card))
    write_text(folder / "scorecard.html", render_html(card))


def scorecard_of(evidence: Evidence) -> Card:
    language = evidence.intake.language
    methods, references = measured_methods(evidence), measured_references(evidence)
    numbers = _numbers(evidence, methods, references)
    verdict = decide(numbers, evidence.criteria)
    return {
        "schema": 1,
        "language": language,
        "verdict": _verdict(evidence, verdict),
        "task": {
            "kind": "labels" if evidence.check["closed_labels"] else "text",
            "metric": evidence.criteria.metric,
            **evidence.check["parts"],
        },
        "reference": [
            {"name": name, "quality": quality_json(evidence, found, "trial_failed")}
            for name, found in references.items()
        ],
        "methods": [method_entry(evidence, method, methods, references["base"]) for method in evidence.methods],
        "learning_curve": _curve(evidence, methods),
        "machine": _machine(evidence),
        "data": {name: evidence.check[name] for name in ("rows", "used", "excluded", "digest")},
        **_extensions(evidence, verdict),
        "slices": slices_entry(evidence, verdict.candidate),
        "shift": None if numbers.shift is None else shift_entry(evidence, numbers.shift, methods, references),
    }


def _numbers(
    evidence: Evidence, methods: Mapping[MethodName, Measured], references: Mapping[str, Measured | None]
) -> StudyNumbers:
    return StudyNumbers(
        methods=methods,
        references=references,
        retention={method: retention_of(evidence, method) for method in methods},
        candidate_order=_by_dev_loss(evidence, [method for method in evidence.methods if method != "full"]),
        failed=tuple(method for method in evidence.methods if method not in methods),
        lost_seeds={method: evidence.lost(method) for method in methods},
        examples=sum(evidence.check["parts"][part] for part in ("train", "dev", "test")),
        test_items=len(evidence.test),
        test_digest=evidence.test_digest,
        groups=evidence.groups,
        shift=shift_numbers(evidence),
    )


def _by_dev_loss(evidence: Evidence, methods: Sequence[MethodName]) -> tuple[MethodName, ...]:
    """Best on dev first; methods without a result last.

    The hybrid trains whole blocks, so it comes first only where the others are measurably short of it.
    """

    def loss(method: MethodName) -> float:
        losses = [one["dev_loss"] for one in evidence.done(evidence.finals(method))]
        handicap = LOSS_TOLERANCE if method == "hybrid" else 0.0
        return float(np.mean(losses)) + handicap if losses else float("inf")

    return tuple(sorted(methods, key=loss))


def _verdict(evidence: Evidence, verdict: Verdict) -> Card:
    language = evidence.intake.language
    return {
        "value": verdict.value,
        "rule": rule_sentence(verdict.rule, evidence.criteria.model_dump(mode="json"), language),
        "reasons": [reason_sentence(code, values, language) for code, values in verdict.reasons],
        "needed_examples": verdict.needed_examples,
        "method": verdict.candidate,
        "code": verdict.rule,
        "codes": [{"code": code, "values": dict(values)} for code, values in verdict.reasons],
    }


def _curve(evidence: Evidence, methods: Mapping[MethodName, Measured]) -> Card | None:
    """Null where no size below the full one was trained to its end."""
    method = curve_method(evidence.methods)
    trials = [trial for trial in evidence.schedule.trials if trial.rows is not None]
    points = []
    for size in sorted({trial.rows for trial in trials if trial.rows is not None}):
        done = [
            one for one in evidence.done([trial for trial in trials if trial.rows == size]) if is_current(evidence, one)
        ]
        found = estimate(evidence, [answers_of(one) for one in done]) if done else None
        if found is not None:
            points.append(Point(size, found, scores_by_seed(evidence, done)))
    whole = methods.get(method)
    if not points or whole is None or whole.quality is None or whole.test_digest != evidence.test_digest:
        return None
    points.append(Point(len(evidence.train), whole.quality, whole.scores))
    criteria = evidence.criteria
    curve = fit_curve(method, points, confidence=criteria.confidence, groups=evidence.groups)
    card = curve.as_json(criteria.metric, criteria.success, confidence=criteria.confidence)
    if curve.drawn is not None:
        sizes = np.geomspace(points[0].n, FACTORS[-1] * points[-1].n, CURVE_POINTS).round().astype(int)
        drawn = [(int(n), *curve.quality_at(int(n), confidence=criteria.confidence)) for n in dict.fromkeys(sizes)]
        card["fit"] |= {
            "formula": _formula(card["fit"]),
            "points": [{"n": n, "estimate": value, "low": low, "high": high} for n, value, low, high in drawn],
        }
        card["advice"] |= {"sentence": advice_sentence(card, evidence.intake.language)}
    return card


def _formula(fit: Card) -> str | None:
    if fit["scale"] is None:
        return None
    return f"{1 - fit['floor']:.3g} − {fit['scale']:.3g} · n^−{fit['exponent']:.3g}"


def _machine(evidence: Evidence) -> Card:
    """The machine of the trials; a study that was resumed on another one says so in its warnings."""
    return dict(_machines(evidence)[0])


def _machines(evidence: Evidence) -> list[Mapping[str, Any]]:
    found = {
        one["machine"]["fingerprint"]: one["machine"] for one in evidence.results.values() if one and "machine" in one
    }
    if not found:
        raise StudyError("No trial of this study has ended yet.", fix="Run the same `tsugiki poc` again first.")
    return list(found.values())


def _extensions(evidence: Evidence, verdict: Verdict) -> Card:
    machine = _machine(evidence)
    unfinished = [(name, one) for name, one in evidence.results.items() if one is not None and one["status"] != "done"]
    return {
        "study": _study(evidence),
        "data_check": {key: value for key, value in evidence.check.items() if key != "train_groups"},
        "examples": _examples(evidence, verdict),
        "failures": [{"trial": name, "status": one["status"], "reason": one["reason"]} for name, one in unfinished],
        "warnings": _warnings(evidence),
        "provenance": _provenance(evidence),
        "versions": machine.get("packages", {}),
        "money": money_of(evidence, verdict.candidate),
    }


def _study(evidence: Evidence) -> Card:
    lock, schedule = evidence.lock, evidence.schedule
    base = {name: lock["base"][name] for name in ("name", "digest", "parameters", "architecture")}
    finals = [trial for trial in schedule.trials if trial.kind == "train" and trial.rows is None]
    tries = max((trial.tries for trial in schedule.trials if trial.kind == "search"), default=1)
    return {
        **{name: lock["intake"][name] for name in ("purpose", "owner", "reviewer", "criteria")},
        "created": lock["created"],
        "digest": lock["digest"],
        "base": {
            **base,
            "precision": lock["base"]["dtype"],
            "quantize": lock["recipe"]["quantize"],
            "template": lock["template"],
        },
        "design": {
            "methods": list(evidence.methods),
            "seeds": sorted({trial.seed for trial in finals}),
            "sizes": [*schedule.curve_sizes, len(evidence.train)],
            "tries": tries,
            "steps": schedule.steps,
            "cut": [asdict(cut) for cut in _cuts(evidence)],
            "lessons": [dict(one) for one in schedule.prior.lessons],
            "rank": _rank(evidence),
        },
        "budget": {
            "minutes": schedule.allowed_minutes,
            "money": lock["design"]["budget_money"],
            "used_minutes": evidence.spent_seconds / 60,
        },
    }


def _cuts(evidence: Evidence) -> list[Cut]:
    """What the budget cut; seeds that ran after all, because time was left, are not cut for a method that has them."""
    schedule = evidence.schedule
    planned = {trial.id for trial in schedule.trials}
    ran = sum(trial.seconds for trial in schedule.spare if trial.id in planned) / 60
    seeds = min((len(evidence.finals(method)) for method in evidence.methods), default=0)
    cuts = [
        replace(cut, after=seeds, minutes=cut.minutes - ran) if cut.what == "seeds" else cut for cut in schedule.cuts
    ]
    return [cut for cut in cuts if cut.after != cut.before]


def _rank(evidence: Evidence) -> Card | None:
    """What the search for a rank has shown; None where the rank was set or expected."""
    searches = (evidence.result(trial.id) for trial in evidence.schedule.trials if trial.kind == "search")
    losses = next((one["rank_losses"] for one in searches if one is not None and one.get("rank_losses")), None)
    if losses is None:
        return None
    return {
        "used": chosen_rank({"status": "done", "rank_losses": losses}, evidence.schedule.prior.rank),
        "enough": sufficient_rank(losses),
        "largest": max(one["rank"] for one in losses),
        "losses": losses,
    }


def _warnings(evidence: Evidence) -> list[str]:
    """What was measured but should not be read as it stands: other machines, merged weights that are off."""
    language, machines = evidence.intake.language, _machines(evidence)
    found = [say("warning.several_machines", language, count=len(machines))] if len(machines) > 1 else []
    for method in evidence.methods:
        errors = [one["merge_error"] or 0.0 for one in evidence.done(evidence.finals(method)) if "merge_error" in one]
        if max(errors, default=0.0) > MERGE_ERROR:
            found.append(
                say("warning.merge_error", language, method=name_of("method", method, language), share=max(errors))
            )
    return found


def _provenance(evidence: Evidence) -> dict[str, list[str]]:
    found = {"reference": ["reference"]}
    found |= {f"methods.{method}": [trial.id for trial in evidence.finals(method)] for method in evidence.methods}
    curve = [trial.id for trial in evidence.schedule.trials if trial.rows is not None]
    return found | ({"learning_curve": curve} if curve else {})


def _examples(evidence: Evidence, verdict: Verdict) -> list[Card]:
    """A few test rows with the answers of the base and of the method in question, of every kind there is.

    Personal data and secrets that are noticed in them are masked: a scorecard travels further than its data.
    """
    trial = evidence.result("reference")
    done = evidence.done(evidence.finals(verdict.candidate)) if verdict.candidate else []
    if trial is None or not done or verdict.candidate is None:
        return []
    answers = {"base": answers_of(trial["references"]["base"]), verdict.candidate: answers_of(done[0])}
    scores = {name: per_item(evidence, texts) for name, texts in answers.items()}
    return [
        {
            "row": evidence.test[place].row,
            "prompt": masked(evidence.test[place].prompt),
            "reference": masked(evidence.test[place].completion),
            "answers": {name: masked(texts[place]) for name, texts in answers.items()},
            "scores": {name: values[place] for name, values in scores.items()},
        }
        for place in _telling(scores["base"], scores[verdict.candidate])
    ]


def _telling(base: Sequence[float], ours: Sequence[float]) -> list[int]:
    """Places in turn of: better than the base, still wrong, worse than the base, equally good; in file order."""
    kinds: list[list[int]] = [[], [], [], []]
    for place, (before, after) in enumerate(zip(base, ours, strict=True)):
        kinds[0 if after > before else 2 if after < before else 3 if after == 1 else 1].append(place)
    longest = max(map(len, kinds), default=0)
    in_turn = [kind[turn] for turn in range(longest) for kind in kinds if turn < len(kind)]
    return sorted(in_turn[:EXAMPLES])
