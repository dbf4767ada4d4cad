"""What a study says about an adapter that one of its trials trained: base, data, recipe, seed, verdict.

Called by `register` for `tsugiki registry add --study`. Believes nothing that does not fit together: the adapter must
be, digest by digest, the one in the study's folder, and lock, result and manifest must name the same base and data.
Reads the study folder only, and needs neither the engine nor the statistics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tsugiki.errors import RecordsError
from tsugiki.fingerprint import digest_file
from tsugiki.records.adapter_folder import CONFIG, MANIFEST, WEIGHTS, AdapterFolder, Limits, read_adapter_folder
from tsugiki.records.safe_names import shown
from tsugiki.records.versions import StudyFacts
from tsugiki.work.lock import read_lock
from tsugiki.work.spec import adapter_folder, read_result

TRIAL = re.compile(r"[a-z0-9-]{1,100}")
TRAINED = (WEIGHTS, CONFIG, MANIFEST)  # the files that training writes; texts may be added to them
NAME_IT = "Name the study and the trial that trained this adapter with --study and --trial."


@dataclass(frozen=True)
class Trained:
    """The facts of one trial. `method` and `plan` come from the adapter itself."""

    study: StudyFacts
    base: Mapping[str, Any]
    data_digest: str
    rows: int
    recipe: Mapping[str, Any]
    template: str
    seed: int
    tsugiki: str
    packages: Mapping[str, str | None]
    environment: str


def read_trained(study: Path, trial: str, adapter: AdapterFolder, limits: Limits) -> Trained:
    """Raises StudyError for a folder that is no sound study, RecordsError for an adapter that it did not train."""
    lock, result = read_lock(study), _result(study, trial)
    _check_files(study, trial, adapter, limits)
    try:
        return _trained(study, trial, adapter, lock, result)
    except (KeyError, TypeError) as error:
        raise RecordsError(
            f"The trial {trial} of {study} lacks the fact {error}.", fix="Train it again with this version of tsugiki."
        ) from None


def _result(study: Path, trial: str) -> Mapping[str, Any]:
    result = read_result(study, trial) if TRIAL.fullmatch(trial) else None
    if result is None:
        trials = ", ".join(sorted(path.name for path in (study / "adapters").glob("*") if path.is_dir()))
        raise RecordsError(f"The study in {study} has no trial {shown(trial)}.", fix=f"It has trained: {trials}.")
    if result.get("status") != "done" or result.get("kind") != "train":
        what = f"a {result.get('kind')}, {result.get('status')}"
        raise RecordsError(f"The trial {trial} of {study} trained no adapter (it is {what}).", fix=NAME_IT)
    return result


def _trained(
    study: Path, trial: str, adapter: AdapterFolder, lock: Mapping[str, Any], result: Mapping[str, Any]
) -> Trained:
    spec, base, manifest = result["spec"], lock["base"], adapter.manifest
    if manifest is None or manifest.trial != trial or manifest.base.digest != base["digest"]:
        _refuse(adapter, f"does not name the trial {trial} and the base of the study")
    if spec["base_digest"] != base["digest"] or manifest.data_digest != lock["data"]["digest"]:
        _refuse(adapter, "names other data or another base than the study")
    return Trained(
        study=_study_facts(study, trial, lock["digest"]),
        base={**base, "quantization": spec["recipe"].get("quantize", "none")},
        data_digest=lock["data"]["digest"],
        rows=result["rows"],
        recipe=spec["recipe"],
        template=spec["template"],
        seed=spec["recipe"]["seed"],
        tsugiki=result["tsugiki"],
        packages=result["machine"]["packages"],
        environment=result["machine"]["fingerprint"],
    )


def _check_files(study: Path, trial: str, adapter: AdapterFolder, limits: Limits) -> None:
    """Every file that training wrote is the study's, none is missing, and nothing is added but texts."""
    trained = read_adapter_folder(adapter_folder(study, trial), limits).digests
    for name in TRAINED:
        if adapter.digests.get(name) != trained.get(name):
            _refuse(adapter, f"holds another {name} than trial {trial} of {study} has trained")


def _study_facts(study: Path, trial: str, digest: str) -> StudyFacts:
    path = study / "scorecard.json"
    if not path.is_file():
        return StudyFacts(digest=digest, trial=trial, scorecard=None, verdict=None)
    try:
        card = json.loads(path.read_bytes())
        of, verdict = card["study"]["digest"], str(card["verdict"]["value"])
    except (ValueError, KeyError, TypeError):
        raise RecordsError(f"{path} is no scorecard.", fix="Write it again with: tsugiki scorecard.") from None
    if of != digest:
        raise RecordsError(f"{path} is the scorecard of another study.", fix="Write it again with: tsugiki scorecard.")
    return StudyFacts(digest=digest, trial=trial, scorecard=digest_file(path), verdict=verdict)


def _refuse(adapter: AdapterFolder, fault: str) -> NoReturn:
    raise RecordsError(f"{shown(str(adapter.folder))} {fault}.", fix=NAME_IT)
