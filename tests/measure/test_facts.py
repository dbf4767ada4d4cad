"""The alarm for numbers, units and negation: what must ring, and what must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.measure.facts import Difference, agree, facts
from tsugiki.measure.quantities import Quantity, quantities

DANGEROUS = [  # (kind that must differ, reference, answer)
    ("number", "ポンプを30分動かす。", "ポンプを3分動かす。"),
    ("number", "板厚は0.5mmとする。", "板厚は5mmとする。"),
    ("number", "圧力は1.5MPa。", "圧力は15MPa。"),
    ("number", "三十秒待つ。", "三秒待つ。"),
    ("number", "二十五個を検査する。", "五十二個を検査する。"),
    ("number", "３０分後に止める。", "１３分後に止める。"),
    ("number", "1,500円を支払う。", "1.500円を支払う。"),
    ("number", "10,000回で交換する。", "1,000回で交換する。"),
    ("number", "温度は-5℃。", "温度は5℃。"),
    ("number", "3〜5mmにする。", "3〜8mmにする。"),
    ("number", "1×10⁻³Paまで引く。", "1×10⁻⁵Paまで引く。"),
    ("number", "3万円です。", "3千円です。"),
    ("number", "5mm以上あける。", "5mm以下あける。"),
    ("number", "10kg未満とする。", "10kg以上とする。"),
    ("number", "M6のボルトを使う。", "M8のボルトを使う。"),
    ("number", "3分の1まで減らす。", "3分の2まで減らす。"),
    ("number", "10:30に始める。", "10:13に始める。"),
    ("number", "2回押す。", "押す。"),
    ("number", "第二工程で止める。", "第三工程で止める。"),
    ("unit", "30分待つ。", "30秒待つ。"),
    ("unit", "3時に点検する。", "3時間点検する。"),
    ("unit", "5mm削る。", "5cm削る。"),
    ("unit", "出力は10mW。", "出力は10MW。"),
    ("unit", "20℃で保つ。", "20°Fで保つ。"),
    ("unit", "5A、10Vで動かす。", "10A、5Vで動かす。"),
    ("unit", "流量は3L/minです。", "流量は3L/hです。"),
    ("unit", "面積は20m²。", "面積は20m³。"),
    ("unit", "薬を2錠飲む。", "薬を2mL飲む。"),
    ("negation", "カバーを開けないでください。", "カバーを開けてください。"),
    ("negation", "電源を切ってはいけません。", "電源を切ってください。"),
    ("negation", "立入禁止。", "立入可。"),
    ("negation", "この部品は使用不可です。", "この部品は使用可です。"),
    ("negation", "再起動は不要です。", "再起動は必要です。"),
    ("negation", "手袋なしで触れる。", "手袋をして触れる。"),
    ("negation", "止めずに交換する。", "止めて交換する。"),
    ("negation", "問題ありません。", "問題があります。"),
    ("negation", "未使用の部品。", "使用の部品。"),
    ("negation", "この設定は無効です。", "この設定は有効です。"),
    ("negation", "火気厳禁。", "火気可。"),
    ("number", "Run the pump for 30 minutes.", "Run the pump for 3 minutes."),
    ("number", "Wait thirteen seconds.", "Wait thirty seconds."),
    ("number", "Use at least 5 bolts.", "Use at most 5 bolts."),
    ("number", "Keep it under 40 °C.", "Keep it over 40 °C."),
    ("number", "Drill 0.5 mm.", "Drill .05 mm."),
    ("number", "Set it to 1e-3.", "Set it to 1e3."),
    ("number", "Two hundred and five parts.", "Two hundred and fifty parts."),
    ("number", "It costs $1,200.", "It costs $12,00."),
    ("number", "No more than 3 people.", "No less than 3 people."),
    ("unit", "Torque it to 10 N·m.", "Torque it to 10 kN."),
    ("unit", "Wait 5 hours.", "Wait 5 minutes."),
    ("unit", "Add 10 mg.", "Add 10 g."),
    ("unit", "It weighs 3 kg.", "It weighs 3 t."),
    ("negation", "Do not open the valve.", "Open the valve."),
    ("negation", "Don't touch the blade.", "Touch the blade."),
    ("negation", "Never mix the two.", "Always mix the two."),
    ("negation", "Clean it without water.", "Clean it with water."),
    ("negation", "Smoking is prohibited.", "Smoking is allowed."),
    ("negation", "The part cannot be reused.", "The part can be reused."),
    ("negation", "Stop unless the lamp is on.", "Stop if the lamp is on."),
    ("negation", "Disable the alarm.", "Enable the alarm."),
]  # fmt: skip

HARMLESS = [
    ("ポンプを30分間動かす。", "３０分、ポンプを動かしてください。"),
    ("板厚は0.5mmとする。", "板の厚さを０．５㎜にする。"),
    ("20℃で保つ。", "20 °Cに保ってください。"),
    ("三十秒待つ。", "30秒お待ちください。"),
    ("1,500円を支払う。", "1500円払う。"),
    ("3万円です。", "30,000円です。"),
    ("一万二千個", "12000個"),
    ("3〜5mmにする。", "3mmから5mmにする。"),
    ("触らないでください。", "触ることは禁止です。"),
    ("使用できません。", "使用不可。"),
    ("ボルトを締めなければならない。", "ボルトを締めてください。"),
    ("ボルトを締めなければなりません。", "ボルトを締めること。"),
    ("5kgを超えないこと。", "5kg以下とする。"),
    ("必ず確認してください。", "確認をお願いします。"),
    ("まず電源を切る。", "はじめに電源を切る。"),
    ("少ない量で足りる。", "わずかな量で足りる。"),
    ("十分に冷ましてください。", "よく冷ましてください。"),
    ("一般の部品を使う。", "普通の部品を使う。"),
    ("故障かもしれません。", "故障の可能性があります。"),
    ("温度だけでなく圧力も見る。", "温度も圧力も見る。"),
    ("1×10⁻³Pa", "0.001Pa"),
    ("100％にする", "100パーセントにする"),
    ("危ないので離れる。", "危険なので離れる。"),
    ("Run the pump for 30 minutes.", "Run it for 30 min, please."),
    ("Wait three seconds.", "Hold on for 3 s."),
    ("Use no more than 5 bolts.", "Use at most 5 bolts."),
    ("It must not exceed 5 kg.", "The limit is 5 kg or less."),
    ("Do not open the valve.", "Opening the valve is prohibited."),
    ("You can't reuse it.", "It cannot be used again."),
    ("It costs 1,200 dollars.", "The price is $1200."),
    ("Not only the pump, but also the valve.", "Both the pump and the valve."),
    ("The one on the left.", "That on the left."),
    ("Drill 0.50 mm.", "Make a 0.5-mm hole."),
    ("Keep it between 3 and 5 mm.", "Keep it at 3-5 mm."),
    ("Two hundred and five parts.", "205 parts."),
]


@pytest.mark.parametrize(("kind", "reference", "answer"), DANGEROUS)
def test_rings_for_dangerous_answers(kind, reference, answer):
    for report in (agree(answer, reference), agree(reference, answer)):
        assert kind in [difference.kind for difference in report.differences]
        assert not {"number": report.numbers_ok, "unit": report.units_ok, "negation": report.negation_ok}[kind]
        assert not report.ok


@pytest.mark.parametrize(("reference", "answer"), HARMLESS)
def test_keeps_quiet_for_paraphrases(reference, answer):
    assert agree(answer, reference).differences == ()
    assert agree(reference, answer).ok


def test_the_tables_are_as_long_as_promised():
    assert len(DANGEROUS) >= 40
    assert len(HARMLESS) >= 20


def test_differences_say_what_was_expected_and_what_was_found():
    report = agree("3秒待ってください。", "30分待たないでください。")
    assert report.differences == (
        Difference("number", "30", "3"), Difference("unit", "min", "s"), Difference("negation", "1", "0"))  # fmt: skip


def test_a_number_that_is_missing_is_no_wrong_unit():
    assert agree("pyupgrade", "flake8").units_ok and not agree("pyupgrade", "flake8").numbers_ok
    assert not agree("5", "5 mm").units_ok


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("二十五個", [Quantity("25", "個")]),
        ("百二十メートル", [Quantity("120", "m")]),
        ("一〇五号", [Quantity("105", "号")]),
        ("2億3千万円", [Quantity("230000000", "円")]),
        ("1.5万人", [Quantity("15000", "人")]),
        ("1万2千500個", [Quantity("12500", "個")]),
        ("三百五十万円", [Quantity("3500000", "円")]),
        ("5 a day", [Quantity("5", "")]),
        ("一日三回", [Quantity("1", "日"), Quantity("3", "回")]),
        ("24時間365日", [Quantity("24", "h"), Quantity("365", "日")]),
        ("5mm2", [Quantity("5", "mm2")]),
        ("3本-5本", [Quantity("3", "本"), Quantity("5", "本")]),
        ("one million", [Quantity("1000000", "")]),
        ("1.50 kg", [Quantity("1.5", "kg")]),
        ("±0.1mm", [Quantity("±0.1", "mm")]),
        ("3/4 inch", [Quantity("3/4", "inch")]),
        ("version 1.2.10", [Quantity("1.2.10", "")]),
        ("2024-05-01", [Quantity("2024-05-01", "")]),
        ("¥500", [Quantity("500", "円")]),
        ("60 km/h", [Quantity("60", "km/h")]),
        ("最大5回", [Quantity("5", "回", "≤")]),
        ("A-100", [Quantity("100", "")]),
        ("twenty-five metres", [Quantity("25", "m")]),
        ("十分な時間", []),
        ("統一する", []),
    ],
)
def test_quantities(text, expected):
    found, _ = quantities(text)
    assert found == expected


@given(st.text(max_size=60))
def test_any_text_agrees_with_itself(text):
    assert agree(text, text).ok


@given(st.decimals("0.001", "99999", places=3), st.sampled_from(["mm", "kg", "分", "℃", "V"]))
def test_full_width_is_the_same_and_ten_times_is_not(number, unit):
    wide = str(number).translate({ord(half): ord(half) + 0xFEE0 for half in "0123456789."})
    assert agree(f"{wide}{unit}", f"{number}{unit}").ok
    assert not agree(f"{number * 10}{unit}", f"{number}{unit}").numbers_ok


@pytest.mark.parametrize("text", ["一" * 4500, "9" * 4500, "1e" + "9" * 900, "千" * 4500, "1万" * 3000, "1e999"])
def test_long_runs_of_digits_are_read_without_harm(text):
    assert agree(text, text).ok


def test_facts_is_a_multiset():
    assert facts("5mmと3mmと5mm").quantities == (Quantity("3", "mm"), Quantity("5", "mm"), Quantity("5", "mm"))
