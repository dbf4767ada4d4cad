"""What one trial is told and what it answers: the spec, the result file, and where both lie in a study folder.

Written by `study`, read by `trial` in its own process and by `assemble`. A spec holds everything that decides the
outcome of a trial, so that two results with equal spec digests may stand for each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from tsugiki.config import Knobs, PlanSpec, Recipe
from tsugiki.errors import StudyError
from tsugiki.files import write_json
from tsugiki.fingerprint import digest_json
from tsugiki.work.design import Measurement

RESULT_SCHEMA = 1
LOG = "log.txt"  # in the scratch folder of a trial
INSPECTION, CALIBRATION = "inspection", "calibration"
FINISHED = ("done", "does_not_fit")  # never run again while the spec is the same, unless the process was killed
Status = Literal["done", "failed", "does_not_fit", "skipped"]
Template = Literal["plain", "chat"]


class TrialSpec(BaseModel):
    """One process's work, decided by the study. Paths are relative to the study folder."""

    model_config = Knobs.model_config

    id: str = Field(pattern=r"^[a-z0-9-]+$", description="names the result file and the adapter folder")
    kind: Literal["inspect", "calibrate", "reference", "search", "train"]
    base: str = Field(description="the base as the user named it")
    base_digest: str | None = Field(description="a base with another digest is refused; None before it is known")
    template: Template = Field(description="plain text, or the base's own chat template")
    plans: tuple[PlanSpec, ...] = Field((), description="one plan; the calibration has one per method")
    recipe: Recipe
    learning_rates: tuple[float, ...] = Field((), description="search: the rates to try")
    ranks: tuple[int, ...] = Field((), description="search: ranks to which the updates are cut, to see which suffices")
    train: str = "data/train.jsonl"
    dev: str = "data/dev.jsonl"
    test: str = "data/test.jsonl"
    shift: str | None = Field(None, description="shifted rows that are answered beside the test rows")
    shots: int = Field(0, ge=0, description="reference: examples in the k-shot prompt")
    measurements: tuple[Measurement, ...] = Field((), description="train: what is measured besides quality")

    @property
    def digest(self) -> str:
        """Where the base lies does not matter, which one it is does: `base_digest` is in, `base` is not."""
        return digest_json(self.model_dump(mode="json", exclude={"base"}))

    @property
    def plan(self) -> PlanSpec:
        return self.plans[0]


def read_spec(path: Path) -> TrialSpec:
    try:
        return TrialSpec.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StudyError(f"The trial spec {path} cannot be read: {error}.", fix="Start the study again.") from None


def spec_path(study: Path, trial: str) -> Path:
    return scratch_folder(study, trial) / "spec.json"


def scratch_folder(study: Path, trial: str) -> Path:
    """Checkpoint, spec and log of a trial that has not finished; gone once its result is written."""
    return study / "work" / trial


def prefix_folder(study: Path) -> Path:
    """What trials share of the blocks that none of them trains; gone when the study has ended."""
    return study / "work" / "prefix"


def result_path(study: Path, trial: str) -> Path:
    """Inspection and calibration prepare the trials and are none themselves."""
    return study / f"{trial}.json" if trial in (INSPECTION, CALIBRATION) else study / "trials" / f"{trial}.json"


def adapter_folder(study: Path, trial: str) -> Path:
    return study / "adapters" / trial


def result(spec: TrialSpec, status: Status, **values: Any) -> dict[str, Any]:
    """The frame that every result has, whatever came of the trial."""
    return {
        "schema": RESULT_SCHEMA,
        "id": spec.id,
        "kind": spec.kind,
        "status": status,
        "reason": None,
        "fix": None,
        "spec": spec.model_dump(mode="json"),
        "spec_digest": spec.digest,
        **values,
    }


def write_result(study: Path, value: Mapping[str, Any]) -> None:
    write_json(result_path(study, str(value["id"])), value)


def read_result(study: Path, trial: str) -> dict[str, Any] | None:
    """The result on disk, or None. Results are written whole, so a broken one was changed by someone else."""
    path = result_path(study, trial)
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.get("schema") != RESULT_SCHEMA or value.get("id") != trial:
        raise StudyError(
            f"{path} is not the result of trial {trial}.", fix="Delete that file; the trial will be run again."
        )
    return value


def is_finished(study: Path, spec: TrialSpec) -> bool:
    """True when the result on disk is of this very spec and need not be taken again."""
    found = read_result(study, spec.id)
    if found is None or found["spec_digest"] != spec.digest:
        return False
    return found["status"] in FINISHED and not found.get("killed", False)
