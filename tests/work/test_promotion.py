from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.records.registries import APPROVER, OPERATOR, SECOND
from tests.work.lives import MODEL, WHY, add, alive, asked, attach, promoted_to, summary
from tests.work.shown import report
from tsugiki.errors import RecordsError, Undecided
from tsugiki.records import times
from tsugiki.records.aliases import alias_at
from tsugiki.records.ledger import history
from tsugiki.records.open import open_registry
from tsugiki.work import promotion
from tsugiki.work.decisions import approve
from tsugiki.work.promotion import promote, promoted
from tsugiki.work.requests import one_request
from tsugiki.work.rollback import rollback


def test_a_version_goes_through_the_stages_one_after_the_other(tmp_path: Path):
    records = alive(tmp_path)
    last = promoted_to(records, f"{MODEL}@1", "poc", "pilot", "production")
    assert (last.alias, last.version.number, last.approvers) == ("production", 1, ["高橋"])
    with records.database.reading() as connection:
        for stage in ("poc", "pilot", "production"):
            assert alias_at(connection, MODEL, stage).number == 1
        event = history(connection, model=MODEL, alias="production")[0]
    assert event.kind == "alias.promoted" and event.before is None and event.request == last.request.id
    assert event.after["version"] == f"{MODEL}@1" and event.after["digest"] == last.version.digest
    assert event.after["approved_by"] == ["高橋"] and event.after["reevaluate_by"] == last.reevaluate_by


def test_no_stage_is_left_out(tmp_path: Path):
    records = alive(tmp_path)
    promoted_to(records)
    with pytest.raises(RecordsError, match="has never been at pilot, which comes before production"):
        asked(records, stage="production")


def test_nothing_moves_without_an_approval_of_its_own(tmp_path: Path):
    records = alive(tmp_path)
    with pytest.raises(RecordsError, match=f"Nobody has asked that {MODEL}@1 may go to poc"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    id = asked(records).request.id
    with pytest.raises(RecordsError, match=f"{id} for {MODEL}@1 lacks 1 of its approvals"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    approve(records, id, actor=APPROVER, reason=WHY)
    with pytest.raises(RecordsError, match="高橋 is an approver and may not promote"):
        promote(records, f"{MODEL}@1", "poc", actor=APPROVER, reason=WHY)
    promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    assert one_request(records, id).state == "promoted"
    with pytest.raises(RecordsError, match=f"not approved for poc: {id} is promoted: 佐藤 promoted it on"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason="once more")


def test_a_flipped_bit_in_the_store_stops_it(tmp_path: Path):
    records = alive(tmp_path)
    approve(records, asked(records).request.id, actor=APPROVER, reason=WHY)
    blob = next(path for path in (tmp_path / "registry" / "blobs").rglob("*") if path.is_file())
    content = bytearray(blob.read_bytes())
    content[0] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    with pytest.raises(RecordsError, match="sha256:"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    blob.unlink()
    with pytest.raises(RecordsError, match="sha256:"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    with records.database.reading() as connection:
        assert alias_at(connection, MODEL, "poc").version is None


def test_evidence_that_came_after_the_approval_makes_it_void(tmp_path: Path):
    records = alive(tmp_path)
    approve(records, asked(records).request.id, actor=APPROVER, reason=WHY)
    attach(records, f"{MODEL}@1", summary(), "re-evaluation")
    with pytest.raises(RecordsError, match=r"is void: the evidence pack sha256:\w+… was attached since"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)


def test_time_that_passed_since_the_approval_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = alive(tmp_path)
    approve(records, asked(records).request.id, actor=APPROVER, reason=WHY)
    monkeypatch.setattr("tsugiki.work.lifecycle.moment", lambda _: "2031-01-01T00:00:00.000000Z")
    with pytest.raises(RecordsError, match="the gate evidence_days fails"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)


def test_a_clock_set_back_makes_no_approval_valid_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = alive(tmp_path, versions=2)
    id = asked(records).request.id
    approve(records, id, days=1, actor=APPROVER, reason=WHY)
    now = datetime.now(UTC)
    monkeypatch.setattr(times, "now", lambda: times.utc(now + timedelta(days=2)))
    asked(records, f"{MODEL}@2")  # the ledger has seen that time
    monkeypatch.setattr(times, "now", lambda: times.utc(now))
    with pytest.raises(RecordsError, match=f"{id} is expired"):
        promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)


def test_a_name_that_moves_meanwhile_does_not_bring_in_files_that_nobody_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    records = alive(tmp_path, versions=2)
    promoted_to(records, f"{MODEL}@2")
    promoted_to(records, f"{MODEL}@1")
    for number in (1, 2):
        approve(records, asked(records, f"{MODEL}@{number}", "pilot").request.id, actor=APPROVER, reason=WHY)
    read = promotion.verify_files

    def slowly(*arguments: Any) -> None:
        read(*arguments)
        rollback(open_registry(tmp_path / "registry"), f"{MODEL}@poc", actor=OPERATOR, reason=WHY)

    monkeypatch.setattr(promotion, "verify_files", slowly)
    assert promote(records, f"{MODEL}@poc", "pilot", actor=OPERATOR, reason=WHY).version.number == 1


PARTS = ["verdict", "quality", "against_full", "retention", "slices", "criteria", "made_at"]


@pytest.mark.parametrize("missing", [*PARTS, "report"])
def test_no_version_reaches_production_with_a_measurement_missing(tmp_path: Path, missing: str):
    records = alive(tmp_path)
    name = add(records, 2)
    attach(records, name, summary())
    attach(records, name, report("embedded", "pass"), "compatibility")
    promoted_to(records, name, "poc", "pilot")
    if missing == "report":
        attach(records, name, report("embedded", "undecidable"), "compatibility")
    else:
        attach(records, name, {key: value for key, value in summary().items() if key != missing}, "re-evaluation")
    with pytest.raises(Undecided, match=f"{name} may not go to production"):
        asked(records, name, "production")


def test_conditions_are_shown_with_what_they_hold_for(tmp_path: Path):
    records = alive(tmp_path)
    id = asked(records).request.id
    approve(records, id, conditions=["not at night", "report each week"], actor=SECOND, reason=WHY)
    promote(records, f"{MODEL}@1", "poc", actor=OPERATOR, reason=WHY)
    with records.database.reading() as connection:
        found = promoted(connection, f"{MODEL}@poc")
    assert (found.conditions, found.approvers) == (["not at night", "report each week"], ["Suzuki"])
