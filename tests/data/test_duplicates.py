import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from tsugiki.data import duplicates
from tsugiki.data.duplicates import EDITS_PER, allowed_edits, near_duplicates, without_template
from tsugiki.data.keys import Links, text_key

ALPHABET = "ab設備の0"
EDIT = st.tuples(st.sampled_from(["insert", "delete", "replace"]), st.integers(0, 99), st.sampled_from(ALPHABET))


def edited(text: str, edits: list[tuple[str, int, str]]) -> str:
    letters = list(text)
    for kind, place, letter in edits:
        at = place % (len(letters) + 1)
        letters[at : at + (kind != "insert")] = [] if kind == "delete" else [letter]
    return "".join(letters)


@st.composite
def families(draw: st.DrawFn) -> list[str]:
    """A few roots and their mutants, so that texts near the limit of likeness abound."""
    roots = draw(st.lists(st.text(ALPHABET, min_size=16, max_size=50), min_size=1, max_size=3))
    mutants = st.tuples(st.sampled_from(roots), st.lists(EDIT, max_size=6)).map(lambda case: edited(*case))
    return draw(st.lists(mutants, min_size=2, max_size=18))  # fewer than what makes a template


def all_pairs(texts: list[str], edits_per: int = EDITS_PER[0]) -> tuple[int, ...]:
    """The slow, obvious twin: compare every text with every other."""
    keys = [text_key(text).casefold() for text in texts]
    links = Links(len(keys))
    for second, key in enumerate(keys):
        for first in range(second):
            edits = allowed_edits(max(len(key), len(keys[first])), edits_per)
            if Levenshtein.distance(key, keys[first]) <= edits:
                links.link(first, second)
    return links.roots()


@given(families(), st.sampled_from(EDITS_PER))
@settings(max_examples=300, deadline=None)
def test_the_index_finds_what_comparing_all_pairs_finds(texts: list[str], edits_per: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "EDITS_PER", (edits_per,))
        patch.setattr(duplicates, "LARGEST_SHARE", 1.0)
        assert near_duplicates(texts).groups == all_pairs(texts, edits_per)


def test_the_index_agrees_on_many_texts_of_one_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "LARGEST_SHARE", 1.0)
    monkeypatch.setattr(duplicates, "TEMPLATE_FROM", 1_000)
    words = [
        "negative",
        "positive",
        "regulator",
        "linear",
        "fixed",
        "output",
        "zener",
        "diode",
        "500mA",
        "35V",
        "TO-220",
        "設備",
        "軸受",
        "異音",
    ]
    draw = random.Random(4)
    texts = [" ".join(draw.choice(words) for _ in range(draw.randint(2, 6))) for _ in range(400)]
    assert near_duplicates(texts).groups == all_pairs(texts)


@given(families(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_the_texts_does_not_matter(texts: list[str], shuffler: random.Random) -> None:
    order = list(range(len(texts)))
    shuffler.shuffle(order)

    def partition(groups: tuple[int, ...], places: list[int]) -> set[frozenset[int]]:
        sets: dict[int, set[int]] = {}
        for place, group in zip(places, groups, strict=True):
            sets.setdefault(group, set()).add(place)
        return {frozenset(members) for members in sets.values()}

    straight = near_duplicates(texts).groups
    shuffled = near_duplicates([texts[place] for place in order]).groups
    assert partition(straight, list(range(len(texts)))) == partition(shuffled, order)


def test_japanese_sentences_are_compared_by_character() -> None:
    texts = [
        "第二工場のコンプレッサーから異音がするので点検してほしい",
        "第三工場のコンプレッサーから異音がするので点検してほしい",
        "第二工場のﾎﾟﾝﾌﾟから異音がするので至急点検してほしい",
        "第二工場のポンプから異音がするので至急点検してほしい",
    ]
    assert near_duplicates(texts).groups == (0, 0, 2, 2)


def test_part_numbers_are_alike_to_their_equals_only() -> None:
    texts = ["BZM55B10", "BZM55B12", "BZM55B15", "ｂｚｍ55B10"]
    assert near_duplicates(texts).groups == (0, 1, 2, 0)


def test_a_prompt_template_says_nothing_about_likeness() -> None:
    texts = [f"Which class of component is this part? Part: BZM55B{number}\nClass: " for number in range(10, 50)]
    assert near_duplicates(texts).groups == tuple(range(40))
    assert without_template([f"a{number}z" for number in range(20)]) == [str(number) for number in range(20)]
    assert without_template(["same"] * 20) == [""] * 20


def test_a_chain_that_swallows_everything_is_taken_apart_and_reported() -> None:
    base = "regulator with fixed output in a small housing for industries"[:60]
    chain = [base[: 60 - length] + "x" * length for length in range(40)]  # each is one edit from the next
    others = ["".join(random.Random(n).choices("abcdefgh ", k=60)) for n in range(60)]
    found = near_duplicates(chain + others)
    assert found.families == (tuple(range(40)),)
    sizes = [found.groups.count(group) for group in set(found.groups)]
    assert max(sizes) <= 10


def test_large_data_are_searched_for_equals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_TEXTS", 2)
    texts = ["a long sentence about bearings", "a long sentence about bearing", "another one", "Another  one"]
    found = near_duplicates(texts)
    assert found.groups == (0, 1, 2, 2)
    assert not found.searched


def test_nothing_and_strange_texts() -> None:
    assert near_duplicates([]).groups == ()
    assert near_duplicates(["", "", "\ud800"]).groups == (0, 0, 2)


def test_ten_thousand_rows_take_seconds() -> None:
    draw = random.Random(0)
    words = [
        "negative",
        "positive",
        "regulator",
        "linear",
        "fixed",
        "output",
        "zener",
        "diode",
        "500mA",
        "35V",
        "5V",
        "TO-220",
        "SOT-23",
        "converter",
        "SPI",
    ]
    texts = [" ".join(draw.choice(words) for _ in range(draw.randint(5, 12))) for _ in range(10_000)]
    begin = time.process_time()
    near_duplicates(texts)
    assert time.process_time() - begin < 10
