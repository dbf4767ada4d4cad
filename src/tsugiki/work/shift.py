"""What methods and base did on the shifted rows: for the verdict, and as an entry of the scorecard.

Called by `assemble`. Every final trial and the reference answered these rows once; a seed whose answers are missing
takes its method out, since a mean over other seeds than on the test rows would be another model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tsugiki.config import MethodName
from tsugiki.measure.stats import Estimate, unmeasured
from tsugiki.report.words import missing_sentence
from tsugiki.work.evidence import Evidence, Result
from tsugiki.work.measured import Measured
from tsugiki.work.shift_finding import Pair, ShiftNumbers, Terms, change, changes_more
from tsugiki.work.summary import answers_of, measured_answers


def shift_numbers(evidence: Evidence) -> ShiftNumbers | None:
    """None for a study without shifted rows."""
    there = evidence.shift
    if there is None:
        return None
    found = {method: _measured(there, evidence.done(evidence.finals(method))) for method in evidence.methods}
    reference = evidence.result("reference")
    return ShiftNumbers(
        methods={method: measured for method, measured in found.items() if measured is not None},
        base=None if reference is None else _measured(there, [reference]),
        items=len(there.test),
        digest=there.test_digest,
        groups=there.groups,
    )


def shift_entry(
    evidence: Evidence,
    numbers: ShiftNumbers,
    methods: Mapping[MethodName, Measured],
    references: Mapping[str, Measured | None],
) -> dict[str, Any]:
    """Quality on both sets of rows and the change, of each method and of the base; against full, and against base.

    Qualities and differences are the contract's "quality"; `against_full` is how much more a method changes than full.
    """
    criteria = evidence.criteria
    terms = Terms(criteria.success, criteria.confidence, (evidence.groups, numbers.groups))

    def on_test(measured: Measured | None) -> Measured | None:
        return measured if measured is not None and measured.test_digest == evidence.test_digest else None

    base = Pair(on_test(references.get("base")), numbers.usable(numbers.base))
    pairs = {name: Pair(on_test(methods.get(name)), numbers.usable(numbers.methods.get(name))) for name in methods}
    full = pairs.get("full", Pair(None, None))

    def entry(name: str, side: Pair) -> dict[str, Any]:
        return {
            "name": name,
            "test": _json(evidence, side.test.quality if side.test else None, len(evidence.test)),
            "shifted": _json(evidence, side.shifted.quality if side.shifted else None, numbers.items),
            "change": _json(evidence, change(side)),
        }

    return {
        "rows": numbers.items,
        "groups": len(set(numbers.groups or ())),
        "column": evidence.lock["data"].get("split_column"),
        "methods": [
            {
                **entry(name, side),
                "against_full": None if name == "full" else _json(evidence, changes_more(side, full, terms)),
                "against_base": _json(evidence, changes_more(side, base, terms)),
            }
            for name, side in pairs.items()
        ],
        "reference": [entry("base", base)],
    }


def _measured(there: Evidence, trials: Sequence[Result]) -> Measured | None:
    """None unless every one of these trials answered the shifted rows of this study."""
    given = [trial.get("shifted") or {} for trial in trials]
    if not given or any(one.get("digest") != there.test_digest for one in given):
        return None
    return measured_answers(there, [answers_of(one) for one in given], there.test_digest)


def _json(evidence: Evidence, found: Estimate | None, n: int = 0) -> dict[str, Any]:
    metric = evidence.criteria.metric
    missing = missing_sentence("not_measured", evidence.intake.language)
    return unmeasured(metric, missing, n=n) if found is None else found.as_json(metric)
