"""Finding scorecards: every good one once, everything else named with its reason, nothing that hangs or breaks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.work.workspaces import card, put
from tsugiki.errors import StudyError
from tsugiki.work import find_cards as module
from tsugiki.work.find_cards import find_cards


def test_folders_are_searched_and_files_are_read_under_any_name(tmp_path: Path) -> None:
    put(tmp_path / "b" / "deep" / "study", card())
    put(tmp_path / "a", card())
    lone = put(tmp_path / "elsewhere", card()) / "scorecard.json"
    lone = lone.rename(tmp_path / "e1.json")
    found, unusable = find_cards([tmp_path / "b", tmp_path / "a", lone])
    assert [one.path for one in found] == sorted(
        str(path) for path in (tmp_path / "a/scorecard.json", tmp_path / "b/deep/study/scorecard.json", lone)
    )
    assert unusable == [] and found[0].card["schema"] == 1 and found[0].digest.startswith("sha256:")


def test_hidden_folders_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / ".trash" / "study", card())
    put(tmp_path / "study", card())
    assert len(find_cards([tmp_path])[0]) == 1


def test_a_folder_named_twice_and_links_count_once(tmp_path: Path) -> None:
    put(tmp_path / "study", card())
    (tmp_path / "again").symlink_to(tmp_path / "study")
    (tmp_path / "study" / "up").symlink_to(tmp_path)  # a loop
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found, unusable = find_cards([tmp_path, tmp_path / "study", tmp_path / "again"])
    assert len(found) == 1 and unusable == []


def test_a_link_to_a_study_elsewhere_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "store" / "study", card())
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "study").symlink_to(tmp_path / "store" / "study")
    assert len(find_cards([tmp_path / "workspace"])[0]) == 1


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("", "not_json", "Expecting value, line 1"),
        ("{", "not_json", "line 1"),
        ("目的".encode("cp932"), "not_json", "not UTF-8, byte 0"),
        ("[" * 100_000, "not_json", "recursion"),
        ('{"schema": ' + "9" * 5000 + "}", "not_json", "digits"),
        ("[]", "foreign", "must be object"),
        ("5", "foreign", "must be object"),
        ('{"score": 5}', "foreign", "lacks schema"),
        (json.dumps(card() | {"schema": 2}), "foreign", "must be 1, got 2"),
        (json.dumps(card(methods=[])), "foreign", "at least 1 items"),
        (json.dumps(card(data__used="800")), "foreign", "must be integer"),
        (json.dumps(card(methods__0__reasons=[1])), "foreign", "reasons must be object"),
        (json.dumps(card(methods__0__dev_loss=float("nan"))), "foreign", "must be a finite number"),
        (json.dumps(card(methods__0__quality__high=1.2)), "foreign", "must not be above 1, got 1.2"),
        (json.dumps(card(methods__0__quality__estimate=0.99)), "foreign", "0 <= low <= estimate <= high"),
        (json.dumps(card(reference__1__quality__low=None)), "foreign", "0 <= low <= estimate <= high"),
        (json.dumps(card(reference__1__quality__low=-0.5)), "foreign", "0 <= low <= estimate <= high"),
        (json.dumps(card(money=5)), "foreign", "money must be object with reasons"),
        (json.dumps(card(money={"month": {}})), "foreign", "money must be object with reasons"),
        (json.dumps(card(money={"reasons": {}, "alternatives": [1]})), "foreign", "money must be object with reasons"),
        (json.dumps(card(machine__odd={"estimate": "a", "low": "b", "high": 1})), None, ""),
    ],
)
def test_what_cannot_be_used_says_why(content: str | bytes, code: str | None, words: str, tmp_path: Path) -> None:
    put(tmp_path, content)
    found, unusable = find_cards([tmp_path])
    if code is None:
        assert len(found) == 1
        return
    assert found == [] and [one.code.removesuffix("_more") for one in unusable] == [code]
    assert words in " ".join(map(str, unusable[0].values.values()))


def test_pipes_folders_and_giants_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(put(tmp_path / "pipe", "") / "pipe")
    (tmp_path / "pipe" / "scorecard.json").unlink()
    (tmp_path / "pipe" / "pipe").rename(tmp_path / "pipe" / "scorecard.json")
    (tmp_path / "folder" / "scorecard.json").mkdir(parents=True)
    put(tmp_path / "large", "x" * 2000)
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "scorecard.json").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(module, "LARGEST", 1000)
    found, unusable = find_cards([tmp_path])
    assert found == []
    assert {Path(one.path).parent.name: one.code for one in unusable} == {
        "pipe": "not_a_file",
        "folder": "not_a_file",
        "large": "too_large",
        "dangling": "unreadable",
    }


def test_a_folder_that_may_not_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "study", card())
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(module.os, "scandir", refuse)  # whoever runs the tests may be allowed to enter anything
    found, unusable = find_cards([tmp_path])
    assert len(found) == 1
    assert (unusable[0].code, unusable[0].values) == ("unreadable", {"why": "Permission denied"})


def test_nothing_to_read_is_an_error_with_the_places(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"There is no folder .*nowhere"):
        find_cards([tmp_path / "nowhere"])
    with pytest.raises(StudyError, match=r"There is no scorecard\.json in"):
        find_cards([tmp_path])


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_content_breaks_the_search(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = put(tmp_path_factory.mktemp("any"), content)
    found, unusable = find_cards([place])
    assert len(found) + len(unusable) == 1
