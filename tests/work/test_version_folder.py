"""Exports and checks of registered versions: fetched whole, described by the registry, reports kept for the gates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.records.registries import MAKER, registry
from tests.work.adapters import adapter_of
from tsugiki.cli.main import status_of
from tsugiki.engine.base import Base
from tsugiki.errors import RecordsError
from tsugiki.records.open import Records
from tsugiki.records.packs import packs_of
from tsugiki.records.versions import Version
from tsugiki.work.gates import _compatibility
from tsugiki.work.register import Stated, add_version
from tsugiki.work.serving_base import attach_report, check_folder
from tsugiki.work.version_folder import adapter_named


@pytest.fixture
def registered(tiny_base: Base, tmp_path: Path) -> tuple[Records, Version]:
    adapter_of(tiny_base, tmp_path / "a")
    records = registry(tmp_path)
    facts = Stated("hinshitsu-qa", data_licence="社内データ", data_purpose="品質問い合わせ")
    return records, add_version(records, tmp_path / "a", facts, actor=MAKER, reason="trained")


def test_a_version_is_fetched_whole_and_gone_afterwards(registered: tuple[Records, Version], tmp_path: Path) -> None:
    with adapter_named("hinshitsu-qa@1", tmp_path / "registry") as held:
        assert held.version is not None and held.version.label == "hinshitsu-qa@1" and held.summary is None
        for path in held.folder.iterdir():
            assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
        assert len(list(held.folder.iterdir())) == 3
        folder = held.folder
    assert not folder.exists()
    with adapter_named(str(tmp_path / "a"), tmp_path / "registry") as held:
        assert held.folder == tmp_path / "a" and held.version is None
    for name in ("hinshitsu-qa@2", "other@1"):
        with pytest.raises(RecordsError), adapter_named(name, tmp_path / "registry"):
            pass


def test_a_version_is_exported_with_what_the_registry_knows(
    registered: tuple[Records, Version], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, version = registered
    line = ["export", "hinshitsu-qa@1", "--registry", str(tmp_path / "registry")]
    assert status_of([*line, "--to", "bom", "--out", str(tmp_path / "bom")]) == 0
    bom = json.loads((tmp_path / "bom" / "bom.cdx.json").read_text(encoding="utf-8"))
    assert bom["metadata"]["timestamp"] == version.created_at
    assert bom["metadata"]["component"]["hashes"][0]["content"] == version.digest.removeprefix("sha256:")
    assert bom["components"][1]["licenses"] == [{"license": {"name": "社内データ"}}]
    assert status_of([*line, "--to", "card", "--out", str(tmp_path / "card")]) == 0
    card = (tmp_path / "card" / "README.ja.md").read_text(encoding="utf-8")
    assert "| 版 | hinshitsu-qa@1 |" in card and "| 利用目的 | 品質問い合わせ |" in card
    capsys.readouterr()
    assert status_of(["export", "hinshitsu-qa@9", *line[2:], "--to", "bom", "--out", str(tmp_path / "x")]) == 1
    assert "There is no version '9' of hinshitsu-qa; the last is 1" in capsys.readouterr().err


def test_a_report_is_kept_where_the_gates_look_for_it(
    registered: tuple[Records, Version], tiny_base: Base, tmp_path: Path
) -> None:
    records, version = registered
    report = check_folder(tmp_path / "a", ["embedded"], str(tiny_base.folder), licence="mit")
    attach_report(records, version, report, actor=MAKER, reason="before approval")
    with records.database.reading() as connection:
        (pack,) = packs_of(connection, version.seq)
    assert pack.kind == "compatibility"
    assert _compatibility("embedded", [pack.manifest["summary"]]).verdict == "pass"
    assert _compatibility("vllm", [pack.manifest["summary"]]).verdict == "undecidable"


def test_the_check_command_names_a_version_and_refuses_to_attach_a_folder(
    registered: tuple[Records, Version], tiny_base: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--target", "embedded", "--base", str(tiny_base.folder), "--licence", "mit"]
    where = ["--registry", str(tmp_path / "registry")]
    assert status_of(["registry", "check", "hinshitsu-qa@1", *line, *where]) == 0
    assert "hinshitsu-qa@1: pass" in capsys.readouterr().out
    assert status_of(["registry", "check", str(tmp_path / "a"), *line, *where, "--attach"]) == 2
    assert "is no version of a registry" in capsys.readouterr().err
