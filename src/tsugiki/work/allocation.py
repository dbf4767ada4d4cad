"""The rule book of the portfolio: which findings about a study recommend to expand it, hold it, or stop it.

Called by work/portfolio.py, which makes the findings from a scorecard; no number is looked at here. There are four:

    verdict    adopt · conditional · stop · undecidable     as the scorecard has it
    gain       sure      the whole interval of ours minus the best reference is above 0
               lost      the whole interval is below 0
               unclear   neither
               unmeasured
    money      earns     the whole interval of the net gain per month is above 0
               loses     even its upper end is not above 0
               open      neither
               none      nobody has worked it out
    evidence   whole     nothing is missing that an expansion would rest on
               lacking   something is: a number, a criterion, a reference, seeds
               contradicted  the same study stands elsewhere with another result

and the recommendation is the first line of this table that fits (TABLE below is the same as data; a test reads both and
walks all 192 combinations):

    verdict      gain                money       evidence      recommendation  rule
    any          any                 any         contradicted  hold            copies_disagree
    stop         any                 any         any           stop            verdict_stop
    any          lost                any         any           stop            worse_than_reference
    any          any                 loses       any           stop            loses_money
    undecidable  any                 any         any           hold            undecidable
    any          any                 any         lacking       hold            evidence_lacking
    any          unclear unmeasured  any         any           hold            gain_unsure
    any          any                 open        any           hold            money_open
    conditional  any                 any         any           hold            conditions_open
    adopt        sure                earns none  whole         expand          all_shown

Only the last line recommends money, and only where everything in it was measured.
"""

from __future__ import annotations

from typing import Literal

from tsugiki.work.ruling import Value

Recommendation = Literal["expand", "hold", "stop"]
GainFinding = Literal["sure", "unclear", "lost", "unmeasured"]
MoneyFinding = Literal["earns", "open", "loses", "none"]
EvidenceFinding = Literal["whole", "lacking", "contradicted"]

RECOMMENDATIONS: tuple[Recommendation, ...] = ("expand", "hold", "stop")  # in the order of the ranking

TABLE: tuple[tuple[str, str, str, str, Recommendation, str], ...] = (
    ("any", "any", "any", "contradicted", "hold", "copies_disagree"),
    ("stop", "any", "any", "any", "stop", "verdict_stop"),
    ("any", "lost", "any", "any", "stop", "worse_than_reference"),
    ("any", "any", "loses", "any", "stop", "loses_money"),
    ("undecidable", "any", "any", "any", "hold", "undecidable"),
    ("any", "any", "any", "lacking", "hold", "evidence_lacking"),
    ("any", "unclear unmeasured", "any", "any", "hold", "gain_unsure"),
    ("any", "any", "open", "any", "hold", "money_open"),
    ("conditional", "any", "any", "any", "hold", "conditions_open"),
    ("adopt", "sure", "earns none", "whole", "expand", "all_shown"),
)


def allocate(
    verdict: Value, gain: GainFinding, money: MoneyFinding, evidence: EvidenceFinding
) -> tuple[Recommendation, str]:
    """The first line of the table that fits."""
    findings = (verdict, gain, money, evidence)
    for *allowed, recommendation, rule in TABLE:
        if all(words == "any" or finding in words.split() for words, finding in zip(allowed, findings, strict=True)):
            return recommendation, rule
    raise AssertionError(f"the table leaves out {findings}")
