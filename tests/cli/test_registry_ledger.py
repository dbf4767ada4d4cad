from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.records.registries import ADMIN, APPROVER, OPERATOR
from tests.work.lives import MODEL, WHY, alive, promoted_to, summary
from tests.work.lives import attach as attach_evidence
from tsugiki.cli.main import status_of
from tsugiki.records.open import Records
from tsugiki.records.tokens import create_token
from tsugiki.work.decisions import withdraw
from tsugiki.work.rollback import stop


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TSUGIKI_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.delenv("TSUGIKI_TOKEN", raising=False)
    return alive(tmp_path, versions=2)


def run(capsys: Any, *words: str, status: int = 0) -> str:
    found = status_of(["registry", *words])
    said = capsys.readouterr()
    assert found == status, said
    return said.err or said.out if status else said.out


def test_history_says_who_did_what_and_why(records: Records, capsys: Any):
    promoted_to(records)
    stop(records, f"{MODEL}@poc", actor=OPERATOR, reason="smoke\x1b[2J")
    said = run(capsys, "history", f"{MODEL}@poc")
    lines = said.splitlines()
    assert lines[0].split() == ["event", "when", "who", "what", "of", "change", "request", "why"]
    assert f"{MODEL}@1 → –" in lines[1] and "佐藤 (operator)" in lines[1] and "\x1b" not in said
    assert f"{MODEL}@1 " in lines[2] and "alias.promoted" in lines[2] and lines[2].endswith(WHY)
    found = json.loads(run(capsys, "history", f"{MODEL}@poc", "--json"))
    assert [one["kind"] for one in found["events"]] == ["alias.stopped", "alias.promoted"]
    assert "time zone" in run(capsys, "history", MODEL, "--until", "2026-01-01 00:00")
    assert "is no moment" in run(capsys, "history", MODEL, "--since", "lately", status=2)


def test_show_at_says_which_zone_it_took(records: Records, capsys: Any):
    promoted_to(records)
    then = json.loads(run(capsys, "show", f"{MODEL}@poc", "--at", "2026-01-02 14:05+09:00", "--json"))
    assert (then["at"], then["zone"], then["version"]) == ("2026-01-02T05:05:00.000000Z", "UTC+09:00", None)
    now = run(capsys, "show", f"{MODEL}@poc", "--at", "2100-01-01 00:00")
    assert "as things stand now" in now and "as things" not in run(capsys, "show", f"{MODEL}@poc", "--at", "2026-01-02")
    assert "(local)" in now and f"{MODEL}@1" in now and "approved by" in now and "高橋" in now
    withdraw(records, f"{MODEL}@1", actor=APPROVER, reason=WHY)
    assert "nothing: it was stopped" in run(capsys, "show", f"{MODEL}@poc", "--at", "2100-01-01 00:00")


def test_verify_ends_with_1_and_names_what_is_wrong(records: Records, capsys: Any):
    assert "verified" in run(capsys, "verify", "--files")
    with records.database.writing() as connection:
        connection.exec_driver_sql("UPDATE people SET role = 'admin' WHERE name = 'guest'")
    assert "not verified: people: guest is admin" in run(capsys, "verify", status=1)
    found = json.loads(run(capsys, "verify", "--json", status=1))
    assert found["verified"] is False and found["bad"]["table"] == "people"


def test_gates_end_with_3_where_it_cannot_be_told(records: Records, capsys: Any):
    assert run(capsys, "gates", f"{MODEL}@1", "--stage", "poc").splitlines()[-1] == "poc  pass"
    assert "has never been at poc" in run(capsys, "gates", f"{MODEL}@1", "--stage", "pilot", status=1)
    attach_evidence(records, f"{MODEL}@1", summary(retention=None), "re-evaluation")
    found = json.loads(run(capsys, "gates", f"{MODEL}@1", "--stage", "poc", "--json", status=3))
    assert found["verdict"] == "undecidable"
    assert "live is no stage" in run(capsys, "gates", f"{MODEL}@1", "--stage", "live", status=1)


def test_the_policy_is_written_set_and_printed(
    records: Records, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "policy.yaml"
    assert run(capsys, "policy", "--write", str(file), "--language", "ja") == ""
    assert "レジストリのポリシー" in file.read_text(encoding="utf-8")
    assert "exists already" in run(capsys, "policy", "--write", str(file), status=2)
    with records.database.writing() as connection:
        token = create_token(connection, "admin", actor=ADMIN, reason=WHY)[1]
    monkeypatch.setenv("TSUGIKI_TOKEN", token)
    assert "says what is in force already" in run(capsys, "policy", "--set", str(file), "--reason", "x", status=1)
    file.write_text(file.read_text(encoding="utf-8").replace("approvals: 1", "approvals: 2"), encoding="utf-8")
    assert "The reason is empty" in run(capsys, "policy", "--set", str(file), status=1)
    assert "in force since event" in run(capsys, "policy", "--set", str(file), "--reason", "four eyes more")
    assert "approvals: 2" in run(capsys, "policy")
    found = json.loads(run(capsys, "policy", "--json"))
    assert found["policy"]["stages"]["poc"]["approvals"] == 2 and found["since_event"] is not None
    (tmp_path / "registry" / "policy.yaml").write_text("format: 1\n", encoding="utf-8")
    assert "stages is missing" in run(capsys, "policy", status=1)


def test_anchoring_needs_one_place(records: Records, capsys: Any):
    assert "One of --file and --command is needed" in run(capsys, "anchor", status=2)
    assert "'\"mail' cannot be run: no closing quotation" in run(capsys, "anchor", "--command", '"mail', status=2)
