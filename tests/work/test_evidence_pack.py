"""Evidence packs: the same study gives the same pack, no row's text is in it, a changed study is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.work.fakes import FakeTrials, make_study, write_data
from tests.work.finished_studies import PERSON, WORD, Trains, adapter_files, finish_study
from tsugiki.errors import RecordsError, StudyError
from tsugiki.fingerprint import digest_bytes, digest_file, digest_json
from tsugiki.work.evidence_pack import SALT, bound, make_pack, rebuilt
from tsugiki.work.examples import read_examples
from tsugiki.work.item_texts import with_texts
from tsugiki.work.study import run_study

VERSION = "sha256:" + "5" * 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_study(tmp_path_factory.mktemp("studies") / "study")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_same_study_gives_the_same_bytes(folder: Path, copy: Path) -> None:
    first, again = make_pack(folder), make_pack(folder)
    with pytest.raises(StudyError, match="holds no study"):
        make_pack(folder.parent / "nowhere")
    assert not (folder.parent / "nowhere").exists()
    files = adapter_files(folder)
    assert digest_json(bound(first, VERSION, files)) == digest_json(bound(again, VERSION, files))
    assert first.texts == again.texts
    (copy / SALT).unlink(missing_ok=True)
    assert first.texts != make_pack(copy).texts  # a study without its salt makes its own
    shutil.copy(folder / SALT, copy / SALT)
    assert make_pack(copy) == first
    assert (folder / SALT).stat().st_mode & 0o777 == 0o600


def test_no_text_of_a_row_is_left_in_the_files(folder: Path) -> None:
    pack = make_pack(folder)
    together = b"\n".join(pack.files.values())
    for word in (PERSON, PERSON.split("@")[1], WORD, json.dumps(WORD)[1:-1]):
        assert word.encode() not in together, word
    for part in ("train", "test", "shift"):
        for example in read_examples(folder / f"data/{part}.jsonl"):
            assert example.prompt.strip().encode() not in together
    assert any(WORD.encode() in item.content for item in pack.texts)


def test_the_items_are_named_by_salted_digest(folder: Path) -> None:
    pack = make_pack(folder)
    index = json.loads(pack.files["texts.json"])
    assert [(one["path"], one["digest"]) for one in index] == [(one.path, one.digest) for one in pack.texts]
    rows = {
        example.row for name in ("train", "test", "shift") for example in read_examples(folder / f"data/{name}.jsonl")
    }
    assert rows == {row for one in index for row in one["rows"]}
    salts = {json.loads(item.content)["salt"] for item in pack.texts}
    assert len(salts) == len(pack.texts) and all(len(salt) == 64 for salt in salts)
    secret = (folder / SALT).read_bytes().hex()
    assert all(secret.encode() not in item.content for item in pack.texts)
    several = [item for item in pack.texts if len(item.rows) > 1]
    assert len(several) == 1 and several[0].path.startswith("texts/several-")  # the rows that contradict each other


def test_the_scorecard_comes_out_of_the_pack_byte_by_byte(folder: Path) -> None:
    pack = make_pack(folder)
    stored, again = rebuilt(pack.files, [item.content for item in pack.texts])
    assert stored == again == (folder / "scorecard.json").read_bytes()


def test_texts_put_back_give_the_files_of_the_study(folder: Path) -> None:
    pack = make_pack(folder)
    whole = with_texts(pack.files, [item.content for item in pack.texts])
    for path in ("data/test.jsonl", "data/shift.jsonl", "data/check.json", "trials/reference.json", "study.yaml"):
        assert whole[path] == (folder / path).read_bytes()
    assert json.loads(whole["data/slices.json"]) == json.loads((folder / "data/slices.json").read_bytes())


def test_without_texts_it_says_what_cannot_be_done(folder: Path) -> None:
    pack = make_pack(folder)
    with pytest.raises(RecordsError, match=r"lacks the texts of 1 of \d+ items, the first of row"):
        rebuilt(pack.files, [item.content for item in pack.texts[1:]])
    with pytest.raises(ValueError, match="no file has the place"):
        with_texts(pack.files, [b'{"rows":[1],"salt":"","texts":{"trials/none.json#/a":"x"}}'])


def test_scores_stand_side_by_side(folder: Path) -> None:
    scores = json.loads(make_pack(folder).files["items.json"])
    test = read_examples(folder / "data/test.jsonl")
    assert scores["rows"] == [example.row for example in test] and scores["metric"] == "exact_match"
    assert set(scores["references"]) == {"base", "k-shot", "copy", "majority"}
    assert scores["methods"]["lora"]["trials"] == ["lora-s0", "lora-s1"]
    right = sum(scores["methods"]["lora"]["scores"][0]) / len(test)
    card = json.loads((folder / "scorecard.json").read_text())
    assert right == card["methods"][0]["by_seed"][0]["quality"]["estimate"]


def test_the_summary_is_about_the_method_that_made_the_version(folder: Path) -> None:
    pack = make_pack(folder)
    manifest = bound(pack, VERSION, adapter_files(folder, "lora-s1"))
    card = json.loads((folder / "scorecard.json").read_text())
    summary, lora = manifest["summary"], card["methods"][0]
    assert manifest["version"] == VERSION and manifest["kind"] == "study"
    assert (summary["trial"], summary["method"]) == ("lora-s1", "lora")
    assert (
        summary["verdict"]["value"] == card["verdict"]["value"]
        and summary["verdict"]["code"] == card["verdict"]["code"]
    )
    assert summary["quality"] == lora["quality"] and summary["quality"]["low"] < summary["quality"]["high"]
    assert summary["quality_of_trial"] == lora["by_seed"][1]["quality"]
    assert summary["against_full"] == lora["against_full"] and summary["retention"] == lora["retention"]
    assert summary["sample_size"] == 12 and summary["machine"]["fingerprint"] == "sha256:11"
    assert summary["slices"]["looked_at"] == card["slices"]["looked_at"] and "worst" in summary["slices"]
    assert summary["shift"]["name"] == "lora" and summary["shift"]["shifted"]["n"] == 12
    assert summary["prices_date"] is None and summary["cost"] is None and "cost" in summary["reasons"]
    assert summary["study"] == card["study"]["digest"] and summary["made_at"] == card["study"]["created"]
    files = {one["path"]: one["digest"] for one in manifest["files"]}
    assert files == {path: digest_bytes(content) for path, content in pack.files.items()}


def test_a_verdict_about_another_method_is_none_about_this_version(folder: Path) -> None:
    found = bound(make_pack(folder), VERSION, adapter_files(folder, "full-s0"))["summary"]
    assert found["verdict"]["value"] is None and found["verdict"]["reason"].endswith("and this version is full")


def test_a_version_that_the_study_did_not_train_is_refused(folder: Path) -> None:
    smaller = next((folder / "adapters").glob("lora-n*-s0")).name  # trained on a part of the rows, for the curve
    changed = {**adapter_files(folder), "adapter_config.json": VERSION}
    lacking = {path: digest for path, digest in adapter_files(folder).items() if path != "adapter_config.json"}
    for files in (adapter_files(folder, smaller), changed, lacking):
        with pytest.raises(RecordsError, match=r"No final training of the study sha256:.* wrote the files"):
            bound(make_pack(folder), VERSION, files)


def test_readme_and_licence_may_stand_beside_what_was_trained(folder: Path) -> None:
    pack = make_pack(folder)
    assert bound(pack, VERSION, {**adapter_files(folder), "README.md": VERSION})["summary"]["trial"] == "lora-s0"
    with pytest.raises(RecordsError, match="No final training"):
        bound(pack, VERSION, {**adapter_files(folder), "more.json": VERSION})
    with pytest.raises(RecordsError, match="No final training"):
        bound(pack, VERSION, {"README.md": VERSION})


def test_a_scorecard_that_its_study_does_not_give_is_refused(copy: Path) -> None:
    card = json.loads((copy / "scorecard.json").read_text())
    card["verdict"]["value"] = "adopt" if card["verdict"]["value"] != "adopt" else "stop"
    (copy / "scorecard.json").write_text(json.dumps(card, ensure_ascii=False, sort_keys=True, indent=2) + "\n")
    with pytest.raises(StudyError, match="is not what the study's files give"):
        make_pack(copy)


def test_changed_answers_are_refused(copy: Path) -> None:
    path = copy / "trials/lora-s0.json"
    path.write_text(path.read_text().replace('"predicted": "R"', '"predicted": "P"', 1))
    with pytest.raises(StudyError, match="is not what the study's files give"):
        make_pack(copy)


def test_an_unfinished_study_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "scorecard.json").unlink()
    with pytest.raises(StudyError, match=r"has not ended: it has no scorecard\.json"):
        make_pack(copy)
    (copy / "trials/lora-s1.json").unlink()
    with pytest.raises(StudyError, match="1 trials are missing, the first is lora-s1"):
        make_pack(copy)
    with pytest.raises(StudyError, match="holds no study"):
        make_pack(tmp_path / "nowhere")


def test_adapters_that_were_cleared_away_are_named(copy: Path, folder: Path) -> None:
    shutil.rmtree(copy / "adapters" / "lora-s0")
    with pytest.raises(RecordsError, match="1 of its 4 adapter folders are gone"):
        bound(make_pack(copy), VERSION, adapter_files(folder))


def test_a_broken_salt_is_refused(copy: Path) -> None:
    (copy / SALT).parent.mkdir(exist_ok=True)
    (copy / SALT).write_bytes(b"short")
    with pytest.raises(StudyError, match="is not the salt of this study"):
        make_pack(copy)


def test_a_study_without_shift_slices_and_texts_of_chats(tmp_path: Path) -> None:
    run_study(
        make_study(write_data(tmp_path / "d.csv"), seeds=1, curve_sizes=0, tries=1), tmp_path / "s",
        lambda event: None, run_trial=Trains(),
    )  # fmt: skip
    pack = make_pack(tmp_path / "s")
    stored, again = rebuilt(pack.files, [item.content for item in pack.texts])
    assert stored == again and "data/shift.jsonl" not in pack.files


def test_trials_that_failed_are_part_of_the_evidence(tmp_path: Path) -> None:
    broken = {"status": "failed", "reason": "Broken.", "fix": "-"}
    trials: FakeTrials = Trains(before=lambda spec, folder: broken if spec.id == "lora-s1" else None)
    folder = finish_study(tmp_path / "study", trials)
    pack = make_pack(folder)
    assert json.loads(pack.files["trials/lora-s1.json"])["status"] == "failed" and "lora-s1" not in pack.adapters
    assert rebuilt(pack.files, [item.content for item in pack.texts])[1] == (folder / "scorecard.json").read_bytes()
    assert digest_file(folder / "study.yaml") == digest_bytes(pack.files["study.yaml"])
