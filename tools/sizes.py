"""Lines per file and per function of the package, and the caps that `make size` and tests/test_house.py hold it to.

Raising a cap needs a line in docs/log.md that says why.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 500
LONGEST_FUNCTION = 80

Size = tuple[int, str]  # lines, where


def file_sizes(folder: Path) -> list[Size]:
    """Longest first."""
    paths = folder.rglob("*.py")
    return sorted(((len(_read(path).splitlines()), _name(path)) for path in paths), reverse=True)


def function_sizes(folder: Path) -> list[Size]:
    """Longest first; decorators are not counted, nested functions count for both."""
    found: list[Size] = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(_read(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found.append((lines, f"{_name(path)}:{node.lineno} {node.name}"))
    return sorted(found, reverse=True)


def main() -> int:
    files, functions = file_sizes(ROOT / "src"), function_sizes(ROOT / "src")
    for lines, where in files:
        print(f"{lines:5d}  {where}")
    print(f"{sum(lines for lines, _ in files):5d}  in {len(files)} files, and the longest functions:")
    for lines, where in functions[:10]:
        print(f"{lines:5d}  {where}")
    too_long = files[0][0] > LONGEST_FILE or functions[0][0] > LONGEST_FUNCTION
    return 1 if too_long else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


if __name__ == "__main__":
    sys.exit(main())
