"""Every bad input gets a sentence with the value at fault, its exit status, and its row in docs/bad-inputs.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import bad_bases, bad_data, bad_inputs, bad_money, bad_registry, bad_slices, bad_studies, bad_workspaces
from tests.cli.bad_inputs import Case, Kit, outcome, row

CASES = (
    *bad_data.CASES,
    *bad_bases.CASES,
    *bad_studies.CASES,
    *bad_slices.CASES,
    *bad_workspaces.CASES,
    *bad_money.CASES,
    *bad_registry.CASES,
)


@pytest.fixture(scope="module")
def documented() -> set[str]:
    return set(bad_inputs.DOCUMENT.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_bad_input_gets_its_sentence(case: Case, tmp_path: Path, tiny_llama: Path, documented: set[str]) -> None:
    status, message = outcome(case, Kit(tmp_path, tiny_llama))
    assert status == case.status, message
    assert message.startswith("tsugiki: ")
    assert all(fragment in message for fragment in case.says), message
    assert row(case, status, message) in documented, f"run: make bad-inputs; the row is\n{row(case, status, message)}"


def test_the_document_has_every_case_once_and_no_other() -> None:
    lines = bad_inputs.DOCUMENT.read_text(encoding="utf-8").splitlines()
    shown = [line.split(" | ")[:2] for line in lines if line.startswith("| ")][2:]
    assert [tuple(cells) for cells in shown] == [(f"| {case.area}", case.what) for case in CASES]
    assert len({case.id for case in CASES}) == len(CASES) >= 60
