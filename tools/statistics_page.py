"""Write the tables of docs/statistics.md and its Japanese twin from benchmarks/results: `make statistics`.

Only what stands between the marks is written; the text around it is a person's. A test compares page and results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.readme import fill
from tsugiki.report.figures import Language
from tsugiki.report.words import say

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES: dict[Language, Path] = {"en": ROOT / "docs" / "statistics.md", "ja": ROOT / "docs" / "statistics.ja.md"}
CLAIMS = {  # part and name of the rate over whole studies, and what it is a share of
    "claimed": ("identical", "difference_claimed", "comparisons"),
    "inferior": ("identical", "called_inferior", "comparisons"),
    "margin": ("at_the_margin", "called_non_inferior", "studies"),
}
VERDICTS = ("adopt", "conditional", "undecidable", "stop")

Result = dict[str, Any]

WORDS: dict[Language, dict[str, Any]] = {
    "en": {
        "missing": "Not measured yet.",
        "coverage": ("what", "scores", "interval", "settings", "covered, lowest", "mean", "highest"),
        "mean": "quality",
        "difference": "difference",
        "grouped": ", in groups",
        "runs": "{runs} simulated test sets per setting of items, seeds and quality.",
        "curve": ("curves", "read by", "least data: covered", "given", "2×: mean error", "to a measurement", "bias",
                  "covered", "4×: mean error", "covered"),
        "studies": "{simulated} simulated and {real} real studies, intervals of 90 %; errors in points.",
        "simulated": "simulated",
        "real": "real",
        "rivals": {"ours": "tsugiki", "one power law": "one power law, least squares",
                   "straight line": "straight line in log n", "last point": "no gain from data"},
        "shapes": {},
        "shuffled": ("shuffled answers", "studies", *VERDICTS),
        "settings": {},
        "really": "four classes of E1, really trained, every other gate open",
        "rates": ("claim, always false here", "where", "rate", "95 % interval"),
        "claimed": "a difference to full is claimed (identical methods)",
        "inferior": "called worse by more than the margin (identical methods)",
        "margin": "called non-inferior (truly worse by the margin)",
        "whole": "{count} comparisons in whole studies",
        "alone": "scores alone, mean of {count} settings",
        "worst": "scores alone, worst setting",
        "power": ("margin", "test items", "true quality − criterion", "runs", *VERDICTS),
        "points": "{value:g} points",
    },
    "ja": {
        "missing": "まだ測定していません。",
        "coverage": ("対象", "スコア", "区間", "条件の数", "被覆率の最低", "平均", "最高"),
        "mean": "品質",
        "difference": "差",
        "grouped": "（組あり）",
        "runs": "評価件数、シード数、品質の条件ごとに {runs} 組の評価データを模擬しました。",
        "curve": ("曲線", "読み方", "必要データ量の被覆率", "推定できた割合", "2 倍の平均誤差", "実測との差", "偏り",
                  "被覆率", "4 倍の平均誤差", "被覆率"),
        "studies": "模擬 {simulated} 件と実データ {real} 件のスタディ、90 % 区間。誤差はポイント。",
        "simulated": "模擬",
        "real": "実データ",
        "rivals": {"ours": "tsugiki", "one power law": "べき乗則 1 本（最小二乗）",
                   "straight line": "log n の直線", "last point": "データ増の効果なしと見る"},
        "shapes": {"all": "すべて", "power law": "べき乗則", "exponential": "指数", "late": "遅い立ち上がり",
                   "flat": "平坦", "broken": "二段階", "kinked": "頭打ち"},
        "shuffled": ("回答を混ぜたデータ", "件数"),
        "settings": {"six answers": "6 種類の回答", "two answers": "2 種類の回答",
                     "six answers, every other gate open": "6 種類の回答、比較対象以外の条件をすべて外したもの"},
        "really": "E1 の 4 種類の回答（実際に学習）、比較対象以外の条件をすべて外したもの",
        "rates": ("主張（ここではすべて誤り）", "対象", "割合", "95 % 区間"),
        "claimed": "フルとの差があるとした（同じ実力の方式）",
        "inferior": "許容差を超えて劣るとした（同じ実力の方式）",
        "margin": "非劣性とした（ちょうど許容差だけ劣る方式）",
        "whole": "スタディ全体での比較 {count} 回",
        "alone": "スコアのみ、{count} 条件の平均",
        "worst": "スコアのみ、最も悪い条件",
        "power": ("許容差", "評価件数", "真の品質 − 成功基準", "回数"),
        "points": "{value:g} ポイント",
    },
}  # fmt: skip


def main() -> None:
    for language, page in PAGES.items():
        page.write_text(written(page.read_text(encoding="utf-8"), language), encoding="utf-8")


def written(text: str, language: Language) -> str:
    return fill(text, {name: part(language) for name, part in PARTS.items()})


def coverage(language: Language) -> str:
    words, found = WORDS[language], _read("coverage")
    if found is None:
        return words["missing"]
    kinds: dict[tuple[str, str, str], list[float]] = {}
    for row in found["rows"]:
        what = words[row["interval"]] + (words["grouped"] if row["grouped"] else "")
        scores, method = row["scores"], row["method"][0].split(",")[0]
        kinds.setdefault((what, scores, method), []).append(row["covered"]["rate"])
    rows = [
        (*kind, str(len(rates)), _percent(min(rates)), _percent(sum(rates) / len(rates)), _percent(max(rates)))
        for kind, rates in kinds.items()
    ]
    return "\n\n".join((words["runs"].format(runs=f"{found['runs']:,}"), _table(words["coverage"], rows)))


def curves(language: Language) -> str:
    words, found = WORDS[language], _read("curves")
    if found is None:
        return words["missing"]
    kinds = ("simulated", "real")
    rows = [
        _curve_row(f"{words[kind]}: {words['shapes'].get(name, name)}", words["rivals"][rival], row)
        for kind in kinds
        for rival, by_name in found[kind].items()
        for name, row in by_name.items()
        if name == "all" or (rival == "ours" and kind == "simulated")
    ]
    counts = {
        kind: f"{found[kind]['ours']['all']['studies']:,}" if kind in found else "0" for kind in ("simulated", "real")
    }
    return "\n\n".join((words["studies"].format(**counts), _table(words["curve"], rows)))


def _curve_row(name: str, rival: str, row: Result) -> tuple[str, ...]:
    least, near, far = row["least data"], row["forecast 2x"], row["forecast 4x"]
    covered = "–" if least["covered"] is None else _percent(least["covered"])
    return (name, rival, covered, _percent(least["given"]), _points(near["mean absolute error"]),
            _points(near["mean absolute error to a measurement"]),
            f"{100 * near['mean error']:+.1f}", _percent(near["covered"]), _points(far["mean absolute error"]),
            _percent(far["covered"]))  # fmt: skip


def false_verdicts(language: Language) -> str:
    words, found = WORDS[language], _read("false_verdicts")
    if found is None:
        return words["missing"]
    verdicts = tuple(say(f"verdict.{name}", language) for name in VERDICTS)
    heads = words["shuffled"] if language == "en" else (*words["shuffled"], *verdicts)
    shuffled = [
        (
            words["settings"].get(name, name),
            str(row["studies"]),
            *(str(row["verdicts"].get(one, 0)) for one in VERDICTS),
        )
        for name, row in found["shuffled"].items()
    ]
    if (real := _read("shuffled")) is not None:
        given = [study["verdict"] for study in real["studies"]]
        shuffled.append((words["really"], str(len(given)), *(str(given.count(one)) for one in VERDICTS)))
    rates = []
    for key, (part, name, of) in CLAIMS.items():
        whole, levels = found[part], [row[name] for row in found["levels"]]
        mean, worst = sum(rate["rate"] for rate in levels) / len(levels), max(levels, key=lambda rate: rate["rate"])
        rates += [
            (words[key], words["whole"].format(count=whole[of]), *_rate(whole[name])),
            (words[key], words["alone"].format(count=len(levels)), _percent(mean), ""),
            (words[key], words["worst"], *_rate(worst)),
        ]
    return "\n\n".join((_table(heads, shuffled), _table(words["rates"], rates)))


def power(language: Language) -> str:
    words, found = WORDS[language], _read("false_verdicts")
    if found is None:
        return words["missing"]
    heads = words["power"]
    if language == "ja":
        heads = (*heads, *(say(f"verdict.{name}", "ja") for name in VERDICTS))
    rows = [
        (words["points"].format(value=row["margin_points"]), str(row["items"]), f"{100 * row['above']:+.0f}",
         str(row["runs"]), *(_percent(row["verdicts"].get(one, 0) / row["runs"]) for one in VERDICTS))
        for row in found["power"]
    ]  # fmt: skip
    return _table(heads, rows)


PARTS: dict[str, Callable[[Language], str]] = {
    "coverage": coverage,
    "curves": curves,
    "false-verdicts": false_verdicts,
    "power": power,
}


def _rate(rate: Result) -> tuple[str, str]:
    return _percent(rate["rate"]), f"{100 * rate['low']:.1f}–{100 * rate['high']:.1f} %"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _read(name: str) -> Result | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
