"""Scorecards read with care, and decks that are never written over somebody's work."""

from __future__ import annotations

import copy
import functools
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.cards import every_card, full_card
from tests.report.sliced import sliced_card
from tsugiki.errors import StudyError, UsageError
from tsugiki.report.scorecard import check_extensions, scorecard_bytes
from tsugiki.work.slides import check_free, check_target, make_slides, read_scorecard, write_slides


def study(folder: Path, card: Any | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "scorecard.json").write_bytes(scorecard_bytes(full_card("en") if card is None else card))
    return folder


@pytest.mark.parametrize("name", every_card())
def test_every_card_that_a_study_may_write_can_be_read(name: str, tmp_path: Path) -> None:
    card = every_card()[name]
    assert read_scorecard(study(tmp_path, card)) == card
    assert read_scorecard(tmp_path / "scorecard.json") == card


WRONG: dict[str, tuple[Any, str]] = {
    "study": ("x", "study must be object"),
    "warnings": ([3], r"warnings\[0\] must be string"),
    "provenance": ({"reference": "lora-s0"}, "provenance.reference must be array"),
    "failures": ([{"trial": "x"}], r"failures\[0\] lacks reason"),
    "data_check": ({"sensitive": [{"kind": 4, "row": 1}]}, r"data_check.sensitive\[0\].kind must be string"),
}


@pytest.mark.parametrize("part", WRONG)
def test_a_part_of_another_shape_is_named(part: str, tmp_path: Path) -> None:
    value, fault = WRONG[part]
    card = full_card("en") | {part: value}
    with pytest.raises(StudyError, match=fault):
        read_scorecard(study(tmp_path, card))


def test_extensions_are_checked_deep_inside() -> None:
    card = full_card("en")
    card["methods"][0]["reasons"]["cost"] = 4
    card["learning_curve"]["fit"]["points"][0]["low"] = None
    card["study"]["criteria"]["success"] = "high"
    assert len(check_extensions(card)) == 3
    assert check_extensions(full_card("en")) == []


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in entries:
        yield (*place, name)
        yield from places(inner, (*place, name))


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_card_is_refused_or_shown_but_never_our_bug(seed: int, tmp_path: Path) -> None:
    """Any one value of a card replaced by another kind of value, or taken away."""
    rng, whole, shown = random.Random(seed), sliced_card("en"), 0
    everywhere = list(places(whole))
    while shown < 8:
        card = copy.deepcopy(whole)
        *way, last = rng.choice(everywhere)
        holder = functools.reduce(lambda inner, name: inner[name], way, card)
        if rng.random() < 0.2:
            del holder[last]
        else:
            holder[last] = rng.choice(["x", 5, None, [], {}, -1.5, True])
        folder = study(tmp_path, card)
        try:
            read = read_scorecard(folder)
        except StudyError:
            continue
        write_slides(read, tmp_path / "deck.pptx", "--out", replace=True)
        shown += 1


def test_an_unchanged_deck_is_written_again_and_an_edited_one_is_kept(tmp_path: Path) -> None:
    folder, deck = study(tmp_path / "study"), tmp_path / "deck.pptx"
    make_slides(folder, deck, "--out")
    made = deck.read_bytes()
    make_slides(folder, deck, "--out")
    assert deck.read_bytes() == made
    check_free(deck, "--slides", folder)
    deck.write_bytes(made + b"edited")
    for refused in (lambda: make_slides(folder, deck, "--out"), lambda: check_free(deck, "--out", folder)):
        with pytest.raises(UsageError, match=r"exists already, and is not the unchanged deck .* --out"):
            refused()
    assert deck.read_bytes() == made + b"edited"


def test_the_order_of_keys_in_memory_does_not_reach_the_deck(tmp_path: Path) -> None:
    card = full_card("en")
    turned = {key: card[key] for key in reversed(card)}
    turned["methods"] = [{key: one[key] for key in reversed(one)} for one in card["methods"]]
    write_slides(turned, tmp_path / "deck.pptx", "--slides")
    write_slides(card, tmp_path / "deck.pptx", "--slides")  # refused if it were another deck


def test_a_deck_of_an_older_scorecard_gives_way_where_the_study_goes_on(tmp_path: Path) -> None:
    folder, deck = study(tmp_path / "study"), tmp_path / "deck.pptx"
    make_slides(folder, deck, "--out")
    check_free(deck, "--slides", folder)
    newer = full_card("en", "stop")
    write_slides(newer, deck, "--slides", replace=True)
    before = deck.read_bytes()
    with pytest.raises(UsageError, match="not the unchanged deck"):
        check_free(deck, "--slides", folder)  # the folder still holds the older card
    assert deck.read_bytes() == before


def test_a_folder_without_a_readable_scorecard_frees_nothing(tmp_path: Path) -> None:
    (tmp_path / "deck.pptx").write_bytes(b"x")
    (tmp_path / "study").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        check_free(tmp_path / "deck.pptx", "--slides", tmp_path / "study")
    (tmp_path / "study" / "scorecard.json").write_text(json.dumps({"schema": 2}), encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"):
        check_free(tmp_path / "deck.pptx", "--slides", tmp_path / "study")


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pptx", None)
    with pytest.raises(UsageError, match=r"need python-pptx, .* pip install 'tsugiki\[slides\]'"):
        check_target(tmp_path / "a.pptx", "--out")
    assert not list(tmp_path.iterdir())
