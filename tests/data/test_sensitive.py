import random

import pytest

from tsugiki.data.sensitive import find_spans, is_card, is_my_number, masked, sensitive_findings

FOUND = [
    ("連絡は taro.yamada@example.co.jp まで", "e-mail", "taro.yamada@example.co.jp"),
    ("メールはtaro@example.comです", "e-mail", "taro@example.com"),
    ("メール：ｔａｒｏ＠ｅｘａｍｐｌｅ．ｃｏｍ", "e-mail", "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
    ("電話は03-1234-5678です", "phone", "03-1234-5678"),
    ("電話は０９０ー１２３４ー５６７８です", "phone", "０９０ー１２３４ー５６７８"),
    ("電話は０３−１２３４−５６７８です", "phone", "０３−１２３４−５６７８"),
    ("携帯09012345678に", "phone", "09012345678"),
    ("TEL：0312345678", "phone", "0312345678"),
    ("フリーダイヤル0120-123-456", "phone", "0120-123-456"),
    ("call +81-90-1234-5678 now", "phone", "+81-90-1234-5678"),
    ("市外局番(0466)12-3456へ", "phone", "(0466)12-3456"),
    ("〒100-0001", "postal code", "100-0001"),
    ("〒１００−０００１", "postal code", "１００−０００１"),
    ("住所は100-0001東京都千代田区", "postal code", "100-0001"),
    ("番号は123456789018です", "my number", "123456789018"),
    ("番号は１２３４ ５６７８ ９０１８です", "my number", "１２３４ ５６７８ ９０１８"),
    ("カード4111111111111111で", "card", "4111111111111111"),
    ("カードは４１１１−１１１１−１１１１−１１１１", "card", "４１１１−１１１１−１１１１−１１１１"),
    ("Amex 3782 822463 10005.", "card", "3782 822463 10005"),
    ("サーバは192.168.10.5です", "ip address", "192.168.10.5"),
    ("AWSの鍵AKIAIOSFODNN7EXAMPLEを", "key", "AKIAIOSFODNN7EXAMPLE"),
    ("token ghp_" + "a1" * 18, "key", "ghp_" + "a1" * 18),
    ("パスワードは「Tsugi-2026!」", "password", "Tsugi-2026!」"[:-1]),
    ("パスワード：ｐａｓｓ１２３４", "password", "ｐａｓｓ１２３４"),
    ('api_key = "9f8e7d6c5b4a"', "password", "9f8e7d6c5b4a"),
    ("PW：Tsugi2026", "password", "Tsugi2026"),
    ("ＰＷ＝ｔｓ２０２６", "password", "ｔｓ２０２６"),
    ("ログインのパス：ab12cd", "password", "ab12cd"),
    ("postgres://app:S3cret!@db.example.com/x", "credentials in a URL", "app:S3cret!"),
    ("接続先https://taro:pa55word@example.co.jpです", "credentials in a URL", "taro:pa55word"),
    ("品番と電話 03-1234-5678", "phone", "03-1234-5678"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END", "private key", None),
]

NOT_FOUND = [
    "パスワードは必須です",
    "password: required",
    "password=<your password>",
    "api_key=${API_KEY}",
    "JANコード 4901234567894",
    "型番 BZM55B10、MC79M05_TO220、0603-12-345",
    "品番 123-4567 の在庫",
    "ロット 2026-11-23-0001",
    "2026-11-23 10:15:30",
    "version 10.12.13.14",
    "127.0.0.1 と 255.255.255.0",
    "章 1.2.3.4 を参照",
    "@tanaka さん",
    "30分→3分、-40〜85℃、4.7kΩ",
    "1234-5678-9012",  # no check digit fits
    "4111111111111112",
    "センサーとモーター",
    "保存先のパス：C:\\data\\2026",
    "パス: /var/log/2026",
    "バイパス: DN50-A",
    "PW=10us",
    "PWは必須です",
    "https://<user>:<password>@example.com/ と https://example.com:8080/a",
    "部品番号 090-1234-5678",
    "管理番号：123456789018",
    "型番は09012345678",
    "品番「03-1234-5678」",
    "sk-hynix-memory-module-type",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_values_are_found_in_the_middle_of_japanese(text: str, kind: str, value: str | None) -> None:
    spans = find_spans(text)
    assert [span[0] for span in spans] == [kind]
    if value is not None:
        assert text[spans[0][1] : spans[0][2]] == value


@pytest.mark.parametrize("text", NOT_FOUND)
def test_look_alikes_are_left_alone(text: str) -> None:
    assert find_spans(text) == []


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_the_excerpt_never_holds_the_value(text: str, kind: str, value: str | None) -> None:
    twice = f"{text} {text}"
    for finding in sensitive_findings([(7, "prompt", twice)]):
        assert finding.row == 7
        assert f"[{kind}]" in finding.excerpt
        assert value is None or value not in finding.excerpt
        assert "\n" not in finding.excerpt


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_a_masked_text_keeps_its_words_and_loses_its_values(text: str, kind: str, value: str | None) -> None:
    twice = masked(f"{text} と {text} と")
    assert twice.count(f"[{kind}]") == 2 and twice.endswith(" と")
    assert value is None or value not in twice
    assert masked("軸受の交換") == "軸受の交換"


def test_check_digits_of_my_number() -> None:
    """Against the ordinance's own wording, written out: P_n is the n-th digit from the right, Q_n its weight."""
    draw = random.Random(1)
    for _ in range(300):
        body = [draw.randrange(10) for _ in range(11)]
        total = 0
        for n in range(1, 12):
            weight = n + 1 if n <= 6 else n - 5
            total += body[11 - n] * weight
        rest = total % 11
        digit = 0 if rest <= 1 else 11 - rest
        for candidate in range(10):
            number = "".join(map(str, [*body, candidate]))
            assert is_my_number(number) == (candidate == digit and len(set(number)) > 1)


@pytest.mark.parametrize("digits", ["4111111111111111", "5555555555554444", "3530111333300000", "378282246310005"])
def test_the_test_numbers_of_the_issuers(digits: str) -> None:
    assert is_card(digits)
    assert not is_card(digits[:-1] + str((int(digits[-1]) + 1) % 10))


def test_few_part_numbers_are_taken_for_secrets() -> None:
    """Measured on invented part, order and lot numbers of the usual forms; only twelve-digit lots may hit by chance."""
    draw = random.Random(2)

    def digits(count: int) -> str:
        return "".join(draw.choice("0123456789") for _ in range(count))

    forms = [
        lambda: f"BZM{digits(2)}B{digits(2)}",
        lambda: f"{digits(3)}-{digits(5)}-{digits(2)}",
        lambda: f"{digits(4)}-{digits(3)}-{digits(3)}",
        lambda: digits(8),
        lambda: digits(10),
        lambda: f"LM{digits(4)}CT-{digits(1)}.{digits(1)}/NOPB",
        lambda: f"P{digits(3)}-{digits(4)}",
        lambda: f"49{digits(11)}",
        lambda: f"{digits(3)}-{digits(4)}",
    ]
    numbers = [f"品番{form()}の交換" for form in forms for _ in range(300)]
    hits = sum(bool(find_spans(number)) for number in numbers)
    assert hits / len(numbers) < 0.01
    lots = [f"ロット{digits(12)}を検査" for _ in range(1_000)]
    assert 0 < sum(bool(find_spans(lot)) for lot in lots) / len(lots) < 0.15


def test_hostile_text_takes_no_time() -> None:
    short = ("a" * 50_000 + "@", "a@" + "a." * 25_000, "1-" * 25_000, "password=" * 5_000, "-----BEGIN " * 4_000)
    for text in (*short, "a" * 50_000 + "://a:b", "a://" + ":" * 50_000):
        find_spans(text)


def test_a_masked_text_keeps_everything_but_the_values() -> None:
    assert masked("電話は03-1234-5678、または taro@example.com です") == "電話は[phone]、または [e-mail] です"
    assert masked("BZM55B10") == "BZM55B10"
