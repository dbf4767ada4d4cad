"""The money section of a scorecard: the user's prices and business case applied to what the study measured.

Called by `assemble`. Times, rights and wrongs are the study's own measurements; prices, wages and case numbers are the
user's. Every amount that cannot be told is null, with a sentence under its dotted name in `reasons`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any

from tsugiki.config import MethodName
from tsugiki.measure.cost import HOURS_PER_MONTH, Machine, rate_for, rates
from tsugiki.measure.prices import BusinessCase, Prices
from tsugiki.measure.roi import Account, Line, Observed, account, break_even_cases, tornado
from tsugiki.measure.stats import Estimate, mean_with_interval, unmeasured
from tsugiki.report.inputs import input_name
from tsugiki.report.words import missing_sentence, say
from tsugiki.work.design import steps_for
from tsugiki.work.evidence import Evidence, Result
from tsugiki.work.summary import answers_of, machine_of, per_item, prices_of, why_not

Money = dict[str, Any]

STALE_MONTHS = 12  # prices that are older than this when the study was made are said to be old
ROUNDING = 1e-9  # of a score that is a sum of shares
REFERENCES = ("k-shot", "base")


@dataclass(frozen=True)
class _Training:
    """One training in production, from the seconds that a step took in the study."""

    rows: int
    steps: int | None
    seconds: float | None


def money_of(evidence: Evidence, candidate: MethodName | None) -> Money | None:
    """For the method that the verdict is about; None where the study has no price table."""
    prices = prices_of(evidence)
    if prices is None:
        return None
    method = candidate or ("lora" if "lora" in evidence.methods else evidence.methods[0])
    training, share = _training(evidence, method, prices.case), _share_of_method(evidence, method, prices.case)
    seen = _observed_method(evidence, method, training, share)
    missing, why = _Missing(evidence), why_not(evidence, method)
    money: Money = {
        **{name: getattr(prices, name) for name in ("currency", "date", "source")},
        "method": method,
        "machine": seen.machine,
        "confidence": evidence.criteria.confidence,
        "table": prices.model_dump(mode="json", exclude_none=True),
        "case": prices.case.model_dump(mode="json", exclude_none=True),
        "rates": [asdict(rate) for rate in rates(prices, seen.machine)],
        "paid": missing.known("paid", _paid(prices, seen.machine), "no_price"),
        "share_right": _share_json(evidence, method, share),
        **missing.known("", {"seconds_per_case": seen.seconds_per_case}, why),
        "study_seconds": seen.study_seconds,
        **_amounts(seen, prices, missing, missing.known("training", asdict(training), why)),
        "alternatives": list(_alternatives(evidence, prices, method)),
        "reasons": missing.reasons,
    }
    return money | {"notes": list(_notes(evidence, prices, money))}


def _amounts(seen: Observed, prices: Prices, missing: _Missing, training: Mapping[str, Any]) -> Money:
    found, ends = account(seen, prices), _Ends(seen, prices)
    return {
        "training": {**training, "cost": missing.amount("training.cost", found.change["training"])},
        "serving": {**missing.amounts("serving", found.serving), "counted": prices.case.serving},
        "change": missing.amounts("change", found.change),
        "month": {
            **{name: ends.of(f"month.{name}", _month_line(name), missing) for name in found.month},
            "net": ends.of("month.net", lambda one: one.net_month, missing),
        },
        "once": {**missing.amounts("once", found.once), "total": missing.amount("once.total", found.spent_once)},
        "break_even": {
            "months": ends.of("break_even.months", lambda one: one.months, missing),
            "cases_per_month": ends.of_cases("break_even.cases_per_month", missing),
        },
        "horizon": {
            "months": prices.case.horizon_months,
            "net": ends.of("horizon.net", lambda one: one.net_horizon, missing),
            "returned": ends.of("horizon.returned", lambda one: one.returned, missing),
        },
        "tornado": [asdict(bar) for bar in tornado(seen, prices)],
    }


class _Missing:
    """Collects the sentence for every amount that is null, by its dotted name."""

    def __init__(self, evidence: Evidence) -> None:
        self.language = evidence.intake.language
        self.reasons: dict[str, str] = {}

    def known(self, place: str, values: dict[str, Any], why: str) -> dict[str, Any]:
        """Measured values as they are; `why` is the code of what to say about those that are missing."""
        for name, value in values.items():
            if value is None:
                self.reasons[f"{place}.{name}".lstrip(".")] = missing_sentence(why, self.language)
        return values

    def amount(self, place: str, line: Line) -> float | None:
        if line.amount is None:
            self.reasons[place] = self.sentence(line)
        return line.amount

    def amounts(self, place: str, lines: Mapping[str, Line]) -> dict[str, float | None]:
        return {name: self.amount(f"{place}.{name}", line) for name, line in lines.items()}

    def sentence(self, line: Line) -> str:
        joint = "、" if self.language == "ja" else ", "
        names = joint.join(input_name(name, self.language) for name in line.lacks)
        return missing_sentence(f"money_{line.missing}", self.language, names=names)


class _Ends:
    """An amount at the share of right answers and at both ends of its interval, the lower amount first."""

    def __init__(self, seen: Observed, prices: Prices) -> None:
        self.seen, self.prices = seen, prices
        shares = (seen.share_right, seen.share_low, seen.share_high)
        self.at = [replace(seen, share_right=share) for share in shares]
        self.accounts = [account(one, prices) for one in self.at]

    def of(self, place: str, pick: Callable[[Account], Line], missing: _Missing) -> dict[str, float | None]:
        return self._triple(place, [pick(one) for one in self.accounts], missing)

    def of_cases(self, place: str, missing: _Missing) -> dict[str, float | None]:
        """Whole cases: the least number that does it."""
        found = [break_even_cases(one, self.prices) for one in self.at]
        whole = [one if one.amount is None else Line(math.ceil(one.amount - ROUNDING)) for one in found]
        return self._triple(place, whole, missing)

    def _triple(self, place: str, lines: Sequence[Line], missing: _Missing) -> dict[str, float | None]:
        """A point that is never reached lies above every other, so it is the upper end, and null."""
        value = missing.amount(place, lines[0])
        ends = sorted(lines[1:], key=lambda line: math.inf if line.amount is None else line.amount)
        for name, line in zip(("low", "high"), ends, strict=True):
            if line.amount is None and value is not None:
                missing.reasons[f"{place}.{name}"] = missing.sentence(line)
        return {"estimate": value, "low": ends[0].amount, "high": ends[1].amount}


def _month_line(name: str) -> Callable[[Account], Line]:
    return lambda one: one.month[name]


def _observed_method(evidence: Evidence, method: MethodName, training: _Training, share: Estimate | None) -> Observed:
    done = evidence.done(evidence.finals(method))
    seconds = done[0]["answer_seconds"] / len(evidence.test) if done else None
    change = done[0].get("change") if done else None
    return Observed(
        machine=_machine(evidence, done),
        **_ends_of(share),
        seconds_per_case=seconds,
        training_seconds=training.seconds,
        swap_seconds=None if change is None else change["swap_ms"] / 1000,
        study_seconds=evidence.spent_seconds,
    )


def _observed_reference(evidence: Evidence, name: str, case: BusinessCase) -> tuple[Observed, Estimate | None] | None:
    """The base as it is, or with a k-shot prompt: nothing is trained and nothing is swapped."""
    trial = evidence.result("reference")
    if trial is None or trial["test_digest"] != evidence.test_digest or name not in trial["references"]:
        return None
    share = _share(evidence, [answers_of(trial["references"][name])], case)
    seen = Observed(
        machine=machine_of(trial),
        **_ends_of(share),
        seconds_per_case=trial["seconds"][name] / len(evidence.test),
        training_seconds=0.0,
        swap_seconds=0.0,
        study_seconds=evidence.spent_seconds,
    )
    return seen, share


def _ends_of(share: Estimate | None) -> dict[str, float | None]:
    names = {"share_right": "value", "share_low": "low", "share_high": "high"}
    return {name: None if share is None else getattr(share, end) for name, end in names.items()}


def _machine(evidence: Evidence, done: Sequence[Result]) -> Machine:
    found = [*done, *(one for one in evidence.results.values() if one is not None and "machine" in one)]
    return machine_of(found[0])


def _share_of_method(evidence: Evidence, method: MethodName, case: BusinessCase) -> Estimate | None:
    """Over all seeds that ended on this study's test set; stale ones say nothing about it."""
    done = evidence.done(evidence.finals(method))
    return _share(evidence, [answers_of(one) for one in done if one["test_digest"] == evidence.test_digest], case)


def _share(evidence: Evidence, answers: Sequence[Sequence[str]], case: BusinessCase) -> Estimate | None:
    """The share of answers that count as right, whatever the metric: a score at or above the user's mark."""
    if not answers:
        return None
    least = case.right_score - ROUNDING
    rights = [[float(score >= least) for score in per_item(evidence, one)] for one in answers]
    return mean_with_interval(rights, confidence=evidence.criteria.confidence, groups=evidence.groups)


def _share_json(evidence: Evidence, method: MethodName, share: Estimate | None) -> dict[str, Any]:
    metric = evidence.criteria.metric
    if share is not None:
        return share.as_json(metric)
    done = evidence.done(evidence.finals(method))
    return unmeasured(
        metric, missing_sentence("too_few" if done else why_not(evidence, method), evidence.intake.language)
    )


def _training(evidence: Evidence, method: MethodName, case: BusinessCase) -> _Training:
    """As measured, or scaled to the rows and steps of production: a step takes as long as it took here.

    Steps for other rows follow the study's own rule (design.steps_for); the learning rate is not searched for again.
    """
    done, rows = evidence.done(evidence.finals(method)), case.training_rows or len(evidence.train)
    if not done:
        return _Training(rows, None, None)
    measured = [one["training"] for one in done]
    if case.training_steps is not None:
        steps = case.training_steps
    elif case.training_rows is not None:
        steps = steps_for(rows, evidence.lock["recipe"]["batch_size"])
    else:
        return _Training(rows, round(mean(one["steps"] for one in measured)), mean(one["seconds"] for one in measured))
    return _Training(rows, steps, steps * mean(one["seconds"] / one["steps"] for one in measured))


def _paid(prices: Prices, machine: Machine) -> dict[str, str | None]:
    case = prices.case
    training = rate_for(prices, machine, case.training_paid)
    serving = rate_for(prices, machine, case.serving_paid, kept_on=case.serving == "kept_on")
    return {name: None if rate is None else rate.way for name, rate in (("training", training), ("serving", serving))}


def _alternatives(evidence: Evidence, prices: Prices, subject: MethodName) -> Iterator[dict[str, Any]]:
    """The same business case with every other method, and with what needs no training at all."""
    for method in evidence.methods:
        if method != subject:
            share = _share_of_method(evidence, method, prices.case)
            seen = _observed_method(evidence, method, _training(evidence, method, prices.case), share)
            yield _alternative(evidence, method, seen, prices, _share_json(evidence, method, share))
    untrained = prices.model_copy(
        update={"business_case": prices.case.model_copy(update={"changes_per_year": None, "hours_per_change": None})}
    )
    for name in REFERENCES:
        found = _observed_reference(evidence, name, prices.case)
        if found is not None:
            seen, estimate = found
            metric = evidence.criteria.metric
            too_few = missing_sentence("too_few", evidence.intake.language)
            quality = unmeasured(metric, too_few) if estimate is None else estimate.as_json(metric)
            yield _alternative(evidence, name, seen, untrained, quality)


def _alternative(
    evidence: Evidence, name: str, seen: Observed, prices: Prices, share: Mapping[str, Any]
) -> dict[str, Any]:
    missing, ends = _Missing(evidence), _Ends(seen, prices)
    if seen.seconds_per_case is None:
        missing.reasons["seconds_per_case"] = share["reason"]
    return {
        "name": name,
        "share_right": share,
        "seconds_per_case": seen.seconds_per_case,
        "net_month": ends.of("net_month", lambda one: one.net_month, missing),
        "months": ends.of("months", lambda one: one.months, missing),
        "net_horizon": ends.of("net_horizon", lambda one: one.net_horizon, missing),
        "reasons": missing.reasons,
    }


def _notes(evidence: Evidence, prices: Prices, money: Money) -> Iterator[str]:
    """What should be known before the amounts are used."""
    language = evidence.intake.language
    age = _months_between(prices.date, evidence.lock["created"])
    if age > STALE_MONTHS:
        yield say("money.note_old", language, months=age)
    hours = money["serving"]["hours"]
    if prices.case.serving == "as_needed" and hours is not None and hours > HOURS_PER_MONTH:
        yield say("money.note_machines", language, seconds=hours * 3600, machines=math.ceil(hours / HOURS_PER_MONTH))
    if money["seconds_per_case"] is not None:
        yield say("money.note_batches", language)


def _months_between(price: str, created: str) -> int:
    """Whole calendar months from the date of the prices to that of the study."""
    (year, month), (later, of) = ((int(text[:4]), int(text[5:7])) for text in (price, created))
    return 12 * (later - year) + of - month
