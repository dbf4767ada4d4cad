"""The kinds of work that tsugiki has templates for: their defaults, their texts, and how many rows they take.

Called by work/papers.py, which writes the templates, and by the command line. A kind is a TOML file in templates/ with
both languages, and two small files of example rows beside it. The numbers of rows are computed here and nowhere written
down.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, get_args

from tsugiki.config import Criteria, Design, KindName, LanguageName
from tsugiki.measure.sample_size import rows_for_interval, rows_for_margin, rows_to_reach

KINDS: tuple[KindName, ...] = get_args(KindName)
REACHES = (0.15, 0.10, 0.07, 0.05)
LEADS = (0.15, 0.10, 0.05)  # of the true quality over the success criterion
MARGINS = (0.02, 0.03, 0.05)
# Of the test rows, on how many one of a small part and full fine-tuning is right alone: 10 to 18 % on the data of the
# demonstrations and of benchmark E1.
DIFFERING = 0.10
REVIEW_REACH, REVIEW_QUALITY = 0.15, 0.8  # of what people read to judge drafts

Text = Mapping[LanguageName, str]


@dataclass(frozen=True)
class Kind:
    name: KindName
    reach: float  # of the interval to start with, on the 0-to-1 scale
    criteria: Mapping[str, Any]  # defaults by the names of config.Criteria
    says: Mapping[str, Text]
    traps: tuple[Text, ...]
    reading: tuple[Text, ...]  # what to look at once there is a scorecard


@dataclass(frozen=True)
class Rows:
    """Test rows for what is wanted (a reach, a lead, a margin), and all rows at the default test share."""

    wanted: float
    test: int
    all: int


@dataclass(frozen=True)
class Sizes:
    confidence: float
    test_share: float
    start: Rows  # to begin with
    intervals: tuple[Rows, ...]
    leads: tuple[Rows, ...]
    margins: tuple[Rows, ...]
    per_label: int  # rows of every label, so that each part gets one
    review: int


@cache
def read_kind(name: KindName) -> Kind:
    values = tomllib.loads(_file(f"{name}.toml"))
    return Kind(
        name=name,
        reach=values["reach"],
        criteria=values["criteria"],
        says=values["says"],
        traps=tuple(values["traps"]),
        reading=tuple(values["reading"]),
    )


def example_rows(name: KindName, language: LanguageName) -> str:
    """CSV with a header, as `tsugiki check` and `tsugiki poc` read it."""
    return _file(f"{name}.{language}.csv")


def sizes_of(kind: Kind) -> Sizes:
    """With the defaults of `config` for the confidence and for the shares of test and development."""
    confidence = float(kind.criteria.get("confidence", Criteria.model_fields["confidence"].default))
    design = Design()

    def rows(wanted: float, test: int) -> Rows:
        return Rows(wanted, test, math.ceil(test / design.test_share))

    def interval(reach: float) -> Rows:
        return rows(reach, rows_for_interval(reach, confidence=confidence))

    return Sizes(
        confidence=confidence,
        test_share=design.test_share,
        start=interval(kind.reach),
        intervals=tuple(map(interval, REACHES)),
        leads=tuple(
            # the worst case: criterion and quality to both sides of one half
            rows(lead, rows_to_reach(0.5 - lead / 2, 0.5 + lead / 2, confidence=confidence))
            for lead in LEADS
        ),
        margins=tuple(rows(margin, rows_for_margin(margin, DIFFERING, confidence=confidence)) for margin in MARGINS),
        per_label=math.ceil(1 / min(design.test_share, design.dev_share)),
        review=rows_for_interval(REVIEW_REACH, value=REVIEW_QUALITY, confidence=confidence),
    )


def _file(name: str) -> str:
    return resources.files("tsugiki.work").joinpath(f"templates/{name}").read_text(encoding="utf-8")
