"""What could go wrong and what to do next, read off the numbers of a scorecard.

Called by `html` and `text`. Every sentence carries the numbers it stands on; a number that was not measured makes no
claim. The thresholds below decide only what is worth a sentence, never the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tsugiki.report.figures import interval
from tsugiki.report.scorecard import Card, criteria, margin_points, subject
from tsugiki.report.slices import weakest, weakest_misses_success
from tsugiki.report.words import name_of, say

FEW_TEST_ROWS = 100  # below this a 95 % interval for a proportion is up to 20 points wide
FEW_SEEDS = 3
WIDE_SPREAD = 0.05
SLOWER_UNMERGED = 1.15
MANY_EXCLUDED = 0.05


Level = Literal["high", "watch"]


@dataclass(frozen=True)
class Risk:
    level: Level
    text: str


def risks(card: Card) -> list[Risk]:
    """What the numbers warn of, the grave ones first."""
    found = [*_of_ability(card), *_of_facts(card), *_of_quality(card), *_of_comparison(card)]
    found += [*_of_slices(card), *_of_repetition(card), *_of_speed(card), *_of_data(card)]
    return sorted(found, key=lambda risk: risk.level != "high")


def next_steps(card: Card) -> list[str]:
    """Two to five things to do, by verdict."""
    steps = {"adopt": _if_adopt, "conditional": _if_conditional, "stop": _if_stop, "undecidable": _if_undecidable}
    return [say(f"next.{key}", card["language"], **values) for key, values in steps[card["verdict"]["value"]](card)]


def latency_of(method: Mapping[str, Any], weights: str, *, batch: int = 1) -> Mapping[str, Any] | None:
    """The measured latency for one way of deploying, where there is one."""
    rows = method["latency"] or ()
    return next((row for row in rows if row["weights"] == weights and row["batch"] == batch), None)


def _of_ability(card: Card) -> Iterator[Risk]:
    method, limit = subject(card), criteria(card).get("retention_loss")
    if (rise := _rise(method)) is None or rise <= 0:
        return
    kept = method["retention"]
    values = {"before": kept["loss_before"], "after": kept["loss_after"], "rise": rise, "limit": limit}
    if limit is not None and rise > limit:
        yield _risk(card, "high", "retention_over", **values)
    else:
        yield _risk(card, "watch", "retention_rose", **values)


def _of_facts(card: Card) -> Iterator[Risk]:
    facts = subject(card).get("facts")
    if facts and _wrong_facts(facts):
        names = {"numbers": "numbers_wrong", "units": "units_wrong", "negation": "negation_wrong"}
        level: Level = "high" if _wrong_facts(facts) > 0.05 * facts["n"] else "watch"
        yield _risk(card, level, "facts_wrong", n=facts["n"], **{key: facts[name] for key, name in names.items()})


def _of_quality(card: Card) -> Iterator[Risk]:
    quality, metric = subject(card)["quality"], _metric(card)
    low, high = quality["low"], quality["high"]
    if low is None or high is None:
        return
    if card["task"]["test"] < FEW_TEST_ROWS:
        width = round((high - low) * 100)
        yield _risk(card, "high", "few_test", test=card["task"]["test"], metric=metric, width=width)
    references = {entry["name"]: entry["quality"]["estimate"] for entry in card["reference"]}
    kshot, majority = references.get("k-shot"), references.get("majority")
    if "beats_reference" in _codes(card):  # shown item by item, which is surer than two intervals side by side
        return
    if kshot is not None and kshot >= low:
        yield _risk(card, "high", "kshot_close", kshot=kshot, low=low)
    if majority is not None and majority >= low:
        yield _risk(card, "high", "majority_close", majority=majority, low=low)


def _of_comparison(card: Card) -> Iterator[Risk]:
    method = subject(card)
    if method["name"] == "full":
        return
    against = method["against_full"]
    if against is None:
        if method["quality"]["estimate"] is not None:  # else the method itself is what is missing
            yield _risk(card, "watch", "no_full")
    elif against["non_inferior"] is not True:
        difference = against["difference"]
        ends = interval(difference["low"], difference["high"], "points", card["language"])
        margin = margin_points(card, method)
        key = "not_shown" if against["non_inferior"] is None else "beyond_margin"
        yield _risk(card, "watch", key, margin=margin, difference=difference["estimate"], interval=ends)


def _of_slices(card: Card) -> Iterator[Risk]:
    if values := weakest(card):
        level: Level = "high" if weakest_misses_success(card) else "watch"
        yield _risk(card, level, "weak_slice", **values)


def _of_repetition(card: Card) -> Iterator[Risk]:
    method = subject(card)
    if len(method["seeds"]) < FEW_SEEDS:
        yield _risk(card, "watch", "one_seed", seeds=len(method["seeds"]))
    values = [seed["quality"]["estimate"] for seed in method.get("by_seed", ())]
    values = [value for value in values if value is not None]
    if values and max(values) - min(values) > WIDE_SPREAD:
        yield _risk(card, "watch", "seed_spread", metric=_metric(card), low=min(values), high=max(values))
    if card.get("failures"):
        yield _risk(card, "watch", "failed_trials", count=len(card["failures"]))


def _of_speed(card: Card) -> Iterator[Risk]:
    method = subject(card)
    unmerged, merged = _per_token(method, "unmerged"), _per_token(method, "merged")
    if unmerged is None:
        return
    if merged is not None and unmerged > SLOWER_UNMERGED * merged:
        ratio = unmerged / merged
        yield _risk(card, "watch", "slower_unmerged", merged=merged, unmerged=unmerged, ratio=ratio)
    others = [_per_token(other, "merged") for other in card["methods"]]
    fastest = min((value for value in others if value is not None), default=None)
    if merged is None and fastest is not None and unmerged > SLOWER_UNMERGED * fastest:
        yield _risk(card, "watch", "unmergeable", unmerged=unmerged, merged=fastest)


def _of_data(card: Card) -> Iterator[Risk]:
    check = card.get("data_check", {})
    if sensitive := check.get("sensitive"):
        kinds = dict.fromkeys(name_of("sensitive", found["kind"], card["language"]) for found in sensitive)
        count = len({found["row"] for found in sensitive})
        yield _risk(card, "high", "personal_data", count=count, kinds=", ".join(kinds))
    concerns = {concern["kind"]: len(concern["rows"]) for concern in check.get("concerns", ())}
    if concerns.get("crossing"):
        yield _risk(card, "high", "crossing", count=concerns["crossing"], test=card["task"]["test"])
    for kind, key in (
        ("contradiction", "contradictions"),
        ("near-duplicate", "near_duplicates"),
        ("shift-crossing", "shift_crossing"),
        ("new-label", "new_label"),
    ):
        if concerns.get(kind):
            yield _risk(card, "watch", key, count=concerns[kind])
    rows, excluded = card["data"]["rows"], len(card["data"]["excluded"])
    if excluded > MANY_EXCLUDED * rows:
        yield _risk(card, "watch", "excluded", rows=rows, excluded=excluded, share=excluded / rows)
    least = (card["learning_curve"] or {}).get("least_data")
    if least and least["n"] is not None and least["n"] > card["task"]["train"]:
        yield _risk(card, "watch", "extrapolated", n=least["n"], train=card["task"]["train"])


Step = tuple[str, dict[str, Any]]


def _if_adopt(card: Card) -> Iterator[Step]:
    quality = subject(card)["quality"]["estimate"]
    if reviewer := card.get("study", {}).get("reviewer"):
        yield "review", {"reviewer": reviewer}
    if quality is not None and card["task"]["metric"] == "exact_match":
        yield "pilot", {"wrong": (1 - quality) * 100}
    elif quality is not None:
        yield "pilot_scored", {"metric": _metric(card), "quality": quality}
    yield from _fact_steps(card)
    if (merged := _per_token(subject(card), "merged")) is not None:
        yield "merge", {"merged": merged}
    if (success := criteria(card).get("success")) is not None:
        yield "watch", {"metric": _metric(card), "success": success}


def _if_conditional(card: Card) -> Iterator[Step]:
    """What keeps the verdict from "adopt", each with the way to settle it, then how to live with it until then."""
    method, limit = subject(card), criteria(card).get("retention_loss")
    success, low = criteria(card).get("success"), method["quality"]["low"]
    if success is not None and low is not None and low < success:
        yield "raise_quality", {"success": success}
    if method["name"] != "full" and (method["against_full"] or {}).get("non_inferior") is not True:
        yield "tighten_full", {"margin": margin_points(card, method), "test": card["task"]["test"]}
    if (rise := _rise(method)) is None:
        yield "measure_ability", {}
    elif limit is not None and rise > limit:
        yield "only_task", {}
    if len(method["seeds"]) < FEW_SEEDS:
        yield "more_seeds", {"required": FEW_SEEDS, "seeds": len(method["seeds"])}
    yield from _shift_steps(card)
    yield from _fact_steps(card)
    yield "check_all", {}


def _shift_steps(card: Card) -> Iterator[Step]:
    codes = _codes(card)
    if "shift_not_covered" in codes:
        yield ("shift_full" if "shift_more_than_full" in codes else "shift_data"), {}
    elif "shift_undecided" in codes:
        yield "shift_more", {"rows": card["task"]["shift"]}
    elif "shift_unmeasured" in codes:
        yield "shift_measure", {}


def _if_stop(card: Card) -> Iterator[Step]:
    yield "no_rollout", {}
    yield "look_at_errors", {}
    kshot = next((entry["quality"]["estimate"] for entry in card["reference"] if entry["name"] == "k-shot"), None)
    yield "larger_base", {"kshot": kshot}
    least = (card["learning_curve"] or {}).get("least_data")
    if least and least["n"] is not None and least["n"] > card["task"]["train"]:
        yield "more_data_stop", {"n": least["n"]}


def _if_undecidable(card: Card) -> Iterator[Step]:
    needed = card["verdict"]["needed_examples"]
    if needed is not None:
        yield "collect", {"needed": needed, "used": card["data"]["used"]}
    elif card["verdict"].get("code") == "nothing_to_judge":
        yield "finish_trials", {}
    elif "no_number_decides" in _codes(card):
        yield "measure_missing", {}
    else:
        yield "another_lever", {}
    if "few_seeds" in _codes(card):
        yield "more_seeds", {"required": FEW_SEEDS, "seeds": len(subject(card)["seeds"])}
    yield "keep_criteria", {}
    yield "status_quo", {}


def _codes(card: Card) -> set[str]:
    """Of the reasons of the verdict."""
    return {reason["code"] for reason in card["verdict"].get("codes", ())}


def _fact_steps(card: Card) -> Iterator[Step]:
    facts = subject(card).get("facts")
    if facts and _wrong_facts(facts):
        yield "check_facts", {"wrong": _wrong_facts(facts)}


def _risk(card: Card, level: Level, key: str, **values: Any) -> Risk:
    return Risk(level, say(f"risk.{key}", card["language"], **values))


def _rise(method: Mapping[str, Any]) -> float | None:
    """Of the loss on general text."""
    kept = method["retention"]
    if not kept or kept["loss_before"] is None or kept["loss_after"] is None:
        return None
    return kept["loss_after"] - kept["loss_before"]


def _wrong_facts(facts: Mapping[str, int]) -> int:
    """At most this many answers are affected: one answer may hold several kinds of error."""
    return facts["numbers_wrong"] + facts["units_wrong"] + facts["negation_wrong"]


def _per_token(method: Mapping[str, Any], weights: str) -> float | None:
    row = latency_of(method, weights)
    return row["per_token_ms"] if row else None


def _metric(card: Card) -> str:
    return name_of("metric", card["task"]["metric"], card["language"])
