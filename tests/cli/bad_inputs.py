"""Bad inputs and the one sentence that each of them gets: the table behind docs/bad-inputs.md.

test_bad_inputs.py runs every case and compares its row with the document; `make bad-inputs` writes the document.
A case prepares what is wrong in a fresh folder and returns the command line; `says` are words its message must hold.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "bad-inputs.md"
HEAD = """\
# Bad inputs

What tsugiki answers to inputs that cannot be used. Every row is a test; `make bad-inputs` writes this page from them.
Exit status 1: what was given cannot be used; 2: the command line or a configuration file is wrong.

| area | input | exit | message |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Kit:
    """An empty folder to prepare in, and a tiny base that is sound."""

    folder: Path
    base: Path

    def file(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)


@dataclass(frozen=True)
class Case:
    area: str
    what: str
    prepare: Callable[[Kit], Sequence[str]]
    status: int
    says: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"{self.area}: {self.what}"


def outcome(case: Case, kit: Kit) -> tuple[int, str]:
    """Exit status and message of a case: the last line on stderr, without the folder it was prepared in."""
    from tsugiki.cli.main import status_of

    arguments = list(case.prepare(kit))
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = status_of(arguments)
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    return status, without_place(lines[-1] if lines else "", kit)


def without_place(message: str, kit: Kit) -> str:
    """A message as anyone would get it who stands in the folder."""
    for folder in (kit.folder, kit.base.parent):
        message = message.replace(f"{folder}/", "").replace(str(folder), "folder")
    return message


def row(case: Case, status: int, message: str) -> str:
    cells = (case.area, case.what, str(status), message.removeprefix("tsugiki: "))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def document(rows: Sequence[str]) -> str:
    return HEAD + "\n".join(rows) + "\n"
