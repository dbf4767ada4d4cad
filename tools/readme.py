"""Write the parts of README.md and README.ja.md that repeat other files: the tree of files and the table of results.

Called by `make readme`; tests/test_house.py calls `blocks` and compares. A part stands between two marks,
`<!-- tree -->` and `<!-- /tree -->`; everything outside the marks is written by hand and left as it is.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from pathlib import Path
from typing import Any

from tsugiki.report.figures import Language
from tsugiki.report.words import name_of, reason_sentence, say

ROOT = Path(__file__).resolve().parents[1]
READMES: dict[Language, Path] = {"en": ROOT / "README.md", "ja": ROOT / "README.ja.md"}
RESULTS = ROOT / "benchmarks" / "results"
RACES = ("speed-bfloat16", "speed")  # one per kind of processor
PLAIN_ROWS = ("short rows", "long rows")
WIDEST = 88  # characters of a description

# Folders that are one line each: their files mirror the source tree or are plain records.
FOLDERS = {
    "tests": "the same tree as src/tsugiki, and test_house.py, which holds the house to its rules",
    "benchmarks/results": "what was measured, as JSON with the machine it was measured on",
    "docs": "user guide in English and Japanese, decisions, the log of what was tried",
    "requirements": "packages that are pinned apart: model weights, the peers of the benchmarks",
}

WORDS = {
    "en": {
        "head": ("method", "quality [interval]", "trained", "stored", "training memory"),
        "study": "From the description of an electronic part to its library, of 62 (task E1 of docs/benchmarks.md), "
        "{train} training and {test} test rows, one seed; exact match:",
        "verdict": "The verdict of this study: **{verdict}**. {reason}",
        "speed": (
            "Training against TRL + PEFT at its defaults, which recompute activations (same rows, steps and number "
            "format; LoRA r 16, SmolLM2-135M, {machine}; medians of pairs in turn):"
        ),
        "line": (
            "{setting}: {speed:.2f} times the tokens per second, {memory:.2f} times the peak memory (pairs: {pairs})"
        ),
        "settings": {},
    },
    "ja": {
        "head": ("方式", "品質［区間］", "学習した割合", "保存サイズ", "学習時メモリ"),
        "study": "電子部品の説明から、62 種類のライブラリのどれに入るかを答える課題（docs/benchmarks.md の E1）。"
        "学習 {train} 件、評価 {test} 件、シード 1 通り、指標は正答率：",
        "verdict": "この検証の結論：**{verdict}**。{reason}",
        "speed": (
            "TRL + PEFT（既定の設定。途中の値を計算し直す）との学習の比較。データ、ステップ数、数値型は同じ"
            "（LoRA r 16、SmolLM2-135M、{machine}、交互に測った組の中央値）："
        ),
        "line": "{setting}：1 秒あたりのトークン数は {speed:.2f} 倍、最大メモリは {memory:.2f} 倍（{pairs} 組）",
        "settings": {"short rows": "短い行", "long rows": "長い行"},
    },
}


def blocks(language: Language) -> dict[str, str]:
    """The generated parts of one README, by the name of their mark."""
    return {"tree": f"```\n{tree()}\n```", "results": results(language)}


def fill(text: str, parts: dict[str, str]) -> str:
    """`text` with each part between its marks; a README without the marks is refused."""
    for name, part in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found_start, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found_start and found_end):
            raise ValueError(f"the marks {start.strip()} and {end} are missing")
        text = before + start + (part + "\n" if part else "") + end + after
    return text


def tree() -> str:
    """A line per file: its name, and the first sentence of its docstring."""
    lines: list[tuple[str, str]] = []
    _add_folder(ROOT / "src" / "tsugiki", "src/tsugiki/", lines)
    for folder in ("benchmarks", "tools"):
        _add_folder(ROOT / folder, f"{folder}/", lines)
    lines += [(f"{name}/", said) for name, said in FOLDERS.items() if "/" not in name]
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{said}".rstrip() for name, said in lines)


def results(language: Language) -> str:
    """The study of benchmarks/results/e1.json and the races of RACES, or nothing before they were measured."""
    parts = []
    if (path := RESULTS / "e1.json").is_file():
        parts.append(_study_table(_read_json(path), language))
    races = (path for name in RACES if (path := RESULTS / f"{name}.json").is_file())
    parts += [_speed_lines(_read_json(path), WORDS[language]) for path in races]
    return "\n\n".join(parts)


def _add_folder(folder: Path, title: str, lines: list[tuple[str, str]], depth: int = 0) -> None:
    lines.append(("  " * depth + title, _folder_line(folder)))
    inner = "  " * (depth + 1)
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.name.startswith((".", "__pycache__")) or _is_empty_init(path):
            continue
        if path.is_file():
            lines.append((inner + path.name, _first_sentence(path)))
        elif any(path.rglob("*.py")):
            _add_folder(path, f"{path.name}/", lines, depth + 1)
        else:
            lines.append((f"{inner}{path.name}/", _folder_line(path) or _names(path)))


def _folder_line(folder: Path) -> str:
    return FOLDERS.get(folder.relative_to(ROOT).as_posix(), "")


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))


def _is_empty_init(path: Path) -> bool:
    return path.name == "__init__.py" and path.stat().st_size == 0


def _first_sentence(path: Path) -> str:
    """The first sentence of the docstring, title or opening comment, or as many of its clauses as fit."""
    sentence = re.split(r"\.(?:\s|$)", " ".join(_opening(path).split()), maxsplit=1)[0].replace("`", "")
    while len(sentence) > WIDEST and (cut := max(sentence.rfind(mark) for mark in (";", ":", ",", " ("))) > 0:
        sentence = sentence[:cut]
    return sentence


def _opening(path: Path) -> str:
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(content)) or ""
    if path.suffix == ".json":
        return str(json.loads(content).get("title", ""))
    comment = itertools.takewhile(lambda line: line.startswith("#"), content.splitlines())
    return " ".join(line.lstrip("# ") for line in comment)


def _study_table(card: dict[str, Any], language: Language) -> str:
    words, task = WORDS[language], card["task"]
    rows = [
        (name_of("reference", item["name"], language), _quality(item["quality"]), "", "", "")
        for item in card["reference"]
        if item["quality"]["estimate"] is not None
    ]
    rows += [
        (
            f"**{name_of('method', item['name'], language)}**",
            _quality(item["quality"]),
            _said(item["trainable_share"], lambda share: f"{share:.2%}"),
            _said(item["adapter_bytes"], lambda size: f"{size / 1e6:.1f} MB"),
            _said(item["peak_memory_bytes"], lambda size: f"{size / 2**30:.2f} GiB"),
        )
        for item in card["methods"]
    ]
    head = words["head"]
    table = [head, tuple("---" for _ in head), *rows]
    first = card["verdict"]["codes"][0]
    verdict = words["verdict"].format(
        verdict=say(f"verdict.{card['verdict']['value']}", language),
        reason=reason_sentence(first["code"], first["values"], language),
    )
    lines = "\n".join("| " + " | ".join(row) + " |" for row in table)
    return f"{words['study'].format(**task)}\n\n{lines}\n\n{verdict}"


def _speed_lines(race: dict[str, Any], words: dict[str, Any]) -> str:
    """The settings in which the peer is as a user gets it; docs/performance.md has them all."""
    machine = race["machine"]
    lines = [words["speed"].format(machine=f"{machine['cpu']} × {machine['cores']}"), ""]
    for name, row in race["rows"].items():
        precision, _, rows = name.partition(", ")
        if rows not in PLAIN_ROWS:
            continue
        said = words["line"].format(
            setting=f"{precision}, {words['settings'].get(rows, rows)}",
            speed=row["tokens_per_second_ratio"],
            memory=row["peak_memory_ratio"],
            pairs=len(row["runs"]),
        )
        lines.append(f"- {said}")
    return "\n".join(lines)


def _quality(value: dict[str, Any]) -> str:
    if value["estimate"] is None:
        return "–"
    return f"{value['estimate']:.1%} [{value['low']:.1%}, {value['high']:.1%}]"


def _said(value: Any, say: Any) -> str:
    return "–" if value is None else str(say(value))


def _read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def main() -> None:
    for language, path in READMES.items():
        path.write_text(fill(path.read_text(encoding="utf-8"), blocks(language)), encoding="utf-8")


if __name__ == "__main__":
    main()
