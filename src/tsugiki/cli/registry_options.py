"""What every command of `tsugiki registry` shares: which registry, who is asking, why, and how it is opened.

Used by the modules that add commands to the sub-app. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsugiki.errors import RecordsError, UsageError

if TYPE_CHECKING:
    from tsugiki.records.open import Records
    from tsugiki.records.rights import Actor

DEFAULT_FOLDER = "tsugiki-registry"
HERE = Path(DEFAULT_FOLDER)
TOKEN = "TSUGIKI_TOKEN"  # noqa: S105 - the name of the variable, not what it holds

RegistryFolder = Annotated[
    Path,
    typer.Option("--registry", envvar="TSUGIKI_REGISTRY", help="folder of the registry"),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help=f"file that holds your token; else it is taken from {TOKEN}")
]
SaveToken = Annotated[
    Path | None, typer.Option("--save-token", help="write the token here, for your eyes only, instead of printing it")
]
Reason = Annotated[str, typer.Option("--reason", help="why, for the ledger")]
Version = Annotated[str, typer.Argument(help="name@3, or name@alias", show_default=False)]
Stage = Annotated[str, typer.Option("--stage", help="stage of the policy, which is also the alias: poc, pilot, …")]


def opened(folder: Path) -> Records:
    """The registry in `folder`. Raises RecordsError when there is none."""
    from tsugiki.records.open import open_registry

    return open_registry(folder)


def acting(records: Records, token_file: Path | None) -> Actor:
    """Who holds the token that was given. Raises RecordsError without one, or with one that is not good here."""
    from tsugiki.records.tokens import actor_of

    return actor_of(records.database, _token(token_file))


def token_place(file: Path | None) -> Callable[[str], str | None]:
    """What takes a token that is shown once: into `file`, or handed back for the terminal where there is none.

    Called before the token is made, so that none is lost. Raises UsageError for a file that exists already or that
    cannot be made.
    """
    if file is None:
        return lambda token: token
    why = "it exists already" if file.exists() else "its folder cannot be written to"
    if file.exists() or not os.access(file.absolute().parent, os.W_OK):
        raise UsageError(f"{file} cannot take the token: {why}.", fix="Name another file with --save-token.")

    def save(token: str) -> None:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as opened:
            opened.write(token + "\n")

    return save


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not a text"
            raise RecordsError(
                f"{file} cannot be read: {why}.", fix="Name your token's file with --token-file."
            ) from None
    if not os.environ.get(TOKEN):
        raise RecordsError(
            "This command needs to know who you are.",
            fix=f"Put your token into {TOKEN}, or name its file with --token-file.",
        )
    return os.environ[TOKEN]
