import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.keys import Links, closed_labels, text_key


@pytest.mark.parametrize(
    ("first", "second"),
    [("ＢＺＭ５５", "BZM55"), ("ﾎﾟﾝﾌﾟ", "ポンプ"), (" a\u3000 b\n", "a b")],
)
def test_width_and_white_space_do_not_count(first: str, second: str) -> None:
    assert text_key(first) == text_key(second)


def test_case_voicing_and_raised_digits_count() -> None:
    assert text_key("10²") != text_key("102")
    assert text_key("①") != text_key("1")
    assert text_key("a") != text_key("A")
    assert text_key("ハ") != text_key("バ")


@given(st.text())
def test_a_key_is_its_own_key(text: str) -> None:
    assert text_key(text_key(text)) == text_key(text)


@pytest.mark.parametrize(
    ("completions", "closed"),
    [
        (["ok", "ng"] * 10, True),
        (["ok", "ＯＫ", "OK"] * 4, True),
        (["ok"] * 20, False),  # one answer only: nothing to tell apart
        ([f"answer {n}" for n in range(20)], False),
        (["a", "b", "c"] * 2, False),  # two rows per label
        (["ok", "ng"] * 9 + ["x", "y"], True),  # 90 % of the rows share their label
        (["ok", "ng"] * 8 + ["x", "y", "z"], False),
        (["o" * 101, "n" * 101] * 10, False),
        ([], False),
    ],
)
def test_closed_labels(completions: list[str], closed: bool) -> None:
    assert closed_labels(completions) is closed


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_links_are_the_components_of_the_graph_in_any_order(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = case
    forward, backward = Links(count), Links(count)
    for pair in pairs:
        forward.link(*pair)
    for pair in reversed(pairs):
        backward.link(*reversed(pair))
    names = list(range(count))  # the slow twin: spread the smallest name until nothing changes
    for _ in range(count):
        for first, second in pairs:
            names[first] = names[second] = min(names[first], names[second])
    assert forward.roots() == backward.roots() == tuple(names)


def test_none_is_no_key() -> None:
    links = Links(4)
    links.link_equal(["a", None, None, "a"])
    assert links.roots() == (0, 1, 2, 0)
