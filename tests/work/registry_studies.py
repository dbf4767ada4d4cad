"""A finished study whose adapters a registry takes, at once: for the tests of the walkthrough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.records.adapters import own_manifest, write_own
from tests.work.fakes import FakeTrials, answered, make_study, write_data
from tsugiki.data.shapes import Example
from tsugiki.work.lock import read_lock
from tsugiki.work.spec import TrialSpec
from tsugiki.work.study import run_study

BASE = own_manifest()["base"]


class LeavesAdapters(FakeTrials):
    """Each training leaves a sound adapter folder of its own; full fine-tuning is surely not better here."""

    def answers(self, name: str, spec: TrialSpec, test: tuple[Example, ...], rows: int = 0) -> dict[str, Any]:
        return answered(test, 0.7) if name == "full" else super().answers(name, spec, test, rows)

    def _train(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        place = folder / "adapters" / spec.id
        data = read_lock(folder)["data"]["digest"]
        write_own(place, manifest={"trial": spec.id, "base": BASE, "data_digest": data}, seed=len(self.ran))
        return super()._train(spec, folder)


def finished_study(folder: Path, rows: int = 400) -> Path:
    """LoRA against full fine-tuning with three seeds each, and a verdict; returns the study's folder."""
    data = write_data(folder.parent / f"{folder.name}.csv", rows=rows)
    design: dict[str, Any] = {"methods": ("lora", "full"), "seeds": 3, "curve_sizes": 1, "tries": 1}
    run_study(make_study(data, **design), folder, lambda event: None, run_trial=LeavesAdapters(identity=BASE))
    return folder
