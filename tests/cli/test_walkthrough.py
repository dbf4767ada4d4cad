"""docs/walkthrough.md and its twin, command by command, as a new user types them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.work.registry_studies import finished_study
from tests.work.shown import report
from tsugiki.cli.main import status_of
from tsugiki.fingerprint import canonical_json
from tsugiki.records.aliases import alias_at
from tsugiki.records.ledger import events_since
from tsugiki.records.open import open_registry
from tsugiki.records.tokens import actor_of
from tsugiki.records.versions import find_version
from tsugiki.work.attach import attach_bundle

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"en": ("walkthrough.md", "finding-class"), "ja": ("walkthrough.ja.md", "指摘分類")}


def commands(page: str) -> list[tuple[list[str], int]]:
    """Each command line of the page in its words, and the exit status that the page tells."""
    text = (DOCS / page).read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]
    found = []
    for line in lines:
        words, _, status = line.partition("  # status ")
        assert words.startswith("tsugiki "), line
        found.append((shlex.split(words)[1:], int(status or 0)))
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_study(tmp_path_factory.mktemp("studies") / "study")


def check_passed(name: str) -> None:
    """What the check of compatibility attaches when it passes; the base of this study is none that could be loaded."""
    records = open_registry(Path("tsugiki-registry"))
    actor = actor_of(records.database, Path("sato.token").read_text())
    with records.database.reading() as connection:
        version = find_version(connection, name)
    said = report("embedded", "pass")
    files = {"compatibility.json": canonical_json(said)}
    attach_bundle(records, version, "compatibility", files, said, actor=actor, reason="what line 3 runs")


@pytest.mark.parametrize("language", PAGES)
def test_every_command_of_the_page_does_what_it_says(
    language: str, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    page, model = PAGES[language]
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSUGIKI_TOKEN", raising=False)
    monkeypatch.delenv("TSUGIKI_REGISTRY", raising=False)
    shutil.copytree(study, "study")
    said: dict[str, str] = {}
    for words, status in commands(page):
        if words[0] == "demo":
            continue
        if words[1] == "check":
            check_passed(words[2])
            continue
        found = status_of(words)
        printed = capsys.readouterr()
        assert found == status, (words, printed)
        said[" ".join(words[1:4])] = printed.out + printed.err
    refused = said["approve r13 --reason"]
    assert "may not approve" in refused and refused.count("\n") == 1
    assert f"{model}@1" in said[f"show {model}@poc --at"] or "never been given" in said[f"show {model}@poc --at"]
    assert f"{model}@2, which was withdrawn" in said[f"rollback {model}@poc --to"]
    assert "agrees" in said["verify --anchor anchor.jsonl"]
    records = open_registry(Path("tsugiki-registry"))
    with records.database.reading() as connection:
        kinds = [event.kind for event in events_since(connection)]
        assert alias_at(connection, model, "poc").number == 1
    assert [kind for kind in kinds if kind.startswith(("approval", "alias", "version.withdrawn"))] == [
        "approval.requested", "approval.commented", "approval.given", "alias.promoted", "approval.requested",
        "approval.given", "alias.promoted", "alias.rolled_back", "alias.stopped", "alias.rolled_back",
        "approval.renewed", "version.withdrawn",
    ]  # fmt: skip
    tokens = [path.read_text().strip() for path in Path().glob("*.token")]
    assert len(tokens) == 4
    everything = b"".join(path.read_bytes() for path in Path("tsugiki-registry").rglob("*") if path.is_file())
    assert not [token for token in tokens if token.rpartition("_")[2].encode() in everything]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in Path().glob("*.token"))


@pytest.mark.slow
def test_the_demo_goes_as_far_as_its_verdict_lets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.chdir(tmp_path)
    for words, _ in commands("walkthrough.md"):
        if words[1] in ("gates", "request"):
            break
        assert status_of(words) in ((0, 3) if words[0] == "demo" or words[1] == "check" else (0,)), words
    verdict = json.loads(Path("study/scorecard.json").read_text(encoding="utf-8"))["verdict"]
    capsys.readouterr()
    status = status_of(["registry", "gates", "finding-class@1", "--stage", "poc", "--json"])
    judged = {one["gate"]: one["verdict"] for one in json.loads(capsys.readouterr().out)["gates"]}
    wanted = {"adopt": "pass", "conditional": "pass", "stop": "fail", "undecidable": "undecidable"}[verdict["value"]]
    assert judged["verdict"] == (wanted if verdict["method"] == "lora" else "undecidable")
    assert status == (1 if "fail" in judged.values() else 3 if "undecidable" in judged.values() else 0)
