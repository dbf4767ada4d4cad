"""Where an adapter comes from and how good it was measured to be: the facts behind the model card and the BOM.

Joins what the adapter says of itself with the scorecard of its study and, for a registered version, with its manifest.
Only what one of these says is here; the rest stays None. Computes nothing and judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsugiki.errors import AdapterError
from tsugiki.fingerprint import digest_file
from tsugiki.work.adapter_facts import AdapterFacts, read_json

SCORECARD = "scorecard.json"


@dataclass(frozen=True)
class DataUse:
    """A data set that trained the adapter."""

    digest: str | None
    rows: int | None = None
    licence: str | None = None
    purpose: str | None = None


@dataclass(frozen=True)
class Measured:
    """A quality with its interval; `of` says whose: adapter, base, k-shot, copy, majority or a method's name."""

    of: str
    metric: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int | None
    method: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Provenance:
    """`version` is NAME@n for a registered one, `version_digest` and `created_at` its own."""

    facts: AdapterFacts
    version: str | None = None
    version_digest: str | None = None
    created_at: str | None = None
    parent: str | None = None
    data: tuple[DataUse, ...] = ()
    method: str | None = None
    measured: tuple[Measured, ...] = ()
    purpose: str | None = None
    owner: str | None = None
    verdict: Mapping[str, Any] | None = None
    change: Mapping[str, Any] | None = None  # retention, adapter bytes, latency as the scorecard has them
    study_digest: str | None = None


def provenance_of(
    facts: AdapterFacts,
    study: Path | None = None,
    version: Mapping[str, Any] | None = None,
    digest: str | None = None,
    summary: Mapping[str, Any] | None = None,
) -> Provenance:
    """`study` is a study's folder; for a registered version there are its manifest, its digest and, where evidence is
    attached, the summary of that.

    Raises AdapterError for a folder without a scorecard, or whose trials did not make this adapter.
    """
    about, version = facts.manifest or {}, version or {}
    method = version.get("method") or (about.get("plan") or {}).get("method")
    known: dict[str, Any] = {}
    if study is not None:
        known = _from_study(study, facts, method)
    elif summary is not None:
        known = _from_summary(summary)
    parent = version.get("parent")
    return Provenance(
        facts=facts,
        version=f"{version['name']}@{version['number']}" if version else None,
        version_digest=digest,
        created_at=version.get("created_at"),
        parent=f"{parent['name']}@{parent['number']}" if parent else None,
        data=_data(about, version, known.pop("purpose_of_data", None)),
        method=method,
        **known,
    )


def _data(about: Mapping[str, Any], version: Mapping[str, Any], purpose: str | None) -> tuple[DataUse, ...]:
    if listed := version.get("data"):
        return tuple(
            DataUse(one["digest"], one.get("rows"), one.get("licence"), one.get("purpose") or purpose) for one in listed
        )
    if not (digest := about.get("data_digest")):
        return ()
    rows = about.get("train_rows")
    return (DataUse(str(digest), None if rows is None else len(rows), None, purpose),)


def _from_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    reference = [_measured(name, quality) for name, quality in summary["reference"].items()]
    return {
        "measured": (_measured("adapter", summary["quality"]), *reference),
        "verdict": summary["verdict"] if summary["verdict"]["value"] else None,
        "change": {"retention": summary["retention"]},
        "study_digest": summary["study"],
    }


def _from_study(folder: Path, facts: AdapterFacts, method: str | None) -> dict[str, Any]:
    path = folder / SCORECARD
    if not path.is_file():
        raise AdapterError(f"{folder} has no {SCORECARD}.", fix="Give the folder of a finished study with --study.")
    card = read_json(path)
    trial = (facts.manifest or {}).get("trial")
    try:
        own = next((one for one in card["methods"] if trial in one["trials"]), None)
        if own is None or (method is not None and own["name"] != method):
            raise AdapterError(
                f"The study in {folder} did not make {facts.name}: none of its methods names the trial {trial!r}.",
                fix="Name the study that the adapter comes from.",
            )
        reference = [_measured(one["name"], one["quality"]) for one in card["reference"]]
        others = [_measured(one["name"], one["quality"]) for one in card["methods"] if one is not own]
        about = card.get("study") or {}
        return {
            "measured": (_measured("adapter", own["quality"]), *reference, *others),
            "purpose": about.get("purpose"),
            "purpose_of_data": about.get("purpose"),
            "owner": about.get("owner"),
            "verdict": {key: card["verdict"][key] for key in ("value", "reasons")},
            "change": {key: own.get(key) for key in ("retention", "trainable_share", "adapter_bytes", "seeds")},
            "study_digest": digest_file(path),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise AdapterError(
            f"{path} is not a scorecard of this version ({type(error).__name__}: {error}).",
            fix="Build it again with `tsugiki scorecard`.",
        ) from error


def _measured(of: str, quality: Mapping[str, Any]) -> Measured:
    values = (quality.get(key) for key in ("estimate", "low", "high", "n", "method", "reason"))
    return Measured(of, quality["metric"], *values)


def named(measured: Sequence[Measured], of: str) -> Measured | None:
    return next((one for one in measured if one.of == of), None)
