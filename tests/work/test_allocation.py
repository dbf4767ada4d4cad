"""The table of recommendations: complete, the same as its drawing, and closed where something is missing."""

from __future__ import annotations

import re
from itertools import product
from typing import get_args

import pytest

from tsugiki.report.portfolio import RULES
from tsugiki.work import allocation
from tsugiki.work.allocation import (
    RECOMMENDATIONS,
    TABLE,
    EvidenceFinding,
    GainFinding,
    MoneyFinding,
    Recommendation,
    allocate,
)
from tsugiki.work.ruling import Value

FINDINGS = [get_args(kind) for kind in (Value, GainFinding, MoneyFinding, EvidenceFinding)]
EVERY = list(product(*FINDINGS))


def test_the_drawing_in_the_docstring_is_the_table() -> None:
    assert allocation.__doc__ is not None
    drawn = re.split(r"verdict +gain +money +evidence +recommendation +rule\n", allocation.__doc__)[1].split("\n\n")[0]
    rows = [tuple(re.split(r" {2,}", line.strip())) for line in drawn.splitlines() if line.strip()]
    assert rows == list(TABLE)
    assert "192" in allocation.__doc__ and len(EVERY) == 192


def test_every_combination_gets_a_recommendation_and_every_line_is_reached() -> None:
    found = [allocate(*findings) for findings in EVERY]
    assert {rule for _, rule in found} == {rule for *_, rule in TABLE}
    assert {recommendation for recommendation, _ in found} == set(get_args(Recommendation)) == set(RECOMMENDATIONS)


@pytest.mark.parametrize("findings", EVERY, ids="-".join)
def test_only_what_is_shown_in_full_is_expanded(findings: tuple[str, ...]) -> None:
    verdict, gain, money, evidence = findings
    expands = verdict == "adopt" and gain == "sure" and money in ("earns", "none") and evidence == "whole"
    assert (allocate(*findings)[0] == "expand") == expands  # type: ignore[arg-type]


def test_what_is_contradicted_is_neither_expanded_nor_stopped() -> None:
    assert {allocate(*findings)[0] for findings in EVERY if findings[3] == "contradicted"} == {"hold"}


def test_a_sure_loss_stops_whatever_else_is_open() -> None:
    for verdict, evidence in product(FINDINGS[0], ("whole", "lacking")):
        assert allocate(verdict, "lost", "none", evidence)[0] == "stop"
        assert allocate(verdict, "sure", "loses", evidence)[0] == "stop"


def test_the_page_lists_the_rules_of_the_table_in_its_order() -> None:
    assert list(RULES) == [rule for *_, rule in TABLE]
