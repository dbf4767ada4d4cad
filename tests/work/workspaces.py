"""Workspaces full of scorecards, for the tests of the portfolio on every floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.report.cards import full_card
from tsugiki.report.figures import Language
from tsugiki.report.scorecard import scorecard_bytes

NET = {"estimate": 240_000.0, "low": 150_000.0, "high": 330_000.0}


def card(verdict: str = "adopt", language: Language = "en", **changes: Any) -> dict[str, Any]:
    """A sound card without money; `changes` by dotted name, as in study__purpose="x" for study.purpose."""
    found = full_card(language, verdict)
    found["verdict"]["code"] = "all_shown"
    found["money"] = None
    for name, value in changes.items():
        *path, last = name.split("__")
        inner: Any = found
        for step in path:
            inner = inner[int(step) if step.isdigit() else step]
        inner[last] = value
    return found


def paired(verdict: str = "adopt", *, low: float = 0.396, high: float = 0.551, **changes: Any) -> dict[str, Any]:
    """With the paired comparison that a study writes into verdict.codes."""
    found = card(verdict, **changes)
    values = {"method": "lora", "reference": "majority", "difference": 0.475, "low": low, "high": high, "p": 1e-5}
    found["verdict"]["codes"] = [{"code": "beats_reference", "values": values}]
    return found


def money(net: Any, currency: Any = "JPY") -> dict[str, Any]:
    """The part of a card's money that the portfolio reads."""
    return {"currency": currency, "month": {"net": net}, "reasons": {"month.net": "no business case"}}


def put(folder: Path, content: dict[str, Any] | bytes | str) -> Path:
    """A study folder with this scorecard."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scorecard.json"
    if isinstance(content, dict):
        path.write_bytes(scorecard_bytes(content))
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def workspace(folder: Path) -> Path:
    """One study of each verdict, two of them comparable, with money in one, and two files that are no scorecards."""
    put(
        folder / "adopted",
        paired(study__purpose="Classes of reports", study__digest="sha256:1", money=money(NET)),
    )
    put(folder / "open", paired("conditional", study__purpose="Spelling of part names", study__digest="sha256:2"))
    put(
        folder / "unclear",
        card(
            "undecidable",
            study__purpose="Answers to the manual",
            study__digest="sha256:3",
            data__digest="sha256:other",
            task__metric="chrf",
            machine__fingerprint="sha256:gpu",
        ),
    )
    put(
        folder / "stopped", card("stop", study__purpose="Drafts", study__digest="sha256:4", data__digest="sha256:third")
    )
    put(folder / "broken", "{")
    put(folder / "foreign", '{"score": 5}')
    return folder
