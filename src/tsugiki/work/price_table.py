"""The price table as a file: a commented starter to fill in, and reading it back.

Called by the commands `poc`, `prices` and `money`. The questions and the English comments are the descriptions of the
fields in measure/prices.py. Numbers are taken as they are written and nothing is guessed: 1,200 and 60% are refused
with what to write instead. A line or a section left blank is an amount that was not given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tsugiki.config import Knobs, LanguageName, parse
from tsugiki.errors import UsageError
from tsugiki.measure.cost import Machine, rate_for, rates
from tsugiki.measure.prices import BusinessCase, OnPremises, Prices, Reserved
from tsugiki.yaml_once import read_yaml

STARTER_HINT = "Write a starter with `tsugiki prices --write FILE` and fill it in."
SECTIONS: Mapping[str, type[Knobs]] = {
    "cpu_reserved": Reserved,
    "cpu_on_premises": OnPremises,
    "gpu_reserved": Reserved,
    "gpu_on_premises": OnPremises,
    "business_case": BusinessCase,
}
TEXTS = ("currency", "date", "source", "serving", "training_paid", "serving_paid")
BLANK = ("", "~", "null")
LONGEST_NUMBER = 40  # characters
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
DECORATED = re.compile(r"[¥$€]?\s*(?P<number>\d{1,3}(,\d{3})+(\.\d+)?|\d+(\.\d+)?)\s*(?P<unit>円|%)?", re.ASCII)

HEAD = """\
# Prices and business case. Fill in what you know and name where it is from; what stays blank is not counted, and the
# scorecard says so. Nothing is looked up anywhere. Then run one of:
#   tsugiki poc DATA --base BASE --out STUDY --prices THIS_FILE
#   tsugiki money STUDY --prices THIS_FILE      (a study that has ended; nothing is trained again)
# Plain numbers: 1200, not 1,200; 0.6, not 60%. An amount may be a range: {value: 3, low: 2, high: 4}. Where there is
# none, half to one and a half times the amount is tried out to see which inputs matter.
# A machine may be paid for in one way or in several: an hour (a cloud), a month (reserved), a purchase (on premises).
"""
HEAD_JA = """\
# 単価表と業務の前提です。分かる項目だけ記入し、出所を書いてください。空欄の項目は計上せず、その旨をスコアカードに
# 書きます。外部から単価を取得することはありません。記入したら、次のどちらかを実行してください。
#   tsugiki poc DATA --base BASE --out STUDY --prices THIS_FILE
#   tsugiki money STUDY --prices THIS_FILE      （終わったスタディに使う。学習はやり直さない）
# 数値は 1,200 ではなく 1200、60% ではなく 0.6 と書きます。幅をもたせるときは {value: 3, low: 2, high: 4} と
# 書きます。幅のない項目は、結果への影響を見るために 0.5〜1.5 倍を試します。
# マシンの支払い方は、時間単位（クラウドなど）、月額（予約）、購入（自社設置）から、一つでも複数でも記入できます。
"""
QUESTIONS_JA = {  # what measure/prices.py says about these fields in English
    "currency": "通貨（JPY など）。すべての金額に共通",
    "date": "単価の時点（2026-11 のような月、または 2026-11-05 のような日）",
    "source": "単価の出所（見積書、価格表、仮定など）",
    "wage_hour": "会社が負担する人件費（1 時間あたり）",
    "cpu_hour": "アクセラレータなしのマシン、1 時間の料金",
    "cpu_reserved": "アクセラレータなしのマシンを月額で借りる場合",
    "cpu_on_premises": "アクセラレータなしのマシンを購入する場合",
    "gpu_hour": "アクセラレータ 1 基のマシン、1 時間の料金",
    "gpu_reserved": "アクセラレータ 1 基のマシンを月額で借りる場合",
    "gpu_on_premises": "アクセラレータ 1 基のマシンを購入する場合",
    "business_case": "業務の効果と使い方",
    "month": "1 か月の料金",
    "hours": "1 か月に使う時間（ほかの用途も含む。744 まで）",
    "purchase": "購入価格（付属品や設置を含む）",
    "years": "償却する年数",
    "power_kw": "使用中の消費電力（kW、冷却を含む）",
    "kwh": "電力料金（1 kWh あたり）",
    "utilisation": "全時間のうち使っている割合（ほかの用途も含む。0 より大きく 1 まで）",
    "cases_per_month": "モデルが回答する 1 か月の件数",
    "minutes_saved": "正しい回答 1 件で減る作業時間（分）",
    "minutes_to_check": "回答 1 件ごとに人が確認する時間（分）",
    "minutes_per_wrong": "誤った回答 1 件の修正に余分にかかる時間（分）",
    "right_score": "スタディの指標でこの値以上の回答を正しいとみなす（1 は完全一致）",
    "serving": "as_needed は回答している間だけマシンの費用がかかる、kept_on は専用のマシンを常時動かす",
    "training_paid": "学習に使うマシンの支払い方（cheapest は最も安いもの。ほかに hour、reserved、on_premises）",
    "serving_paid": "回答に使うマシンの支払い方（cheapest は最も安いもの。ほかに hour、reserved、on_premises）",
    "training_rows": "本番の学習に使う件数。空欄ならスタディと同じ",
    "training_steps": "本番の学習のステップ数。空欄ならスタディの規則で決める",
    "changes_per_year": "1 年あたりの更新回数（再学習、確認、入れ替え）",
    "hours_per_change": "更新 1 回にかかる人の作業（時間）。データの用意、確認、承認",
    "setup_hours": "使い始めるまでの人の作業（時間、一度だけ）",
    "setup_cost": "そのほかの一度だけの費用（システム連携など）",
    "upkeep_month": "そのほかの毎月の費用（ライセンスなど）",
    "horizon_months": "効果と費用を合計する期間（月）",
}


def read_prices(path: Path) -> Prices:
    try:
        # Every value as the text that was typed: 12:30 is no number, 010 is not 8, and a date stays a date.
        values = read_yaml(path.read_text(encoding="utf-8-sig"), typed=False)
    except FileNotFoundError:
        raise UsageError(f"There is no price table {path}.", fix="Check the path, or leave it out.") from None
    except OSError as error:
        raise UsageError(
            f"The price table {path} cannot be read: {error.strerror}.", fix="Name a YAML file in UTF-8."
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"The price table {path} is not UTF-8 (byte {error.start}).", fix="Save it as UTF-8."
        ) from None
    except ValueError as error:
        raise UsageError(f"The price table {path}{error}.", fix=STARTER_HINT) from None
    if not isinstance(values, Mapping):
        raise UsageError(f"The price table {path} holds no keys.", fix=STARTER_HINT)
    return parse(Prices, _typed(values, str(path)), source=str(path))


def starter(language: LanguageName = "en") -> str:
    """A YAML file with every question as a comment and no price in it; only what has a default shows one."""
    lines = [HEAD_JA if language == "ja" else HEAD]
    for name, field in Prices.model_fields.items():
        if name in SECTIONS:
            lines += ["", f"# {_question(name, field, language)}", f"{name}:"]
            for key, inner in SECTIONS[name].model_fields.items():
                lines += [f"  # {_question(key, inner, language)}", f"  {key}:{_default_text(inner)}"]
        else:
            lines += [*([""] if name.endswith("_hour") else []), f"# {_question(name, field, language)}", f"{name}:"]
    return "\n".join(lines) + "\n"


def summary_of(prices: Prices) -> dict[str, Any]:
    """What a table comes to: each way of paying as an hour of use and as a month kept on.

    `lacks`: what is still to be filled in before there can be a net value.
    """
    machines: tuple[Machine, ...] = ("cpu", "gpu")
    case = prices.case
    needed = {
        "cases_per_month": case.cases_per_month,
        "minutes_saved": case.minutes_saved,
        "wage_hour": prices.wage_hour,
        "machine_price": next(
            filter(None, (rate_for(prices, machine, case.serving_paid) for machine in machines)), None
        ),
    }
    return {
        **{name: getattr(prices, name) for name in ("currency", "date", "source")},
        "machines": {
            machine: [{"way": one.way, "hour": one.hour, "month": one.month} for one in rates(prices, machine)]
            for machine in machines
        },
        "table": prices.model_dump(mode="json", exclude_none=True),
        "lacks": [name for name, value in needed.items() if value is None],
    }


def _typed(values: Mapping[Any, Any], path: str, place: str = "") -> dict[str, Any]:
    """Without what was left blank, numbers as numbers. A section in which nothing was filled in was left blank."""
    return {str(key): value for key, value in _filled(values, path, place)}


def _filled(values: Mapping[Any, Any], path: str, place: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        where = f"{place}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            if inner := _typed(value, path, where):
                yield key, inner
        elif not (isinstance(value, str) and value.strip() in BLANK):
            yield key, value if key in TEXTS or not isinstance(value, str) else _number(value, f"{path}: {where}")


def _number(text: str, where: str) -> float | int | str:
    plain = unicodedata.normalize("NFKC", text).strip()
    if len(plain) > LONGEST_NUMBER:
        return text
    if NUMBER.fullmatch(text.strip()):
        return int(plain) if plain.isdecimal() else float(plain)
    if found := DECORATED.fullmatch(plain):
        number = float(found["number"].replace(",", "")) / (100 if found["unit"] == "%" else 1)
        raise UsageError(f"{where} must be a plain number, got {text!r}.", fix=f"Write {number:.12g}.")
    return text


def _question(name: str, field: FieldInfo, language: LanguageName) -> str:
    return QUESTIONS_JA[name] if language == "ja" else str(field.description)


def _default_text(field: FieldInfo) -> str:
    return "" if field.default is PydanticUndefined or field.default is None else f" {field.default}"
