"""Every command of `tsugiki registry` against every role, through the command line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from argon2 import PasswordHasher

from tests.records.registries import ADMIN, PEOPLE, registry
from tsugiki.cli.main import registry as sub_app
from tsugiki.cli.main import status_of
from tsugiki.records.rights import RIGHTS, ROLES
from tsugiki.records.tokens import create_token

MODEL = "hinshitsu-qa"
ASKS = ("--stage", "poc", "--purpose", "p", "--criteria", "c", "--scope", "s")
# Each command: the verb that it needs a right for, and the least that it has to be told. A command without a verb
# needs no token: it only reads, or it makes a registry.
COMMANDS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "init": (None, ()),
    "add": ("add", ("nowhere", "--name", MODEL)),
    "list": (None, ()),
    "show": (None, ()),
    "request": ("request", (f"{MODEL}@1", *ASKS)),
    "requests": (None, ()),
    "review": ("review", ("r1", "--comment", "x")),
    "approve": ("approve", ("r1",)),
    "reject": ("reject", ("r1",)),
    "gates": (None, ()),
    "promote": ("promote", (f"{MODEL}@1", "--stage", "poc")),
    "renew": ("renew", (f"{MODEL}@poc",)),
    "rollback": ("rollback", (f"{MODEL}@poc",)),
    "stop": ("stop", (f"{MODEL}@poc",)),
    "withdraw": ("withdraw", (f"{MODEL}@1",)),
    "history": (None, ()),
    "verify": (None, ()),
    "anchor": ("anchor", ("--file", "nowhere/anchor.jsonl")),
    "policy": ("change-policy", ("--set", "nowhere.yaml")),
    "people add": ("change-people", ("new", "--role", "king")),
    "people list": (None, ()),
    "people role": ("change-people", ("nobody", "viewer")),
    "people remove": ("change-people", ("nobody",)),
    "token create": ("change-tokens", ("nobody",)),
    "token list": (None, ()),  # everybody may see their own
    "token revoke": ("change-tokens", ("feed",)),
    "token recover": (None, ()),  # asks for the private key instead
    # The rights of these are tested beside the work that they call.
    **dict.fromkeys(
        (
            "attach-evidence", "evidence", "export-evidence", "verify-archive", "backup", "restore", "gc", "check",
            "upgrade",
            "retention apply", "retention erase", "retention hold", "retention release", "retention show",
            "mlflow import", "mlflow mirror",
        ),
        (None, ()),
    ),
}  # fmt: skip
WITHOUT_REASON = ("review", "anchor")


def names(app: typer.Typer, before: str = "") -> Iterator[str]:
    for command in app.registered_commands:
        assert command.callback is not None
        yield before + (command.name or command.callback.__name__.replace("_", "-"))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from names(group.typer_instance, f"{before}{group.typer_instance.info.name} ")


def test_every_command_has_an_entry():
    assert set(names(sub_app)) == set(COMMANDS)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A token of each role, hashed quickly; the registry is the folder's."""
    patch = pytest.MonkeyPatch()
    patch.setattr("tsugiki.records.tokens._HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    records = registry(tmp_path_factory.mktemp("rights"))
    with records.database.writing() as connection:
        found: dict[str, str] = {
            role: create_token(connection, name, actor=ADMIN, reason="x")[1] for name, role in PEOPLE.items()
        }
    patch.undo()
    return {**found, "folder": str(records.folder)}


CASES = [(name, role) for name, role in itertools.product(COMMANDS, ROLES) if COMMANDS[name][0] is not None]


@pytest.mark.parametrize(("name", "role"), CASES)
def test_a_command_lets_in_the_roles_of_its_verb_and_nobody_else(
    name: str, role: str, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
):
    verb, arguments = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TSUGIKI_REGISTRY", tokens["folder"])
    monkeypatch.setenv("TSUGIKI_TOKEN", tokens[role])
    reason = () if name in WITHOUT_REASON else ("--reason", "to try it")
    assert status_of(["registry", *name.split(), *arguments, *reason]) == 1
    said = capsys.readouterr().err
    assert verb is not None
    assert ("may not" in said) == (role not in RIGHTS[verb].roles), said
    assert said.count("\n") == 1


@pytest.mark.parametrize("name", [name for name, (verb, _) in COMMANDS.items() if verb is not None])
def test_nothing_changes_without_a_token(
    name: str, tokens: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setenv("TSUGIKI_REGISTRY", tokens["folder"])
    monkeypatch.delenv("TSUGIKI_TOKEN", raising=False)
    reason = () if name in WITHOUT_REASON else ("--reason", "to try it")
    assert status_of(["registry", *name.split(), *COMMANDS[name][1], *reason]) == 1
    assert "needs to know who you are" in capsys.readouterr().err
