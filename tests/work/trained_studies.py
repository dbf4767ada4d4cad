"""A finished study whose trials left real adapter folders, at once: for what takes adapters from studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.records.adapters import own_manifest, write_own
from tests.work.fakes import FakeTrials
from tests.work.finished_studies import finish_study
from tsugiki.work.lock import read_lock
from tsugiki.work.spec import TrialSpec


class TrainsAdapters(FakeTrials):
    """Every training leaves a sound folder of its own numbers, which names trial, base and data as the engine does."""

    def _train(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        lock = read_lock(folder)
        base = {key: value for key, value in lock["base"].items() if key != "dtype"}
        facts = {"trial": spec.id, "base": base, "data_digest": lock["data"]["digest"]}
        place = folder / "adapters" / spec.id
        write_own(place, manifest={**facts, "recipe": spec.recipe.model_dump(mode="json")}, seed=sum(spec.id.encode()))
        return super()._train(spec, folder)


def trained_study(folder: Path) -> Path:
    """With lora and full, two seeds each; returns its folder."""
    return finish_study(folder, TrainsAdapters(identity=own_manifest()["base"]))


def change_json(path: Path, change: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
