from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tsugiki.cli.main import status_of
from tsugiki.width import columns


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSUGIKI_TOKEN", raising=False)
    monkeypatch.delenv("TSUGIKI_REGISTRY", raising=False)


def run(capsys: Any, *words: str, status: int = 0) -> str:
    found = status_of(["registry", *words])
    said = capsys.readouterr()
    assert found == status, said
    return said.out if status == 0 else said.err


def found(capsys: Any) -> None:
    run(capsys, "init", "--admin", "山本", "--save-token", "admin.token")


AS_ADMIN = ("--token-file", "admin.token", "--reason", "joins")


def test_nothing_works_before_there_is_an_admin(capsys: Any):
    for words in (("people", "list"), ("people", "add", "x", "--role", "admin", *AS_ADMIN), ("verify",), ("history",)):
        assert "holds no registry" in run(capsys, *words, status=1)
    found(capsys)
    assert "needs to know who you are" in run(
        capsys, "people", "add", "x", "--role", "admin", "--reason", "x", status=1
    )
    assert "is a registry already" in run(capsys, "init", "--admin", "x", status=1)


def test_a_token_is_printed_once_and_works_until_it_is_revoked(capsys: Any, monkeypatch: pytest.MonkeyPatch):
    found(capsys)
    made = json.loads(run(capsys, "people", "add", "佐藤", "--role", "operator", *AS_ADMIN, "--json"))
    token = made["token"]
    assert made["role"] == "operator" and token.startswith("tsg_") and len(token) == 85
    monkeypatch.setenv("TSUGIKI_TOKEN", token)
    own = json.loads(run(capsys, "token", "list", "--json"))
    assert [(one["person"], one["state"], one["scopes"]) for one in own] == [("佐藤", "usable", ["read", "write"])]
    assert token[21:] not in run(capsys, "token", "list") and token[21:] not in run(capsys, "history")
    run(capsys, "token", "revoke", own[0]["id"], "--reason", "lost it")
    assert "was revoked" in run(capsys, "token", "list", status=1)


def test_a_token_goes_to_a_file_of_one_s_own(capsys: Any, tmp_path: Path):
    found(capsys)
    said = run(capsys, "people", "add", "佐藤", "--role", "operator", *AS_ADMIN, "--save-token", "sato.token")
    assert "tsg_" not in said and (tmp_path / "sato.token").stat().st_mode & 0o777 == 0o600
    for place, why in (("sato.token", "it exists already"), ("no/where", "its folder cannot be written to")):
        refused = run(capsys, "people", "add", "田中", "--role", "viewer", *AS_ADMIN, "--save-token", place, status=2)
        assert f"{place} cannot take the token: {why}" in refused
    assert "田中" not in run(capsys, "people", "list")  # nobody is made whose token would be lost


def test_an_admin_without_a_token_gets_one_with_the_key(capsys: Any):
    found(capsys)
    with_key = ("token", "recover", "山本", "--key", "tsugiki-registry/keys/ledger.key", "--reason", "lost it")
    assert "山本 has a token that works until" in run(capsys, *with_key, status=1)
    (own,) = json.loads(run(capsys, "token", "list", "--token-file", "admin.token", "--json"))
    run(capsys, "token", "revoke", own["id"], *AS_ADMIN)
    said = run(capsys, *with_key, "--save-token", "new.token")
    assert "tsg_" not in said
    run(capsys, "people", "add", "x", "--role", "viewer", "--token-file", "new.token", "--reason", "joins")


def test_names_stand_under_each_other(capsys: Any):
    found(capsys)
    run(capsys, "people", "add", "Suzuki", "--role", "viewer", *AS_ADMIN)
    lines = run(capsys, "people", "list").splitlines()
    ends = [columns(line[: line.index(word)]) for line, word in zip(lines, ("role", "viewer", "admin"), strict=True)]
    assert len(set(ends)) == 1


def test_faults_are_one_sentence_each(capsys: Any):
    found(capsys)
    for words, said in (
        (("people", "add", "x", "--role", "king", *AS_ADMIN), "king is no role"),
        (("people", "add", "a/b", "--role", "viewer", *AS_ADMIN), "cannot be the name of a person"),
        (("people", "add", "x", "--role", "viewer", *AS_ADMIN, "--days", "366"), "cannot last 366 days"),
        (("people", "remove", "山本", *AS_ADMIN), "the last admin"),
        (("people", "role", "nobody", "viewer", *AS_ADMIN), "Nobody is called nobody here"),
        (("token", "create", "山本", "--scope", "decide", *AS_ADMIN), "cannot have the scope decide"),
        (("token", "create", "山本", "--scope", "root", *AS_ADMIN), "root is no scope"),
        (("token", "revoke", "feed", *AS_ADMIN), "There is no token feed"),
        (("token", "list", "--token-file", "none.token"), "none.token cannot be read"),
    ):
        refused = run(capsys, *words, status=1)
        assert said in refused and refused.count("\n") == 1, refused
