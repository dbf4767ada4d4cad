"""The portfolio: each card's own numbers, recommendations that fail closed, a ranking that says what it rests on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.cards import full_card
from tests.work.workspaces import NET, card, money, paired, put, workspace
from tsugiki.errors import StudyError
from tsugiki.report.portfolio import render_portfolio
from tsugiki.work.portfolio import build_portfolio
from tsugiki.work.portfolio_entry import clean, standing

Build = Callable[..., dict[str, Any]]
SHARES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def built(*cards: dict[str, Any]) -> dict[str, Any]:
        for number, one in enumerate(cards):
            put(tmp_path / f"{number:03}", one)
        return build_portfolio([tmp_path], None)

    return built


def only(portfolio: dict[str, Any]) -> dict[str, Any]:
    assert len(portfolio["studies"]) == 1
    return portfolio["studies"][0]


def test_a_workspace_side_by_side(tmp_path: Path) -> None:
    found = build_portfolio([workspace(tmp_path)], None)
    assert [(entry["title"], entry["recommendation"], entry["rule"]) for entry in found["studies"]] == [
        ("Classes of reports", "expand", "all_shown"),
        ("Spelling of part names", "hold", "evidence_lacking"),
        ("Answers to the manual", "hold", "undecidable"),
        ("Drafts", "stop", "verdict_stop"),
    ]
    assert found["totals"] == {"expand": 1, "hold": 2, "stop": 1}
    assert [entry["rank"] for entry in found["studies"]] == [1, 2, 3, 4]
    assert {Path(one["path"]).parent.name: one["code"] for one in found["unusable"]} == {
        "broken": "not_json",
        "foreign": "foreign_more",
    }
    assert found["metrics"] == ["chrf", "exact_match"] and found["machines"] == 2 and found["currencies"] == ["JPY"]
    assert found["comparable"] == {"A": [1, 2]}
    assert [entry["comparable"] for entry in found["studies"]] == ["A", "A", None, None]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_numbers_are_those_of_the_card(build: Build) -> None:
    entry = only(build(paired()))
    assert entry["quality"] == {"estimate": 0.785, "low": 0.723, "high": 0.836, "n": 200}
    assert entry["gain"] == {
        "reference": "majority", "estimate": 0.475, "low": 0.396, "high": 0.551, "method": "paired"
    }  # fmt: skip
    assert entry["cost"]["train_seconds"] == 204.4 and entry["cost"]["peak_memory_bytes"] == 905 * 1024**2
    assert entry["cost"]["study_minutes"] == 52.4 and entry["cost"]["train"] is None
    assert entry["certainty"]["seeds"] == 3 and entry["certainty"]["width"] == pytest.approx(0.113)
    assert entry["money"] is None and entry["lacks"] == []
    assert (entry["recommendation"], entry["rule"]) == ("expand", "all_shown")


def test_without_a_paired_comparison_the_gain_comes_from_the_intervals(build: Build) -> None:
    gain = only(build(card()))["gain"]
    assert gain["method"] == "unpaired" and gain["reference"] == "majority"
    assert gain["estimate"] == pytest.approx(0.475)
    assert gain["low"] == pytest.approx(0.475 - (0.062**2 + 0.067**2) ** 0.5)
    assert gain["high"] == pytest.approx(0.475 + (0.051**2 + 0.06**2) ** 0.5)


@pytest.mark.parametrize(
    "values",
    [
        {"reference": "base"},  # not the best reference
        {"method": "full"},
        {"difference": 0.3},  # of other numbers than the card's
        {"low": 0.9},
        {"low": "0.4"},
        {"high": None},
    ],
)
def test_a_paired_comparison_of_something_else_is_not_taken(values: dict[str, Any], build: Build) -> None:
    one = paired()
    one["verdict"]["codes"][0]["values"] |= values
    assert only(build(one))["gain"]["method"] == "unpaired"


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"methods__0__seeds": [0, 1]}, ["seeds"]),
        ({"methods__0__seeds": [7, 7, 7]}, ["seeds"]),
        ({"methods__0__train_seconds": None, "methods__0__reasons": {"cost": "x", "train_seconds": "y"}}, ["time"]),
        ({"methods__0__train_seconds": 1e300}, ["time"]),
        ({"methods__0__peak_memory_bytes": 10**400}, ["memory"]),
        ({"methods__0__retention": None, "methods__0__reasons": {"cost": "x", "retention": "y"}}, ["retention"]),
        ({"methods__0__against_full": None, "methods__0__reasons": {"cost": "x", "against_full": "y"}}, ["full"]),
        ({"methods__0__against_full__non_inferior": None}, ["full"]),
        ({"methods__0__against_full__non_inferior": False}, ["full"]),
        ({"study": {}}, ["criteria"]),
        ({"study": []}, ["criteria"]),
        ({"study__criteria__success": "0.65"}, ["criteria"]),
        ({"study__criteria__withdraw": 0.9}, ["criteria"]),
        ({"verdict__method": "prefix"}, ["method"]),
        ({"money": money("much")}, ["money"]),
        ({"money": money({**NET, "low": None})}, ["money"]),
        ({"money": money({**NET, "estimate": 400_000.0})}, ["money"]),
        ({"money": money(NET, "")}, ["money"]),
        ({"money": money(NET, 5)}, ["money"]),
        ({"money": {"reasons": {}}}, ["money"]),
    ],
)
def test_an_adoption_without_its_evidence_is_held(changes: dict[str, Any], lacks: list[str], build: Build) -> None:
    entry = only(build(paired(**changes)))
    assert entry["lacks"] == lacks
    assert (entry["recommendation"], entry["rule"]) == ("hold", "evidence_lacking")


def test_a_reference_that_was_not_measured_holds(build: Build) -> None:
    one = paired()
    one["reference"][1]["quality"] |= {"estimate": None, "low": None, "high": None, "reason": "failed"}
    entry = only(build(one))
    assert entry["lacks"] == ["reference"] and entry["recommendation"] == "hold"


def test_nothing_measured_at_all_holds(build: Build) -> None:
    one = card()
    one["methods"][0]["quality"] |= {"estimate": None, "low": None, "high": None, "reason": "failed"}
    entry = only(build(one))
    assert entry["gain"] is None and entry["standing"] is None and {"quality", "gain"} <= set(entry["lacks"])
    assert entry["recommendation"] == "hold"


def test_a_gain_that_may_be_nothing_holds_and_a_loss_stops(build: Build) -> None:
    assert only(build(paired(low=-0.01)))["rule"] == "gain_unsure"
    worse = card(
        "undecidable",
        methods__0__quality={**card()["methods"][0]["quality"], "estimate": 0.1, "low": 0.06, "high": 0.15},
    )
    assert only(build(worse))["rule"] == "worse_than_reference"


@pytest.mark.parametrize(
    ("low", "high", "rule"),
    [(1.0, 9.0, "all_shown"), (0.0, 9.0, "money_open"), (-5.0, 9.0, "money_open"), (-9.0, 0.0, "loses_money")],
)
def test_money_that_is_not_sure_holds_and_a_loss_stops(low: float, high: float, rule: str, build: Build) -> None:
    net = {"estimate": (low + high) / 2, "low": low, "high": high}
    assert only(build(paired(money=money(net))))["rule"] == rule


def test_the_money_that_a_study_writes_is_read(build: Build) -> None:
    one = paired()
    one["money"] = full_card("en")["money"]
    net = one["money"]["month"]["net"]
    assert only(build(one))["money"] == {**net, "currency": one["money"]["currency"]}


def test_money_without_a_business_case_is_no_money(build: Build) -> None:
    entry = only(build(paired(money=money({"estimate": None, "low": None, "high": None}))))
    assert entry["money"] is None and entry["recommendation"] == "expand"


@pytest.mark.parametrize("verdict", ["conditional", "undecidable", "stop"])
def test_no_other_verdict_expands_however_good_the_numbers(verdict: str, build: Build) -> None:
    one = paired(money=money(NET))
    one["verdict"]["value"] = verdict
    assert only(build(one))["recommendation"] == ("stop" if verdict == "stop" else "hold")


def test_copies_count_once(tmp_path: Path) -> None:
    one = paired(study__digest="sha256:1")
    put(tmp_path / "a", one)
    put(tmp_path / "b", one)
    put(tmp_path / "c", {**one, "warnings": ["rebuilt elsewhere"]})
    put(tmp_path / "d", card(study__purpose="no digest"))
    put(tmp_path / "e", card(study__purpose="no digest"))
    found = build_portfolio([tmp_path], None)
    assert [len(entry["also"]) for entry in found["studies"]] == [2, 1]
    assert found["studies"][0]["also"] == [f"{tmp_path}/b/scorecard.json", f"{tmp_path}/c/scorecard.json"]


def test_copies_that_disagree_are_both_held(tmp_path: Path) -> None:
    put(tmp_path / "a", paired(study__digest="sha256:1"))
    put(tmp_path / "b", card("stop", study__digest="sha256:1"))
    found = build_portfolio([tmp_path], None)
    assert [(entry["recommendation"], entry["rule"]) for entry in found["studies"]] == [("hold", "copies_disagree")] * 2


def test_a_copy_with_prices_stands_for_the_one_without(tmp_path: Path) -> None:
    put(tmp_path / "a", paired(study__digest="sha256:1"))
    put(tmp_path / "b", paired(study__digest="sha256:1", money=money(NET)))
    (entry,) = build_portfolio([tmp_path], None)["studies"]
    assert entry["recommendation"] == "expand" and entry["money"] is not None
    assert entry["path"] == f"{tmp_path}/b/scorecard.json" and entry["also"] == [f"{tmp_path}/a/scorecard.json"]
    put(tmp_path / "c", paired(study__digest="sha256:1", money=money({**NET, "high": 9e9})))
    assert {entry["rule"] for entry in build_portfolio([tmp_path], None)["studies"]} == {"copies_disagree"}


def test_a_rounded_end_below_nothing_has_a_standing(build: Build) -> None:
    one = paired(study__criteria__withdraw=0.0)
    one["methods"][0]["quality"] |= {"low": -1e-12}
    assert only(build(one))["standing"]["low"] == pytest.approx(-1)


def test_money_ranks_where_it_is_in_one_currency(build: Build) -> None:
    def with_money(name: str, low: float, currency: str = "JPY") -> dict[str, Any]:
        net = {"estimate": low + 1, "low": low, "high": low + 2}
        return paired(study__purpose=name, study__digest=name, money=money(net, currency))

    plain = paired(study__purpose="plain", study__digest="plain")
    found = build(with_money("small", 10.0), plain, with_money("large", 500.0), with_money("losing", -1.0))
    assert [entry["title"] for entry in found["studies"]] == ["large", "small", "plain", "losing"]
    assert found["ranked_by"] == "money_and_standing"
    found = build(with_money("small", 10.0), plain, with_money("large", 500.0), with_money("dollars", 1.0, "USD"))
    assert found["ranked_by"] == "standing" and found["currencies"] == ["JPY", "USD"]


def test_raw_quality_does_not_rank(build: Build) -> None:
    """0.785 against a criterion of 0.65 stands higher than 0.86 against one of 0.85."""
    modest = paired(study__purpose="modest", study__digest="1")
    high = {**modest["methods"][0]["quality"], "estimate": 0.88, "low": 0.86, "high": 0.9}
    proud = paired(study__purpose="proud", study__digest="2", task__metric="chrf", methods__0__quality=high)
    proud["study"]["criteria"] |= {"success": 0.85, "withdraw": 0.8}
    found = build(proud, modest)
    assert [entry["title"] for entry in found["studies"]] == ["modest", "proud"]
    assert found["studies"][1]["quality"]["low"] > found["studies"][0]["quality"]["low"]


@given(
    criteria=st.tuples(SHARES, SHARES).map(sorted),
    qualities=st.tuples(SHARES, SHARES).map(sorted),
)
def test_the_standing_rises_with_the_quality_and_keeps_to_its_scale(
    criteria: list[float], qualities: list[float]
) -> None:
    withdraw, success = criteria
    worse, better = (standing(quality, success=success, withdraw=withdraw) for quality in qualities)
    assert -2 <= worse <= better <= 1
    assert standing(success, success=success, withdraw=withdraw) == 0
    assert (better >= 0) == (qualities[1] >= success)
    assert (better < -1) <= (qualities[1] < withdraw)


def test_the_standing_at_the_criteria() -> None:
    at = {quality: standing(quality, success=0.6, withdraw=0.2) for quality in (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)}
    assert at == {
        0.0: -2,
        0.1: -1.5,
        0.2: pytest.approx(-1),
        0.4: pytest.approx(-0.5),
        0.6: 0,
        0.8: pytest.approx(0.5),
        1.0: 1,
    }


def test_comparable_means_data_base_task_and_metric(build: Build) -> None:
    def one(name: str, **changes: Any) -> dict[str, Any]:
        return paired(study__purpose=name, study__digest=name, **changes)

    found = build(
        one("a"), one("b"), one("c", data__digest="x"), one("d", study__base__digest="x"),
        one("e", task__metric="chrf"), one("f", task__kind="text"), one("g", study__base__digest=None),
        one("h", data__digest="x"),
    )  # fmt: skip
    groups = {entry["title"]: entry["comparable"] for entry in found["studies"]}
    assert groups == {"a": "A", "b": "A", "c": "B", "h": "B", **dict.fromkeys("defg")}
    assert sorted(map(len, found["comparable"].values())) == [2, 2]


def test_texts_of_strangers_are_one_clean_line(tmp_path: Path) -> None:
    one = card(study__purpose="a\u202eb\x00c\ud800\n d\u200b", study__owner=["x"], study__created=5)
    one["task"]["metric"] = "\x1b[31mred"
    put(tmp_path, json.dumps(one))  # with the half character as an escape
    entry = only(build_portfolio([tmp_path], None))
    assert entry["title"] == "a\ufffdb\ufffdc\ufffd d\ufffd"
    assert entry["owner"] is None and entry["created"] is None
    assert entry["task"]["metric"] == "\ufffd[31mred"


def test_clean_keeps_what_people_write() -> None:
    assert clean("  設備区分を\n付ける — 100 % ") == "設備区分を 付ける — 100 %"


def test_none_usable_names_the_first_reason(tmp_path: Path) -> None:
    put(tmp_path / "a", "{")
    put(tmp_path / "b", "[]")
    with pytest.raises(StudyError, match=r"No scorecard can be used \(2 found\); .*a/scorecard\.json: is not JSON"):
        build_portfolio([tmp_path], None)


def test_the_language_is_that_of_most_cards_unless_given(build: Build, tmp_path: Path) -> None:
    assert build(card(language="ja"), card(language="ja", study__purpose="b"), card())["language"] == "ja"
    assert build_portfolio([tmp_path], "en")["language"] == "en"


def test_the_same_files_give_the_same_portfolio_in_any_order(tmp_path: Path) -> None:
    workspace(tmp_path)
    places = [tmp_path / name for name in ("open", "stopped", "adopted", "unclear", "broken")]
    assert json.dumps(build_portfolio(places, None)) == json.dumps(build_portfolio(places[::-1], None))


def test_five_hundred_studies_take_seconds(tmp_path: Path) -> None:
    for number in range(500):
        put(tmp_path / f"{number:03}", paired(study__digest=f"sha256:{number}", study__purpose=f"study {number}"))
    start = time.process_time()
    found = build_portfolio([tmp_path], None)
    page = render_portfolio(found)
    assert time.process_time() - start < 6
    assert page.count("<tr") == 501
    assert len(found["studies"]) == 500 and found["comparable"]["A"] == list(range(1, 501))
