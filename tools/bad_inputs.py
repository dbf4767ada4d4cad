"""Write docs/bad-inputs.md from the cases in tests/cli: `make bad-inputs`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.cli.bad_inputs import DOCUMENT, Kit, document, outcome, row
from tests.cli.test_bad_inputs import CASES
from tests.conftest import build_tiny


def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - nobody is there to be asked
    rows = []
    with tempfile.TemporaryDirectory() as place:
        base = build_tiny("tiny_llama", Path(place) / "bases" / "tiny-llama")
        for number, case in enumerate(CASES):
            folder = Path(place) / str(number)
            folder.mkdir()
            rows.append(row(case, *outcome(case, Kit(folder, base))))
    DOCUMENT.write_text(document(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
