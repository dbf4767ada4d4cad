"""Templates and portfolios that cannot be made, as cases for the table of bad inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.cli.bad_inputs import Case, Kit
from tests.cli.bad_studies import line, poc
from tests.report.cards import full_card
from tsugiki.report.scorecard import scorecard_bytes


def blank_kind(kit: Kit) -> Sequence[str]:
    """The intake of a kind of work as it is written, nothing filled in."""
    from tsugiki.work.papers import kind_starter

    return poc(intake=kind_starter("classification", "ja"))(kit)


def papers_over_a_file(kit: Kit) -> Sequence[str]:
    kit.file("papers/examples.csv", "mine")
    return ["templates", "extraction", "--out", str(kit.folder / "papers")]


def papers_into_a_file(kit: Kit) -> Sequence[str]:
    return ["templates", "extraction", "--out", kit.file("taken", "x")]


def empty_workspace(kit: Kit) -> Sequence[str]:
    return ["portfolio", str(kit.folder)]


def no_workspace(kit: Kit) -> Sequence[str]:
    return ["portfolio", str(kit.folder / "nowhere")]


def only(content: str) -> Callable[[Kit], Sequence[str]]:
    """A workspace whose one scorecard holds this."""

    def prepare(kit: Kit) -> Sequence[str]:
        kit.file("study/scorecard.json", content)
        return ["portfolio", str(kit.folder)]

    return prepare


def page_over_a_folder(kit: Kit) -> Sequence[str]:
    kit.file("study/scorecard.json", scorecard_bytes(full_card("en")))
    return ["portfolio", str(kit.folder), "--out", str(kit.folder / "study")]


def page_below_a_file(kit: Kit) -> Sequence[str]:
    kit.file("study/scorecard.json", scorecard_bytes(full_card("en")))
    return ["portfolio", str(kit.folder), "--out", f"{kit.file('taken', 'x')}/portfolio.html"]


CASES = (
    Case("templates", "a kind of work that is not known", line("templates", "translation"), 2, ("translation",)),
    Case("templates", "a folder and no kind", line("templates", "--out", "papers"), 2, ("--out", "classification")),
    Case("templates", "a kind and no file to write", poc("--kind", "extraction"), 2, ("--kind", "--write-intake")),
    Case("templates", "an intake left blank", blank_kind, 2, ("purpose is missing", "criteria.success is missing")),
    Case("templates", "papers over a file", papers_over_a_file, 2, ("examples.csv exists already", "--out")),
    Case("templates", "a file in the place of the folder", papers_into_a_file, 2, ("it is a file", "--out")),
    Case("portfolio", "no folder", line("portfolio"), 2, ("argument",)),
    Case("portfolio", "a folder that does not exist", no_workspace, 1, ("There is no folder nowhere",)),
    Case("portfolio", "a folder without studies", empty_workspace, 1, ("no scorecard.json", "tsugiki poc")),
    Case(
        "portfolio",
        "nothing but broken JSON",
        only("{"),
        1,
        ("No scorecard can be used (1 found)", "is not JSON", "line 1"),
    ),
    Case("portfolio", "nothing but foreign JSON", only('{"score": 5}'), 1, ("lacks schema", "tsugiki scorecard")),
    Case("portfolio", "a folder in the place of the page", page_over_a_folder, 2, ("is a folder", "portfolio.html")),
    Case("portfolio", "a page below a file", page_below_a_file, 2, ("cannot be written to", "--out")),
)
