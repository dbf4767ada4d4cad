"""The verbs of a version's life for the crash benchmark: add, request, approve, promote, rollback, withdraw.

Taken into `VERBS` by registry_crashes.py. Whatever a strike leaves, every version is whole or not there, and a step was
taken once or not at all; once the verb ran again it was taken once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.evidence_verbs import whole
from tests.records.adapters import write_own
from tests.records.registries import APPROVER, OPERATOR, registry
from tests.work.lives import MODEL, WHY, alive, asked, promoted_to
from tsugiki.records.aliases import alias_at
from tsugiki.records.ledger import events_since
from tsugiki.records.open import Records, open_registry
from tsugiki.work.decisions import approve, withdraw
from tsugiki.work.promotion import promote
from tsugiki.work.register import Stated, add_version
from tsugiki.work.requests import all_requests
from tsugiki.work.rollback import rollback

FIRST, SECOND = f"{MODEL}@1", f"{MODEL}@2"


def _prepared(folder: Path, versions: int, *steps: Callable[[Records], object]) -> None:
    records = alive(folder, versions) if versions else registry(folder)
    for step in steps:
        step(records)
    records.database.engine.dispose()


def _adapter(folder: Path) -> None:
    write_own(folder / "adapter")
    _prepared(folder, 0)


def _ready(folder: Path) -> None:
    _prepared(folder, 1)


def _asked(folder: Path) -> None:
    _prepared(folder, 1, asked)


def _approved(folder: Path) -> None:
    _prepared(folder, 1, asked, _approve_in)


def _replaced(folder: Path) -> None:
    """The second version follows the first on `poc`."""
    _prepared(folder, 2, promoted_to, lambda records: promoted_to(records, SECOND))


def _approve_in(records: Records) -> None:
    approve(records, all_requests(records)[0].request.id, actor=APPROVER, reason=WHY)


def _unless(kind: str, step: Callable[[Records, Path], object]) -> Callable[[Path], None]:
    """The step, left out where its event is in the ledger: then the strike came after the commit."""

    def run(folder: Path) -> None:
        records = open_registry(folder / "registry")
        try:
            with records.database.writing():  # takes in a rollback that waits
                pass
            if not _count(records, kind):
                step(records, folder)
        finally:
            records.database.engine.dispose()

    return run


def _count(records: Records, kind: str) -> int:
    with records.database.reading() as connection:
        return sum(event.kind == kind for event in events_since(connection))


def _once(kind: str, alias: int | None = None) -> Callable[[Path, bool], Iterable[str]]:
    """The event is there once or not, and once after the second run; then `poc` points to version `alias`."""

    def holds(folder: Path, again: bool) -> Iterable[str]:
        yield from whole(folder, again)
        records = open_registry(folder / "registry")
        try:
            count = _count(records, kind)
            if count > 1 or (again and count != 1):
                yield f"{count} events {kind}"
            with records.database.reading() as connection:
                number = alias_at(connection, MODEL, "poc").number
            if again and number != alias:
                yield f"{MODEL}@poc points to {number}"
        finally:
            records.database.engine.dispose()

    return holds


def _add(records: Records, folder: Path) -> None:
    add_version(records, folder / "adapter", Stated("品質QA"), actor=OPERATOR, reason=WHY)


LIFECYCLE_VERBS = (
    ("add", _adapter, _unless("version.registered", _add), _once("version.registered")),
    (
        "request",
        _ready,
        _unless("approval.requested", lambda records, _: asked(records)),
        _once("approval.requested"),
    ),
    (
        "approve",
        _asked,
        _unless("approval.given", lambda records, _: _approve_in(records)),
        _once("approval.given"),
    ),
    (
        "promote",
        _approved,
        _unless("alias.promoted", lambda records, _: promote(records, FIRST, "poc", actor=OPERATOR, reason=WHY)),
        _once("alias.promoted", alias=1),
    ),
    (
        "rollback",
        _replaced,
        _unless(
            "alias.rolled_back",
            lambda records, _: rollback(records, f"{MODEL}@poc", actor=OPERATOR, reason=WHY),
        ),
        _once("alias.rolled_back", alias=1),
    ),
    (
        "withdraw",
        _replaced,
        _unless("version.withdrawn", lambda records, _: withdraw(records, SECOND, actor=APPROVER, reason=WHY)),
        _once("version.withdrawn"),
    ),
)
