"""Scorecards as studies write them, for the tests of the report floor and for looking at the page by eye."""

from __future__ import annotations

import copy
from typing import Any

from tests.report.money_card import money_of
from tsugiki.report.figures import Language
from tsugiki.report.words import reason_sentence, rule_sentence

MIB = 1024**2
DIGEST = "sha256:" + "3f9a61c07be2d845" * 4
HOSTILE = '<script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)> {{ 7*7 }} \' " & </style>'
# As data/check.py writes them, in English whatever the language of the study.
EXCLUDED = ((17, "the completion is empty"), (203, "same as row 8"), (388, "1,024 tokens, the limit is 512"))

DIFFERENCE = {"method": "lora", "difference": -0.005, "low": -0.019, "high": 0.012, "margin": 0.02, "p": 0.0004}
BETTER = {"method": "lora", "reference": "majority", "difference": 0.475, "low": 0.396, "high": 0.551, "p": 0.00001}
KEPT = {"method": "lora", "loss_before": 3.214, "loss_after": 3.255, "rise": 0.041, "allowed": 0.1}
# Verdict -> quality (estimate, low, high) of its method, the rule that decided, the codes of its reasons.
CASES: dict[str, tuple[tuple[float, float, float], str, list[tuple[str, dict[str, Any]]]]] = {
    "adopt": (
        (0.785, 0.723, 0.836),
        "all_shown",
        [
            ("success_reached", {"success": 0.65}),
            ("beats_reference", BETTER),
            ("non_inferior", DIFFERENCE),
            ("retention_kept", KEPT),
        ],
    ),
    "conditional": (
        (0.705, 0.638, 0.764),
        "success_likely",
        [
            ("success_near", {"success": 0.65}),
            ("beats_reference", BETTER),
            ("non_inferiority_undecided", DIFFERENCE),
            ("retention_kept", KEPT),
            ("few_seeds", {"method": "lora", "seeds": 2, "required": 3}),
        ],
    ),
    "stop": (
        (0.325, 0.264, 0.393),
        "surely_below_withdrawal",
        [
            ("below_withdrawal", {"withdraw": 0.4}),
            ("not_better_than_reference", {**BETTER, "difference": 0.015, "low": -0.06, "high": 0.09, "p": 0.41}),
            ("not_non_inferior", {**DIFFERENCE, "difference": -0.465, "low": -0.53, "high": -0.396}),
            ("retention_kept", KEPT),
        ],
    ),
    "undecidable": (
        (0.62, 0.551, 0.684),
        "success_unsure",
        [
            ("success_possible", {"success": 0.65}),
            ("beats_reference", BETTER),
            ("not_compared_with_full", {"method": "lora"}),
            ("retention_unmeasured", {"method": "lora"}),
            ("needs_examples", {"examples": 1240, "test_items": 310}),
        ],
    ),
}

TEXTS: dict[str, dict[str, Any]] = {
    "ja": {
        "purpose": "保守報告書の自由記述から設備区分コードを自動で付与し、登録作業の転記を減らす",
        "owner": "生産技術部 佐藤 恵",
        "reviewer": "品質保証部 高橋 誠",
        "prompt": "報告: コンベア駆動部のベアリングから異音。グリス補給後も改善せず、予備品と交換。\n設備区分: ",
        "reference": "搬送設備",
        "wrong": "プレス設備",
        "warnings": ["計測中に他のプログラムが CPU を使用していたため、学習時間は 1 割ほど長い可能性があります。"],
        "failure": "メモリ不足のため学習できませんでした（必要量の見積り 2.6 GiB、空き 1.9 GiB）。",
        "does_not_fit": "このマシンのメモリに収まりませんでした（必要量の見積り 2.6 GiB）",
        "no_time": "制限時間のため測定していません",
        "no_money": "マシンの時間単価が設定されていません",
    },
    "en": {
        "purpose": "Assign the equipment class to free-text maintenance reports and save the manual re-keying",
        "owner": "Megumi Sato, Production Engineering",
        "reviewer": "Makoto Takahashi, Quality Assurance",
        "prompt": "Report: noise from the conveyor drive bearing; greasing did not help, replaced with spare.\nClass: ",
        "reference": "Conveying",
        "wrong": "Pressing",
        "warnings": ["Other programs used the CPU during the measurement; training times may be some 10% too long."],
        "failure": "Training did not fit into memory (estimated need 2.6 GiB, free 1.9 GiB).",
        "does_not_fit": "did not fit into this machine's memory (estimated need 2.6 GiB)",
        "no_time": "left out to stay within the time budget",
        "no_money": "no price per machine hour is set",
    },
}


def full_card(language: Language = "ja", verdict: str = "adopt") -> dict[str, Any]:
    """A complete study: four methods, three seeds, four references, a learning curve and everything around them."""
    text = TEXTS[language]
    (value, low, high), rule, codes = CASES[verdict]
    seen = {"method": "lora", "value": value, "low": low, "high": high, "bound": -0.016, "confidence": 0.95}
    study = _study(text)
    card: dict[str, Any] = {
        "schema": 1,
        "language": language,
        "verdict": {
            "value": verdict,
            "method": "lora",
            "rule": rule_sentence(rule, study["criteria"], language),
            "reasons": [reason_sentence(code, {**seen, **values}, language) for code, values in codes],
            "needed_examples": 1240 if verdict == "undecidable" else None,
        },
        "task": {"kind": "labels", "metric": "exact_match", "train": 500, "dev": 100, "test": 200},
        "reference": [
            {"name": "base", "quality": quality(0.04, 0.02, 0.077)},
            {"name": "k-shot", "quality": quality(0.095, 0.062, 0.144)},
            {"name": "copy", "quality": quality(0.0, 0.0, 0.019)},
            {"name": "majority", "quality": quality(0.31, 0.25, 0.377)},
        ],
        "methods": [_lora(text), _adapter(text), _hybrid(text), _full(text)],
        "learning_curve": _curve(),
        "machine": {
            "cpu": "Intel Xeon Gold 6338 (avx2, avx512f)",
            "cores": 2,
            "memory_bytes": 8 * 1024 * MIB,
            "accelerator": None,
            "system": "Linux x86_64",
            "python": "3.11.9",
            "fingerprint": DIGEST,
        },
        "data": {
            "rows": 803,
            "used": 800,
            "digest": DIGEST,
            "excluded": [{"row": row, "reason": reason} for row, reason in EXCLUDED],
        },
        "data_check": _data_check(),
        "study": study,
        "examples": _examples(text),
        "failures": [],
        "warnings": list(text["warnings"]),
        "provenance": {
            "reference": ["base-0", "kshot-0"],
            "methods.lora": ["lora-500-0", "lora-500-1", "lora-500-2"],
            "methods.full": ["full-500-0", "full-500-1", "full-500-2"],
            "learning_curve": ["lora-125-0", "lora-250-0", "lora-500-0"],
        },
        "versions": {"tsugiki": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "money": money_of(language, value, low, high),
    }
    _suit(card["methods"][0], quality(value, low, high), {code for code, _ in codes}, text)
    return copy.deepcopy(card)


def _suit(method: dict[str, Any], scored: dict[str, Any], codes: set[str], text: dict[str, Any]) -> None:
    """Make the method's numbers say what the reasons of the verdict say."""
    method["quality"] = scored
    method["by_seed"] = [{"seed": seed, "quality": {**scored, "n": 200}} for seed in method["seeds"]]
    if "non_inferiority_undecided" in codes:
        method["against_full"]["non_inferior"] = None
    if "not_non_inferior" in codes:
        method["against_full"] = {"difference": difference(-0.465, -0.53, -0.396), "non_inferior": False}
    if "not_compared_with_full" in codes:
        method |= {"against_full": None, "reasons": {**method["reasons"], "against_full": text["does_not_fit"]}}
    if "retention_unmeasured" in codes:
        method |= {"retention": None, "reasons": {**method["reasons"], "retention": text["no_time"]}}
    if "few_seeds" in codes:
        method |= {"seeds": [0, 1], "trials": method["trials"][:2], "by_seed": method["by_seed"][:2]}


def does_not_fit_card(language: Language = "ja") -> dict[str, Any]:
    """Full fine-tuning failed: nulls everywhere in its column, no comparison for the others."""
    card, text = full_card(language, "conditional"), TEXTS[language]
    full = card["methods"][3]
    for field in ("peak_memory_bytes", "train_seconds", "tokens_per_second", "latency", "change", "retention"):
        full[field] = None
    full["quality"] = {**full["quality"], "estimate": None, "low": None, "high": None, "n": 0}
    full["quality"]["reason"] = text["does_not_fit"]
    full.pop("facts"), full.pop("memory"), full.pop("by_seed"), full.pop("dev_loss")
    full["reasons"] = dict.fromkeys(
        ("peak_memory_bytes", "train_seconds", "tokens_per_second", "latency", "change", "retention", "cost"),
        text["does_not_fit"],
    )
    for method in card["methods"][:3]:
        method["against_full"] = None
        method["reasons"] = {**method["reasons"], "against_full": text["does_not_fit"]}
    card["failures"] = [{"trial": "full-500-0", "reason": text["failure"]}]
    card["money"] = None
    return card


def small_card(language: Language = "ja") -> dict[str, Any]:
    """One method, one seed, few rows, no learning curve, only what the contract asks for."""
    card = full_card(language, "undecidable")
    text = TEXTS[language]
    method = card["methods"][0]
    keep = ("name", "plan", "quality", "trainable_share", "adapter_bytes", "peak_memory_bytes", "train_seconds")
    card["methods"] = [
        {key: method[key] for key in (*keep, "tokens_per_second")}
        | {"quality": quality(0.62, 0.41, 0.79, n=21), "against_full": None, "latency": None, "change": None}
        | {"retention": None, "cost": None, "seeds": [0], "trials": ["lora-40-0"]}
        | {"reasons": dict.fromkeys(("against_full", "latency", "change", "retention", "cost"), text["no_money"])}
    ]
    card["task"] |= {"train": 40, "dev": 8, "test": 21}
    card["reference"] = card["reference"][:2]
    card["learning_curve"] = None
    for key in ("study", "examples", "failures", "warnings", "provenance", "versions", "data_check", "money"):
        card.pop(key)
    return card


def hostile_card(language: Language = "en") -> dict[str, Any]:
    """Everything a stranger can write into a study, written by a stranger."""
    card = full_card(language)
    card["study"] |= {"purpose": HOSTILE, "owner": HOSTILE, "reviewer": "長" * 300}
    card["study"]["base"]["name"] = "x" * 400
    card["examples"][0] |= {
        "prompt": HOSTILE * 3,
        "reference": "あ" * 2000,
        "answers": {"base": HOSTILE, "lora": HOSTILE},
    }
    card["data"]["excluded"][0]["reason"] = HOSTILE
    card["data_check"]["concerns"] = [{"kind": HOSTILE, "message": HOSTILE, "rows": [1]}]
    card["failures"] = [{"trial": HOSTILE, "reason": HOSTILE}]
    card["warnings"] = [HOSTILE]
    card["money"] |= {"source": HOSTILE, "currency": HOSTILE[:8], "date": HOSTILE, "notes": [HOSTILE]}
    card["provenance"] = {HOSTILE: [HOSTILE]}
    card["machine"]["cpu"] = HOSTILE
    card["verdict"]["reasons"][0] = HOSTILE
    card["learning_curve"]["points"][0]["quality"]["reason"] = HOSTILE
    return card


def every_card() -> dict[str, dict[str, Any]]:
    """All of them by a name for the test's report."""
    from tests.report.sliced import sliced_card  # which is made from these

    cards = {}
    languages: tuple[Language, ...] = ("ja", "en")
    for language in languages:
        for verdict in CASES:
            cards[f"{language}-{verdict}"] = full_card(language, verdict)
        cards[f"{language}-does-not-fit"] = does_not_fit_card(language)
        cards[f"{language}-small"] = small_card(language)
        cards[f"{language}-sliced"] = sliced_card(language)
        cards[f"{language}-hostile"] = hostile_card(language)
    return cards


def quality(
    estimate: float, low: float, high: float, *, n: int = 200, method: str = "Wilson, over items and 3 seeds"
) -> dict[str, Any]:
    return {"metric": "exact_match", "estimate": estimate, "low": low, "high": high, "n": n, "method": method}


def difference(estimate: float, low: float, high: float) -> dict[str, Any]:
    return quality(estimate, low, high, method="BCa bootstrap, over items and 3 seeds")


def _method(name: str, plan: str, scored: dict[str, Any], rate: float, spread: tuple[float, ...]) -> dict[str, Any]:
    return {
        "name": name,
        "plan": plan,
        "quality": scored,
        "seeds": [0, 1, 2],
        "trials": [f"{name}-500-{seed}" for seed in (0, 1, 2)],
        "recipe": {"learning_rate": rate, "tries": 3, "max_steps": 300, "batch_size": 8},
        "by_seed": [
            {"seed": seed, "quality": quality(value, value - 0.06, value + 0.055)} for seed, value in enumerate(spread)
        ],
        "cost": None,
    }


def _lora(text: dict[str, Any]) -> dict[str, Any]:
    return _method("lora", "lora r=16 alpha=32 all-linear", quality(0.785, 0.723, 0.836), 1e-3, (0.785, 0.78, 0.79)) | {
        "against_full": {"difference": difference(-0.005, -0.019, 0.012), "non_inferior": True},
        "trainable_share": 0.0353,
        "adapter_bytes": 19_562_000,
        "peak_memory_bytes": 905 * MIB,
        "train_seconds": 204.4,
        "tokens_per_second": 1482.0,
        "latency": [
            {"batch": 1, "weights": "merged", "first_token_ms": 41.2, "per_token_ms": 18.3},
            {"batch": 1, "weights": "unmerged", "first_token_ms": 58.9, "per_token_ms": 29.4},
            {"batch": 16, "weights": "merged", "first_token_ms": 212.0, "per_token_ms": 44.0},
            {"batch": 16, "weights": "unmerged", "first_token_ms": 251.0, "per_token_ms": 60.2},
        ],
        "change": {"load_ms": 38.0, "swap_ms": 4.1, "rollback_ms": 3.9},
        "retention": {"loss_before": 3.214, "loss_after": 3.255},
        "facts": {"n": 200, "numbers_wrong": 3, "units_wrong": 0, "negation_wrong": 1},
        "dev_loss": 0.412,
        "memory": {"train_bytes": 905 * MIB, "inference_bytes": 588 * MIB},
        "reasons": {"cost": text["no_money"]},
    }


def _adapter(text: dict[str, Any]) -> dict[str, Any]:
    scored = quality(0.755, 0.691, 0.809)
    return _method("adapter", "houlsby width=48", scored, 1e-3, (0.755, 0.74, 0.77)) | {
        "against_full": {"difference": difference(-0.035, -0.071, 0.001), "non_inferior": None},
        "trainable_share": 0.0241,
        "adapter_bytes": 13_400_000,
        "peak_memory_bytes": 930 * MIB,
        "train_seconds": 188.0,
        "tokens_per_second": 1611.0,
        "latency": [
            {"batch": 1, "weights": "unmerged", "first_token_ms": 52.0, "per_token_ms": 24.9},
            {"batch": 16, "weights": "unmerged", "first_token_ms": 239.0, "per_token_ms": 52.2},
        ],
        "change": {"load_ms": 29.0, "swap_ms": 3.2, "rollback_ms": 3.0},
        "retention": {"loss_before": 3.214, "loss_after": 3.291},
        "facts": {"n": 200, "numbers_wrong": 4, "units_wrong": 1, "negation_wrong": 1},
        "dev_loss": 0.451,
        "memory": {"train_bytes": 930 * MIB, "inference_bytes": 601 * MIB},
        "reasons": {"cost": text["no_money"]},
    }


def _hybrid(text: dict[str, Any]) -> dict[str, Any]:
    scored = quality(0.795, 0.734, 0.845)
    return _method("hybrid", "block 29 full, others lora r=16", scored, 5e-4, (0.795, 0.79, 0.80)) | {
        "against_full": {"difference": difference(0.005, -0.013, 0.024), "non_inferior": True},
        "trainable_share": 0.0607,
        "adapter_bytes": 34_210_000,
        "peak_memory_bytes": 1020 * MIB,
        "train_seconds": 236.0,
        "tokens_per_second": 1284.0,
        "latency": [
            {"batch": 1, "weights": "merged", "first_token_ms": 41.3, "per_token_ms": 18.2},
            {"batch": 16, "weights": "merged", "first_token_ms": 211.0, "per_token_ms": 44.3},
        ],
        "change": {"load_ms": 61.0, "swap_ms": 12.0, "rollback_ms": 11.4},
        "retention": {"loss_before": 3.214, "loss_after": 3.302},
        "facts": {"n": 200, "numbers_wrong": 2, "units_wrong": 0, "negation_wrong": 1},
        "dev_loss": 0.405,
        "memory": {"train_bytes": 1020 * MIB, "inference_bytes": 588 * MIB},
        "reasons": {"cost": text["no_money"]},
    }


def _full(text: dict[str, Any]) -> dict[str, Any]:
    return _method("full", "all weights", quality(0.79, 0.729, 0.841), 1e-4, (0.79, 0.775, 0.80)) | {
        "against_full": None,
        "trainable_share": 1.0,
        "adapter_bytes": 538_000_000,
        "peak_memory_bytes": 2710 * MIB,
        "train_seconds": 655.0,
        "tokens_per_second": 462.0,
        "latency": [
            {"batch": 1, "weights": "merged", "first_token_ms": 41.1, "per_token_ms": 18.3},
            {"batch": 16, "weights": "merged", "first_token_ms": 213.0, "per_token_ms": 44.1},
        ],
        "change": {"load_ms": 1840.0, "swap_ms": 1810.0, "rollback_ms": 1822.0},
        "retention": {"loss_before": 3.214, "loss_after": 3.402},
        "facts": {"n": 200, "numbers_wrong": 3, "units_wrong": 0, "negation_wrong": 2},
        "dev_loss": 0.409,
        "memory": {"train_bytes": 2710 * MIB, "inference_bytes": 588 * MIB},
        "reasons": {"cost": text["no_money"]},
    }


def _curve() -> dict[str, Any]:
    points = ((63, 0.41, 0.344, 0.479), (125, 0.56, 0.491, 0.627), (250, 0.69, 0.623, 0.75), (500, 0.785, 0.723, 0.836))
    fitted = [
        (n, 0.95 - 8.2 * n**-0.66) for n in (63, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, 1000, 1400, 2000)
    ]
    return {
        "method": "lora",
        "points": [{"n": n, "quality": quality(value, low, high)} for n, value, low, high in points],
        "fit": {
            "formula": "0.95 − 8.2 · n^−0.66",
            "points": [{"n": n, "estimate": value, "low": value - 0.04, "high": value + 0.04} for n, value in fitted],
        },
        "target": 0.65,
        "least_data": {"n": 212, "low": 170, "high": 262},
        "forecast": [
            {"n": 1000, "factor": 2, "quality": curve_quality(0.842, 0.79, 0.886), "reaches": 1.0},
            {"n": 2000, "factor": 4, "quality": curve_quality(0.878, 0.81, 0.94), "reaches": 1.0},
        ],
        "forecast_reason": None,
        "advice": advised("reached", (0.998, 1.0, 1.0, 1.0)),
        "backtest": {"n": 500, "quality": curve_quality(0.771, 0.69, 0.85), "measured": 0.785, "holds": True},
    }


def curve_quality(estimate: float, low: float, high: float) -> dict[str, Any]:
    return quality(estimate, low, high, method="learning curve")


def advised(code: str, reaches: tuple[float, ...]) -> dict[str, Any]:
    chances = [
        {"n": factor * 500, "factor": factor, "reaches": chance}
        for factor, chance in zip((1, 2, 4, 10), reaches, strict=True)
    ]
    return {"code": code, "chances": chances}


def _study(text: dict[str, Any]) -> dict[str, Any]:
    return {
        "purpose": text["purpose"],
        "owner": text["owner"],
        "reviewer": text["reviewer"],
        "created": "2026-11-23T09:30:00+09:00",
        "criteria": {
            "metric": "exact_match",
            "success": 0.65,
            "withdraw": 0.4,
            "margin_points": 2.0,
            "margin_gain_share": 0.02,
            "retention_loss": 0.1,
            "confidence": 0.95,
        },
        "base": {"name": "smollm2-135m", "digest": DIGEST, "parameters": 134_515_008, "precision": "float32"},
        "design": {
            "methods": ["lora", "adapter", "hybrid", "full"],
            "seeds": [0, 1, 2],
            "sizes": [63, 125, 250, 500],
            "tries": 3,
            "cut": [{"what": "curve_seeds", "before": 3, "after": 1, "minutes": 6.5, "names": []}],
        },
        "budget": {"minutes": 60, "used_minutes": 52.4},
    }


def _data_check() -> dict[str, Any]:
    """The part of data/check.py's Findings.as_json() that the page shows."""
    return {
        "rows": 803,
        "used": 800,
        "excluded": [{"row": row, "reason": reason} for row, reason in EXCLUDED],
        "concerns": [
            {"kind": "contradiction", "message": "2 prompts have several different answers.", "rows": [11, 52, 80, 91]},
            {"kind": "near-duplicate", "message": "28 rows in 14 groups.", "rows": list(range(100, 128))},
        ],
        "sensitive": [{"kind": "phone", "row": 301, "field": "prompt", "excerpt": "tel *** "}],
        "closed_labels": True,
        "labels": {"counts": [["A", 248], ["B", 200], ["C", 3]], "majority_share": 0.31, "rare": ["C"]},
        "prompt_characters": {"minimum": 12, "median": 61.0, "p95": 142, "maximum": 388, "n": 800},
        "completion_characters": {"minimum": 2, "median": 4.0, "p95": 8, "maximum": 12, "n": 800},
        "tokens": {"minimum": 9, "median": 48.5, "p95": 120, "maximum": 301, "n": 800},
        "languages": {"ja": 780, "en": 15, "other": 5},
        "groups": [[100, 101], [102, 103]],
    }


def _examples(text: dict[str, Any]) -> list[dict[str, Any]]:
    right, wrong = text["reference"], text["wrong"]
    common = {"prompt": text["prompt"], "reference": right}
    return [
        {"row": 41, **common, "answers": {"base": wrong, "lora": right}, "scores": {"base": 0.0, "lora": 1.0}},
        {"row": 97, **common, "answers": {"base": "", "lora": right}, "scores": {"base": 0.0, "lora": 1.0}},
        {"row": 350, **common, "answers": {"base": wrong, "lora": wrong}, "scores": {"base": 0.0, "lora": 0.0}},
    ]
