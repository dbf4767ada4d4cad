from __future__ import annotations

from pathlib import Path

import pytest

from tests.records.registries import ADMIN, OPERATOR, registry
from tsugiki.errors import RecordsError
from tsugiki.records.ledger import history
from tsugiki.work.policy import Gates, default_text, parse_policy, policy_in_force, set_policy

SMALL = "format: 1\nstages:\n  line-3:\n    after: null\n    gates: {verdict: [adopt]}\n"


def test_both_languages_say_the_same():
    english, japanese = (parse_policy(default_text(language), source=language) for language in ("en", "ja"))
    assert english == japanese and english.digest == japanese.digest
    assert [(name, stage.after) for name, stage in english.stages.items()] == [
        ("poc", None), ("pilot", "poc"), ("production", "pilot"),
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_knob_is_explained_in_the_file(language: str):
    lines = default_text(language).splitlines()  # type: ignore[arg-type]
    for name in ("after", "approvals", "approval_days", "reevaluate_days", *Gates.model_fields):
        place = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{name}:"))
        assert lines[place - 1].strip().startswith("# "), name


def test_what_is_left_out_holds_as_in_production():
    policy = parse_policy(SMALL, source="x")
    production = parse_policy(default_text(), source="x").stage("production")
    assert policy.stages["line-3"].gates == production.gates
    assert policy.stages["line-3"].reevaluate_days == production.reevaluate_days


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no policy"),
        ("- a", "holds no policy"),
        ("a: [", "line 1 is no YAML"),
        ("a: &x 1\nb: *x", "line 2 is no YAML: it refers to another place"),
        (SMALL + "stages: {}\n", "line 6 is no YAML: stages is there twice"),
        (SMALL + "    aproval_days: 3\n", "stages.line-3.aproval_days is not a known key; did you mean approval_days"),
        (SMALL.replace("verdict:", "verdikt:"), "stages.line-3.gates.verdikt is not a known key; did you mean verdict"),
        (SMALL + "qqq: 3\n", "qqq is not a known key; known are format, stages"),
        (SMALL.replace("format: 1\n", ""), "format is missing"),
        (SMALL.replace("    after: null\n", ""), "stages.line-3.after is missing"),
        (SMALL.replace("[adopt]", "[adopt, stop]"), "stages.line-3.gates.verdict.1: input should be 'adopt' or"),
        (SMALL.replace("[adopt]", "[undecidable]"), "got 'undecidable'"),
        (SMALL.replace("[adopt]", "[]"), "verdict must name adopt, conditional or both"),
        (SMALL.replace("null", "pilot"), "stage line-3 comes after pilot, which is no stage"),
        (SMALL.replace("null", "line-3"), "stage line-3 would have to come before itself"),
        (SMALL.replace("line-3", "'3'"), "3 cannot be the name of a stage, since name@3 is a version"),
        (SMALL.replace("line-3", "../x"), "cannot be the name of a stage"),
        (
            SMALL.replace("{verdict: [adopt]}", "{quality_at_least: .nan}"),
            "quality_at_least must be a number from 0 to 1, study or null, got nan",
        ),
        (
            SMALL.replace("{verdict: [adopt]}", "{quality_at_least: 2}"),
            "quality_at_least must be a number from 0 to 1, study or null, got 2",
        ),
        (SMALL.replace("{verdict: [adopt]}", "{quality_at_least: high}"), "got 'high'"),
        (SMALL.replace("{verdict: [adopt]}", "{evidence_days: 1.5}"), "got 1.5"),
        (SMALL.replace("{verdict: [adopt]}", "{licence_and_purpose: yep}"), "got 'yep'"),
        (SMALL + "    approvals: 0\n", "stages.line-3.approvals: input should be greater than or equal to 1, got 0"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_place(text: str, said: str):
    with pytest.raises(RecordsError) as error:
        parse_policy(text, source="policy.yaml")
    assert str(error.value).startswith("policy.yaml") or "name of a stage" in said
    assert said in str(error.value)


def test_an_unknown_stage_is_not_allowed():
    policy = parse_policy(default_text(), source="x")
    with pytest.raises(
        RecordsError, match=r"productoin is no stage of the policy\. Its stages are: poc, pilot, product"
    ):
        policy.stage("productoin")


def test_a_change_is_an_event_and_takes_effect(tmp_path: Path):
    records, file = registry(tmp_path), tmp_path / "new.yaml"
    file.write_text(SMALL, encoding="utf-8")
    with records.database.reading() as connection:
        before = policy_in_force(records, connection)
    assert before.since is None
    with pytest.raises(RecordsError, match="佐藤 is an operator and may not change-policy"):
        set_policy(records, file, actor=OPERATOR, reason="x")
    made = set_policy(records, file, actor=ADMIN, reason="one line only")
    with records.database.reading() as connection:
        event = history(connection, object="policy")[0]
        assert policy_in_force(records, connection) == made
    assert event.seq == made.since and event.reason == "one line only"
    assert event.before == {"digest": before.policy.digest}
    assert event.after == {"digest": made.policy.digest, "text": SMALL}
    assert (tmp_path / "registry" / "policy.yaml").read_text(encoding="utf-8") == SMALL
    with pytest.raises(RecordsError, match="says what is in force already"):
        set_policy(records, file, actor=ADMIN, reason="x")


def test_an_edited_copy_stops_every_decision(tmp_path: Path):
    records, copy = registry(tmp_path), tmp_path / "registry" / "policy.yaml"
    copy.write_text(SMALL, encoding="utf-8")
    with records.database.reading() as connection, pytest.raises(RecordsError, match="edited and is not in force"):
        policy_in_force(records, connection)
    copy.write_text("# said otherwise\n" + default_text(), encoding="utf-8")
    with records.database.reading() as connection:
        assert policy_in_force(records, connection).since is None
