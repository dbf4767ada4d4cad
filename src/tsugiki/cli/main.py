"""The `tsugiki` command: its commands, and how every one of them ends.

Exit status 0 on success, 1 on a failure that the user can see and act on, 2 on wrong usage, 3 on "undecidable". A
user's mistake prints one line on stderr; anything else is our own bug and keeps its traceback. Imports nothing heavy:
the commands import what they need when they run.
"""

from __future__ import annotations

import io
import os
import sys
from gc import freeze
from typing import Annotated, Any, NoReturn

import typer

from tsugiki import __version__
from tsugiki.cli import registry_ledger, registry_life, registry_people, registry_requests
from tsugiki.cli.adapters import evaluate, layers, train
from tsugiki.cli.data import check
from tsugiki.cli.export import check_command, export
from tsugiki.cli.money import money, prices
from tsugiki.cli.portfolio import portfolio
from tsugiki.cli.registry import app as registry
from tsugiki.cli.registry_backup import backup, gc, restore, upgrade
from tsugiki.cli.registry_evidence import attach_evidence, evidence, export_evidence, verify_archive
from tsugiki.cli.registry_mlflow import app as mlflow
from tsugiki.cli.registry_retention import app as retention
from tsugiki.cli.slides import slides
from tsugiki.cli.studies import demo, estimate, lessons, poc, scorecard
from tsugiki.cli.templates import templates
from tsugiki.errors import TsugikiError, out_of_memory

INTERRUPTED, TYPER_INTERRUPTED = 1, 130
EXTRAS = {  # what to install for a module that is missing
    "registry": ("sqlalchemy", "alembic", "fsspec", "cryptography", "argon2"),
    "study": ("polars", "fastexcel", "numpy", "scipy", "rapidfuzz", "sacrebleu", "jinja2", "altair", "vl_convert"),
    "engine": ("torch", "transformers", "safetensors", "gguf"),
}

app = typer.Typer(
    name="tsugiki",
    help="Graft small trained parts onto a frozen language model, and learn in numbers whether it was worth it.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tsugiki {__version__}")
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    """Options that need no command."""


COMMANDS = (
    demo, check, estimate, poc, scorecard, slides, lessons, train, layers, evaluate, templates, portfolio, prices,
    money, export,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)
for command in (*registry_requests.COMMANDS, *registry_life.COMMANDS, *registry_ledger.COMMANDS):
    registry.command()(command)
registry.add_typer(registry_people.people)
registry.add_typer(registry_people.token)
for command in (attach_evidence, evidence, export_evidence, verify_archive, backup, restore, upgrade, gc):
    registry.command()(command)
registry.add_typer(retention)
registry.command("check")(check_command)
registry.add_typer(mlflow)
app.add_typer(registry)


def run() -> NoReturn:
    """Entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal in Shift_JIS has no sign for ⏎: escape it, go on
            stream.reconfigure(errors="backslashreplace")
    freeze()  # modules live until the end: nobody need look through them for garbage
    try:
        status = status_of(sys.argv[1:])
    finally:
        freeze()  # the process ends; its memory goes back as a whole
    sys.exit(status)


def status_of(arguments: list[str]) -> int:
    """Run one command line and say its exit status."""
    try:
        status = _with_what_is_here(arguments or ["--help"])
        return INTERRUPTED if status == TYPER_INTERRUPTED else int(status or 0)
    except TsugikiError as error:
        complain(str(error))
        return error.exit_status
    except typer.TyperException as error:
        fault = error.format_message().replace("Value error, ", "").strip().rstrip(".")
        complain(f"{fault}. Run tsugiki --help, or the command with --help.")
        return 2
    except UnicodeEncodeError:
        if not any("\udc80" <= letter <= "\udcff" for argument in arguments for letter in argument):
            raise  # not the command line's fault
        complain(f"An argument is no text in {sys.getfilesystemencoding()}, the encoding of this terminal.")
        return 2
    except typer.Abort:
        complain("Stopped.")
        return 1
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _with_what_is_here(arguments: list[str]) -> Any:
    """Run the command; what this machine lacks, a module of an extra or memory, becomes a TsugikiError with advice."""
    try:
        return app(arguments, prog_name="tsugiki", standalone_mode=False)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        for extra, modules in EXTRAS.items():
            if missing in modules:
                needed = f"This command needs {missing}, which is not installed."
                raise TsugikiError(needed, fix=f"Run: pip install 'tsugiki[{extra}]'") from None
        raise
    except (RuntimeError, MemoryError) as error:
        unfit = out_of_memory(error)
        if unfit is None:
            raise
        raise unfit from error


def complain(sentence: str) -> None:
    """One line, whatever the message holds."""
    sys.stderr.write(f"tsugiki: {' '.join(sentence.split())}\n")
