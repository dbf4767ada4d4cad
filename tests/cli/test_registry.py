"""`tsugiki registry` as a person uses it: init, add, list, show, in text and in JSON, and every way to be refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.records.adapters import write_own, write_peft
from tsugiki.cli.main import status_of
from tsugiki.records.aliases import move_alias
from tsugiki.records.open import Founder, open_registry
from tsugiki.records.people import add_person
from tsugiki.records.schema import blobs
from tsugiki.records.tokens import create_token
from tsugiki.records.versions import find_version


class Terminal:
    """A person in a folder with a registry, who holds an operator's token."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        status = status_of(["registry", *arguments])
        said = self.capsys.readouterr()
        return status, said.out, said.err

    def works(self, *arguments: str) -> str:
        status, out, err = self.run(*arguments)
        assert status == 0, err
        return out

    def reads(self, *arguments: str) -> Any:
        return json.loads(self.works(*arguments, "--json"))

    def refused(self, *arguments: str, status: int = 1) -> str:
        found, out, err = self.run(*arguments)
        assert found == status
        assert out == ""
        assert err.startswith("tsugiki: ")
        assert err.count("\n") == 1
        return err


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSUGIKI_REGISTRY", raising=False)
    terminal = Terminal(tmp_path, capsys)
    terminal.works("init", "--admin", "花子")
    records = open_registry(tmp_path / "tsugiki-registry")
    with records.database.writing() as connection:
        add_person(connection, "佐藤", "operator", actor=Founder("花子"), reason="she runs it")
        _, token = create_token(connection, "佐藤", actor=Founder("花子"), reason="to run it")
    monkeypatch.setenv("TSUGIKI_TOKEN", token)
    return terminal


def test_init_shows_the_token_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal, folder = Terminal(tmp_path, capsys), str(tmp_path / "here")
    made = terminal.reads("init", "--admin", "花子", "--registry", folder)
    assert made["registry"] == folder
    assert made["token"].startswith("tsg_")
    assert made["token"].encode() not in b"".join(
        path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    )
    assert "is a registry already" in terminal.refused("init", "--admin", "x", "--registry", folder)
    assert "cannot be the name of a person" in terminal.refused("init", "--admin", "../x", "--registry", folder + "2")
    assert not Path(folder + "2").exists()
    assert "--admin" in terminal.refused("init", "--registry", folder, status=2)


def test_a_registry_without_people_is_completed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tsugiki.records.open import create_records

    create_records(tmp_path / "here", admin="花子")  # as a crash between the two steps leaves it
    terminal = Terminal(tmp_path, capsys)
    assert terminal.reads("init", "--admin", "花子", "--registry", str(tmp_path / "here"))["token"]


def test_a_version_is_added_listed_and_shown(terminal: Terminal) -> None:
    write_own(terminal.folder / "a")
    write_peft(terminal.folder / "b", seed=1)
    said = terminal.works(
        "add", "a", "--name", "品質QA", "--data-licence", "社内", "--data-purpose", "回答", "--note", "春の版",
        "--reason", "first",
    )  # fmt: skip
    assert said.startswith("品質QA@1  sha256:")
    assert "not stated" not in said
    said = terminal.works("add", "b", "--name", "品質QA", "--parent", "品質QA@1")
    assert "data.0.licence is not stated" in said
    assert "--data-purpose" in said
    records = open_registry(terminal.folder / "tsugiki-registry")
    with records.database.writing() as connection:
        move_alias(connection, Founder("花子"), "品質QA", "production", find_version(connection, "品質QA@1").seq)
    lines = terminal.works("list").splitlines()
    assert [line.split()[0] for line in lines] == ["品質QA@2", "品質QA@1"]
    assert lines[1].endswith("production")
    (second, first) = terminal.reads("list", "--model", "品質QA")
    assert (first["number"], first["creator"], first["aliases"]) == (1, "佐藤", ["production"])
    assert terminal.reads("list", "--model", "other") == []
    shown = terminal.reads("show", "品質QA@production", "--verify")
    assert (shown["version"], shown["signed"]) == ("品質QA@1", True)
    assert shown["verified"]["files"] == 3
    assert shown["manifest"]["data"][0]["licence"] == "社内"
    assert [one["alias"] for one in shown["aliases"]] == ["production"]
    assert terminal.reads("show", second["digest"][7:19])["version"] == "品質QA@2"
    text = terminal.works("show", "品質QA@2")
    assert "parent    品質QA@1" in text
    assert "licence   unknown: not stated" in text
    assert "a PEFT folder does not say it" in text
    assert "verified" not in text


def test_a_flipped_bit_is_named(terminal: Terminal) -> None:
    write_own(terminal.folder / "a")
    terminal.works("add", "a", "--name", "x")
    path = max(
        (terminal.folder / "tsugiki-registry" / "blobs" / "sha256").rglob("*"), key=lambda one: one.stat().st_size
    )
    while path.is_dir():
        path = next(path.iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    assert terminal.reads("show", "x@1")["verified"] is None
    assert f"sha256:{path.name}" in terminal.refused("show", "x@1", "--verify")


def test_a_missing_file_is_named(terminal: Terminal) -> None:
    write_own(terminal.folder / "a")
    terminal.works("add", "a", "--name", "x")
    records = open_registry(terminal.folder / "tsugiki-registry")
    with records.database.reading() as connection:
        digests = list(connection.scalars(blobs.select().with_only_columns(blobs.c.digest)))
    records.store.delete(digests[0])
    assert "is missing from" in terminal.refused("show", "x@1", "--verify")


def test_who_is_asking_must_be_known(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    write_own(terminal.folder / "a")
    token = terminal.folder / "token"
    token.write_text(f"{os.environ['TSUGIKI_TOKEN']}\n")
    monkeypatch.delenv("TSUGIKI_TOKEN")
    assert "needs to know who you are" in terminal.refused("add", "a", "--name", "x")
    assert "cannot be read" in terminal.refused("add", "a", "--name", "x", "--token-file", "nowhere")
    monkeypatch.setenv("TSUGIKI_TOKEN", "guess")
    assert "is none" in terminal.refused("add", "a", "--name", "x")
    assert terminal.works("list") == ""
    assert terminal.works("add", "a", "--name", "x", "--token-file", "token").startswith("x@1")
    assert terminal.works("list").startswith("x@1")  # reading needs no token


REFUSED = {
    "a link": (("add", "link", "--name", "x"), "is a link"),
    "nothing": (("add", "nowhere", "--name", "x"), "There is no adapter folder"),
    "an archive": (("add", "a.zip", "--name", "x"), "is an archive"),
    "too large": (("add", "a", "--name", "x", "--largest", "0.001"), "are the limit"),
    "a bad name": (("add", "a", "--name", "a/b"), "holds '/'"),
    "an unknown parent": (("add", "a", "--name", "x", "--parent", "y@1"), "There is no model y"),
    "half of a study": (("add", "a", "--name", "x", "--study", "s"), "named together"),
    "no study": (("add", "a", "--name", "x", "--study", "a", "--trial", "t"), "holds no study"),
    "an unknown version": (("show", "x@1"), "There is no model x"),
    "another registry": (("list", "--registry", "elsewhere"), "holds no registry"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_done_is_said_in_one_line(kind: str, terminal: Terminal) -> None:
    folder = write_own(terminal.folder / "a")
    if kind == "too large":
        with (folder / "README.md").open("wb") as file:
            file.truncate(2_000_000)
    (terminal.folder / "link").symlink_to(folder)
    (terminal.folder / "a.zip").write_bytes(b"PK")
    arguments, reason = REFUSED[kind]
    assert reason in terminal.refused(*arguments)


def test_a_name_is_asked_for(terminal: Terminal) -> None:
    assert "--name" in terminal.refused("add", "a", status=2)


def test_the_environment_names_the_registry(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    write_own(terminal.folder / "a")
    terminal.works("add", "a", "--name", "x")
    monkeypatch.setenv("TSUGIKI_REGISTRY", str(terminal.folder / "tsugiki-registry"))
    monkeypatch.chdir("/")
    assert terminal.works("list").startswith("x@1")
