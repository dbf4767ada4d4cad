"""The papers of a kind of work for the person who fills them in: intake form, evaluation plan, example rows, guide.

Called by `tsugiki templates` and by `tsugiki poc --write-intake --kind`. Every paper comes from the kind's own texts
(work/kinds.py) in one language, with the numbers of rows computed; a blank stays a blank.
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsugiki.config import Criteria, KindName, LanguageName
from tsugiki.errors import UsageError
from tsugiki.files import make_folder, write_text
from tsugiki.measure.sample_size import POWER
from tsugiki.report.words import filled, name_of, say
from tsugiki.work.intake import Form, starter
from tsugiki.work.kinds import DIFFERING, KINDS, Kind, Rows, Sizes, Text, example_rows, read_kind, sizes_of

INTAKE, EXAMPLES, PLAN = "intake.yaml", "examples.csv", "evaluation.md"
WIDTH = 108  # of a comment line; Japanese is not broken
SHOWN_ROWS = 2
BYTE_ORDER_MARK = "\ufeff"  # without it spreadsheets take UTF-8 for the local encoding


def kind_starter(name: KindName, language: LanguageName) -> str:
    """The intake of `starter` with the defaults and the advice of this kind."""
    kind = read_kind(name)
    sizes = sizes_of(kind)
    wanted = _notes(kind, sizes, language)
    notes = {key: _wrapped(lines, language) for key, lines in wanted.items()}
    head = [say("template.kind", language, title=kind.says["title"][language], summary=kind.says["summary"][language])]
    for title, lines in _sections(kind, sizes, language):
        head += ["", title, *lines]
    return starter(language, Form(_wrapped(head, language), notes, kind.criteria))


def evaluation_plan(name: KindName, language: LanguageName) -> str:
    """Markdown with blanks: what is right, how it is measured, what is settled before, what is checked after."""
    kind = read_kind(name)
    sizes = sizes_of(kind)
    says = {key: _text(text, sizes, language) for key, text in kind.says.items()}
    margin = say("template.margin_value", language, points=_criteria(kind)["margin_points"])
    columns = [say(f"template.{key}", language) for key in ("item", "value", "how")]
    settled = (("success", say("template.fill", language)), ("withdraw", say("template.fill", language)))
    lines = [
        f"# {say('template.sheet', language, title=says['title'])}",
        "",
        f"{says['summary']}",
        "",
        say("template.who", language),
        *_heading(1, "right", language),
        says["right"],
        "",
        say("template.right_here", language),
        *_heading(2, "measured", language),
        f"{name_of('metric', kind.criteria['metric'], language)} (`{kind.criteria['metric']}`)",
        "",
        says["metric"],
        *_heading(3, "before", language),
        f"| {' | '.join(columns)} |",
        "| --- | --- | --- |",
        *(f"| {say(f'template.{key}', language)} | {blank} | {says[key]} |" for key, blank in settled),
        f"| {say('template.margin_item', language)} | {margin} | {says['margin']} |",
        "",
        f"## 4. {_rows_title(sizes, language)}",
        "",
        *_row_lines(kind, sizes, language),
        *_lead_lines(sizes, language),
        *_margin_lines(sizes, language),
        *_heading(5, "avoid", language),
        *(f"- [ ] {_text(trap, sizes, language)}" for trap in kind.traps),
        *_heading(6, "reading", language),
        *(f"- [ ] {_text(check, sizes, language)}" for check in kind.reading),
        *_heading(7, "closing", language),
        say("template.closing_line", language),
    ]
    return "\n".join(lines) + "\n"


def guide(name: KindName, language: LanguageName) -> str:
    """What a terminal shows about a kind."""
    kind = read_kind(name)
    sizes = sizes_of(kind)
    head, *rows = csv.reader(io.StringIO(example_rows(name, language)))
    lines = [say("template.kind", language, title=kind.says["title"][language], summary=kind.says["summary"][language])]
    lines += ["", say("template.metric", language), _text(kind.says["metric"], sizes, language)]
    for title, section in _sections(kind, sizes, language):
        lines += ["", title, *section]
    lines += ["", say("template.examples", language, count=SHOWN_ROWS)]
    lines += [f"- {column}: {cell}" for row in rows[:SHOWN_ROWS] for column, cell in zip(head, row, strict=True)]
    lines += ["", say("template.write", language, kind=name, language=language)]
    return "\n".join(_wrapped(lines, language)) + "\n"


def listing(language: LanguageName) -> Iterator[tuple[str, str]]:
    """A line per kind for the terminal: its name, and what it is."""
    for name in KINDS:
        kind = read_kind(name)
        texts = {key: kind.says[key][language] for key in ("title", "summary")}
        metric = name_of("metric", kind.criteria["metric"], language)
        yield name, say("template.listed", language, metric=metric, all=sizes_of(kind).start.all, **texts)


def as_json(name: KindName, language: LanguageName) -> dict[str, Any]:
    """Everything about a kind in one language, with the criteria as an intake would hold them (blanks are null)."""
    kind = read_kind(name)
    sizes = sizes_of(kind)
    head, *rows = csv.reader(io.StringIO(example_rows(name, language)))
    return {
        "kind": name,
        "language": language,
        "criteria": _criteria(kind),
        "rows": asdict(sizes),
        "says": {key: _text(text, sizes, language) for key, text in kind.says.items()},
        "traps": [_text(trap, sizes, language) for trap in kind.traps],
        "reading": [_text(check, sizes, language) for check in kind.reading],
        "examples": [dict(zip(head, row, strict=True)) for row in rows],
    }


def write_papers(name: KindName, language: LanguageName, folder: Path) -> tuple[Path, ...]:
    """Intake form, example rows and evaluation plan into `folder`; nothing is written over."""
    papers = {
        INTAKE: kind_starter(name, language),
        EXAMPLES: BYTE_ORDER_MARK + example_rows(name, language),
        PLAN: evaluation_plan(name, language),
    }
    make_folder(folder, "--out")
    for paper in papers:
        if (folder / paper).exists():
            raise UsageError(f"{folder / paper} exists already.", fix="Name another folder with --out, or delete it.")
    for paper, text in papers.items():
        write_text(folder / paper, text)
    return tuple(folder / paper for paper in papers)


def _sections(kind: Kind, sizes: Sizes, language: LanguageName) -> Iterator[tuple[str, list[str]]]:
    yield say("template.row", language), [_text(kind.says["row"], sizes, language)]
    yield _rows_title(sizes, language), _row_lines(kind, sizes, language)
    yield say("template.traps", language), [f"- {_text(trap, sizes, language)}" for trap in kind.traps]


def _notes(kind: Kind, sizes: Sizes, language: LanguageName) -> dict[str, list[str]]:
    """By the name of the field of the intake that they stand under."""
    return {
        "purpose": [_text(kind.says["purpose"], sizes, language)],
        "metric": [_text(kind.says["metric"], sizes, language)],
        "success": [_text(kind.says["success"], sizes, language), *_lead_lines(sizes, language)],
        "withdraw": [_text(kind.says["withdraw"], sizes, language)],
        "margin_points": [_text(kind.says["margin"], sizes, language), *_margin_lines(sizes, language)],
    }


def _rows_title(sizes: Sizes, language: LanguageName) -> str:
    return say("template.rows", language, confidence=sizes.confidence, share=sizes.test_share)


def _row_lines(kind: Kind, sizes: Sizes, language: LanguageName) -> list[str]:
    marks = {True: f" <- {say('template.start', language)}", False: ""}
    lines = [
        f"- {say('template.interval', language, **_counts(rows))}{marks[rows == sizes.start]}"
        for rows in sizes.intervals
    ]
    graded = [] if kind.criteria["metric"] == "exact_match" else [f"- {say('template.graded', language)}"]
    alike = f"- {say('template.alike', language)}"
    return [*lines, *graded, alike, f"- {_text(kind.says['rows'], sizes, language)}"]


def _lead_lines(sizes: Sizes, language: LanguageName) -> list[str]:
    return [f"- {say('template.lead', language, power=POWER, **_counts(rows))}" for rows in sizes.leads]


def _margin_lines(sizes: Sizes, language: LanguageName) -> list[str]:
    return [
        f"- {say('template.margin', language, power=POWER, differing=DIFFERING, **_counts(rows))}"
        for rows in sizes.margins
    ]


def _counts(rows: Rows) -> dict[str, Any]:
    return {"wanted": rows.wanted, "test": rows.test, "all": rows.all}


def _heading(number: int, key: str, language: LanguageName) -> list[str]:
    return ["", f"## {number}. {say(f'template.{key}', language)}", ""]


def _criteria(kind: Kind) -> dict[str, Any]:
    """Every field of the criteria: the kind's default, that of `config`, or null where a person has to decide."""
    return {
        name: kind.criteria.get(name, None if asked.is_required() else asked.default)
        for name, asked in Criteria.model_fields.items()
    }


def _text(text: Text, sizes: Sizes, language: LanguageName) -> str:
    return filled(text[language], language, per_label=sizes.per_label, review=sizes.review)


def _wrapped(lines: Sequence[str], language: LanguageName) -> list[str]:
    """English to the width of a page; Japanese is left to the editor, which breaks it where it likes."""
    if language == "ja":
        return list(lines)
    found: list[str] = []
    for line in lines:
        indent = "  " if line.startswith("- ") else ""
        found += textwrap.wrap(
            line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return found
