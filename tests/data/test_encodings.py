import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.data.encodings import decode
from tsugiki.errors import DataError

REPORT = "質問,回答\n設備から異音がする,軸受を交換してください\n圧力センサーの値が高い,配管の詰まりを確認する\n"
SENTENCE = st.sampled_from(
    [
        "設備から異音がする",
        "軸受を交換した",
        "圧力センサーの値が高い",
        "配管の詰まり",
        "ﾌﾞﾋﾝ番号",
        "①を確認",
        "ポンプ停止",
    ]
)


@pytest.mark.parametrize(
    ("codec", "label"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8 with BOM"),
        ("utf-16", "UTF-16 LE"),
        ("cp932", "CP932"),
        ("euc_jp", "EUC-JP"),
    ],
)
def test_every_encoding_gives_the_same_text_and_is_named(codec: str, label: str) -> None:
    assert decode(REPORT.encode(codec), "a.csv") == (REPORT, label)


def test_utf16_big_endian_with_mark() -> None:
    assert decode(b"\xfe\xff" + REPORT.encode("utf-16-be"), "a.csv") == (REPORT, "UTF-16 BE")


def test_windows_characters_in_both_japanese_encodings() -> None:
    text = "型番,社名\n①号機,㈱日本工業のポンプ\n"
    assert decode(text.encode("cp932"), "a.csv") == (text, "CP932")
    assert decode(text.encode("euc_jis_2004"), "a.csv") == (text, "EUC-JP")


def test_half_width_kana_alone_are_shift_jis_and_kanji_alone_euc() -> None:
    assert decode("ﾌﾞﾋﾝ,ﾈｼﾞ\nﾎﾟﾝﾌﾟ,ﾓｰﾀ\n".encode("cp932"), "a.csv")[1] == "CP932"
    assert decode("東京,大阪\n京都,奈良\n".encode("euc_jp"), "a.csv")[1] == "EUC-JP"


@given(st.lists(SENTENCE, min_size=2, max_size=8), st.sampled_from(["utf-8", "cp932", "euc_jis_2004"]))
def test_japanese_text_comes_back_from_any_encoding(sentences: list[str], codec: str) -> None:
    text = "\n".join(["質問,回答", *sentences])
    assert decode(text.encode(codec), "a.csv")[0] == text


def test_colours_of_a_terminal_are_not_jis() -> None:
    assert decode(b"a,b\n\x1b[31mred,$B\n", "a.csv")[1] == "UTF-8"


def test_a_mark_in_the_middle_stays_in_the_text() -> None:
    assert decode("a\n\ufeffb".encode(), "a.csv")[0] == "a\n\ufeffb"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1\x00,2\n", "NUL byte in line 2"),
        ("あい\x00".encode("utf-16"), "NUL character in line 1"),
        (b"\xef\xbb\xbfabc\xff", "mark of UTF-8 with BOM, but byte 3 is not"),
        (b"\xff\xfea", "mark of UTF-16 LE"),
        (REPORT.encode("iso2022_jp"), r"a.csv is ISO-2022-JP \(JIS\) from line 1 on"),
        (("q,a\n" + REPORT).encode("iso2022_jp"), "from line 2 on"),
        ("é,b\nfoo,b\n".encode("latin1"), "line 1 is not"),
        ("質問,回答\n".encode() + "日本,東京\n".encode("cp932"), "mixes encodings: line 1 is UTF-8, line 2 is not"),
        (
            "日本,東京です\n".encode("euc_jp") + "質問,回答\n".encode(),
            "mixes encodings: line 2 is UTF-8, line 1 is not",
        ),
    ],
)
def test_what_cannot_be_decoded_completely_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(content, "a.csv")
