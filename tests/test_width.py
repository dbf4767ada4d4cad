import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.width import columns, folded


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ＡＢＣ－１２３（ａ）", "ABC-123(a)"),
        ("ﾎﾟﾝﾌﾟ･ｶﾞｽ｡", "ポンプ・ガス。"),
        ("か\u3099", "が"),
        (" a\u3000 b\n", "a b"),
        ("￥１００", "¥100"),
    ],
)
def test_width_voicing_marks_and_white_space_are_folded(first: str, second: str) -> None:
    assert folded(first) == folded(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("10²", "102"),
        ("①", "1"),
        ("m³", "m3"),
        ("H₂O", "H2O"),
        ("½", "1⁄2"),
        ("㎜", "mm"),
        ("㈱", "(株)"),
        ("Ⅲ", "III"),
        ("…", "..."),
        ("ハ", "バ"),
        ("a", "A"),
    ],
)
def test_nothing_else_is(first: str, second: str) -> None:
    assert folded(first) != folded(second)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)


def test_columns_count_cells():
    assert columns("ab") == 2
    assert columns("品質") == 4
    assert columns("ｱ") == 1
