"""Finished studies with adapter folders, at once: what evidence packs are made from in the tests."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

from tests.records.adapters import peft_config, peft_tensors, write_tensors
from tests.work.fakes import FakeTrials, make_study, write_data
from tsugiki.fingerprint import digest_file
from tsugiki.work.prepare import DataSpec
from tsugiki.work.spec import TrialSpec
from tsugiki.work.study import run_study

PERSON = "mori@kobe.example"  # personal data in one training row
WORD = "クランク軸受"  # in every prompt


class Trains(FakeTrials):
    """Also leaves an adapter folder, whose bytes tell the trials apart."""

    def _train(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        place = folder / "adapters" / spec.id
        place.mkdir(parents=True, exist_ok=True)
        write_tensors(place / "adapter_model.safetensors", peft_tensors(), seed=crc32(spec.id.encode()))
        (place / "adapter_config.json").write_text(json.dumps(peft_config()))
        found = super()._train(spec, folder)
        right = [float(one["expected"] == one["predicted"]) for one in found["predictions"]]
        return {**found, "scores": {"exact_match": right}}


def write_rows(path: Path, rows: int = 60) -> Path:
    """With Japanese prompts, a contradiction, personal data, a column of slices and a column of parts."""
    lines = list(csv.reader(io.StringIO(write_data(path, rows=rows).read_text(encoding="utf-8"), newline="")))
    parts = ["train", "train", "test", "dev", "shift"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*lines[0], "line", "part"])
        for number, (prompt, label) in enumerate(lines[1:]):
            said = f"{PERSON} " if number == 0 else ""
            writer.writerow([f"{said}{WORD}{number} {prompt}", label, f"line {number % 2}", parts[number % 5]])
        writer.writerow([f"{WORD}1 {lines[2][0]}", "P" if lines[2][1] != "P" else "V", "line 1", "train"])
    return path


def finish_study(folder: Path, trials: FakeTrials | None = None, **design: Any) -> Path:
    """A study of 61 rows with shifted rows and slices; returns its folder."""
    path = write_rows(folder.parent / f"{folder.name}.csv")
    knobs = {"methods": ("lora", "full"), "seeds": 2, "curve_sizes": 1, "tries": 1, **design}
    wanted = replace(make_study(path, **knobs), data=DataSpec(path, split_column="part", slice_columns=("line",)))
    run_study(wanted, folder, lambda event: None, run_trial=trials or Trains())
    return folder


def adapter_files(folder: Path, trial: str = "lora-s0") -> dict[str, str]:
    """Path to digest of what a trial trained."""
    return {path.name: digest_file(path) for path in (folder / "adapters" / trial).iterdir()}
