"""Names and paths: what may name something, and every way in which a text tries to name something else."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.errors import RecordsError
from tsugiki.records.safe_names import check_name, check_path, inside, shown

GOOD = ["hinshitsu-qa", "品質QA", "サーバー", "v1.2_b", "a", "0", "å", "हिन्दी", "x" * 100]
BAD = {
    "empty": ("", "empty"),
    "absolute": ("/etc/passwd", "holds '/'"),
    "step up": ("..", "is a step"),
    "here": (".", "is a step"),
    "hidden": (".ssh", "starts with a dot"),
    "an option": ("-rf", "starts with '-'"),
    "two levels": ("a/b", "holds '/'"),
    "fragment": ("a#b", "holds '#'"),
    "query": ("a?b", "holds '?'"),
    "escaped dots": ("%2e%2e", "holds '%'"),
    "twice escaped": ("%252e", "holds '%'"),
    "backslash": ("a\\b", "holds '\\\\'"),
    "NUL": ("a\0b", "U+0000"),
    "drive": ("C:", "holds ':'"),
    "alternate stream": ("a:b", "holds ':'"),
    "device": ("CON", "device"),
    "device in lower case": ("nul", "device"),
    "device with extension": ("com1.txt", "device"),
    "printer": ("LPT9", "device"),
    "auxiliary": ("aux.tar.gz", "device"),
    "console input": ("CONIN$", "holds '$'"),
    "superscript device": ("COM¹", "holds '¹'"),
    "trailing dot": ("name.", "ends with a dot"),
    "trailing space": ("name ", "holds ' '"),
    "newline": ("a\nb", "U+000A"),
    "escape": ("a\x1b[31m", "U+001B"),
    "right to left": ("a\u202egpj", "U+202E"),
    "isolate": ("a\u2066b", "U+2066"),
    "left to right mark": ("a\u200eb", "U+200E"),
    "zero width space": ("a\u200bb", "U+200B"),
    "zero width joiner": ("a\u200db", "U+200D"),
    "byte order mark": ("\ufeffa", "U+FEFF"),
    "filler": ("a\u3164", "holds"),
    "half-width filler": ("\uffa0", "holds"),
    "variation": ("a\ufe0f", "holds"),
    "full-width slash": ("a／b", "holds '／'"),
    "wide space": ("a\u3000b", "U+3000"),
    "home": ("~root", "holds '~'"),
    "option of a shell": ("$(id)", "holds '$'"),
    "star": ("*", "holds '*'"),
    "alias mark": ("a@b", "holds '@'"),
    "lone surrogate": ("a\ud800", "U+D800"),
    "private use": ("a\ue000", "U+E000"),
    "a mark alone": ("\u0301a", "starts with a mark"),
    "too long": ("x" * 101, "100 characters"),
    "too many bytes": ("字" * 90, "240 bytes"),
}  # fmt: skip
BAD_PATHS = {
    "empty": ("", "empty"),
    "absolute": ("/a", "absolute"),
    "up": ("a/../../b", "step"),
    "up at the end": ("a/..", "step"),
    "here": ("./a", "step"),
    "empty name": ("a//b", "empty"),
    "trailing slash": ("a/", "empty"),
    "windows absolute": ("C:/a", "holds ':'"),
    "share": ("\\\\server\\share", "holds '\\\\'"),
    "device inside": ("a/nul/b", "device"),
    "hidden inside": ("a/.git/config", "starts with a dot"),
    "escaped": ("a/%2e%2e/b", "holds '%'"),
    "URL": ("file:///etc/passwd", "holds ':'"),
    "decomposed": ("a/" + unicodedata.normalize("NFD", "が"), "composed form"),
    "deep": ("/".join("a" * 17), "deeper"),
    "long": ("a/" * 10 + "x" * 400, "longer"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_names_pass_in_their_composed_form(name: str) -> None:
    assert check_name(unicodedata.normalize("NFD", name), "the name of a model") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("kind", BAD)
def test_bad_names_are_refused_with_the_reason(kind: str) -> None:
    name, reason = BAD[kind]
    with pytest.raises(RecordsError) as refused:
        check_name(name, "the name of a model")
    assert reason in refused.value.problem
    assert "cannot be the name of a model" in refused.value.problem
    assert str(refused.value).isprintable()  # nothing of the name reaches a terminal as it is


@pytest.mark.parametrize("kind", BAD_PATHS)
def test_bad_paths_are_refused_with_the_reason(kind: str) -> None:
    path, reason = BAD_PATHS[kind]
    with pytest.raises(RecordsError) as refused:
        check_path(path)
    assert reason in refused.value.problem


def test_good_paths_pass() -> None:
    assert check_path("evidence/図-1/scorecard.json") == "evidence/図-1/scorecard.json"


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "in").symlink_to(folder)
    assert inside(folder, "in/a") == folder / "in/a"
    with pytest.raises(RecordsError, match="leads out of"):
        inside(folder, "out/a")


@given(st.text(max_size=120))
def test_whatever_passes_is_one_harmless_component(text: str) -> None:
    try:
        name = check_name(text, "a name")
    except RecordsError:
        return
    assert name.isprintable()
    assert len(Path(name).parts) == 1
    assert len(PureWindowsPath(name).parts) == 1
    assert not PureWindowsPath(name).is_reserved()
    assert len(name.encode()) <= 240


@given(st.text(alphabet=st.sampled_from("a./\\%~:\0 ")))
def test_whatever_path_passes_stays_inside(text: str) -> None:
    try:
        path = check_path(text)
    except RecordsError:
        return
    assert ".." not in path.split("/")
    assert not path.startswith("/")


def test_foreign_text_is_shown_in_one_short_line() -> None:
    assert shown("a\u202e\n") == r"'a\u202e\n'"
    assert len(shown("x" * 1000)) < 120
