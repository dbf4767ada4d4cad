"""An evidence pack from a finished study: everything its scorecard stands on, bound to the version that it trained.

Called by the registry's commands through `attach`. A pack holds the lock, the schedule, every trial with its scores by
item, the scores of adapter, base and full side by side, and the scorecard; the texts of the rows are items of their
own (see item_texts), which are named by salted digest and kept only where they are wanted. The same study always gives
the same pack. The scorecard is assembled again before a pack is made, and again from the pack by `rebuilt`: a card that
its study does not give is refused. Changes nothing in the study but for its salt, work/evidence.salt, once.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tsugiki.errors import RecordsError, StudyError
from tsugiki.files import write_bytes
from tsugiki.fingerprint import digest_bytes, digest_file
from tsugiki.report.scorecard import scorecard_bytes
from tsugiki.work.assemble import scorecard_of
from tsugiki.work.evidence import Evidence, read_evidence
from tsugiki.work.item_texts import Item, parsed, serialised, with_texts, without_texts
from tsugiki.work.lock import only_one, read_lock, study_file
from tsugiki.work.pack_summary import summary_of
from tsugiki.work.prepare import CHECK, SHIFT, TEST, TRAIN
from tsugiki.work.slice_columns import SLICES
from tsugiki.work.spec import CALIBRATION, INSPECTION, adapter_folder
from tsugiki.work.summary import measured_methods, measured_references

FORMAT = 1
SALT = "work/evidence.salt"  # inside the study; who deletes the study deletes it
SALT_BYTES = 32
ITEMS, SCORES, ADAPTERS = "texts.json", "items.json", "adapters.json"
NEVER_TRAINED = ("README.md", "LICENSE", "NOTICE")  # files that a version may hold beside what was trained


@dataclass(frozen=True)
class Pack:
    """What a study proves, before it is bound to a version.

    `files` by path, without the rows' texts; `texts` are the items that hold those. `adapters` says for each final
    training which files it wrote, by path and digest.
    """

    kind: str
    files: Mapping[str, bytes]
    texts: tuple[Item, ...]
    adapters: Mapping[str, Mapping[str, str]]
    methods: Mapping[str, str]  # of each final training
    card: Mapping[str, Any]


def make_pack(folder: Path) -> Pack:
    """Raises StudyError for a study that has not ended or whose scorecard is not what its files give."""
    read_lock(folder)  # refuses what is no study before the next line makes the folder to lock it
    with only_one(folder):
        evidence = read_evidence(folder)
        _refuse_unfinished(folder, evidence)
        card = scorecard_of(evidence)
        files = {path: _read(folder, path) for path in _paths(folder, evidence)}
        if files["scorecard.json"] != scorecard_bytes(card):
            raise StudyError(
                f"{folder / 'scorecard.json'} is not what the study's files give.",
                fix=f"Write it again with `tsugiki scorecard {folder}`, and look at what has changed.",
            )
        secret = _secret(folder)
    left, items = without_texts(files, secret)
    trained = {trial.id: trial.method for method in evidence.methods for trial in evidence.finals(method)}
    adapters = {trial: _adapter(folder, trial) for trial in trained if evidence.result(trial) is not None}
    left[SCORES] = serialised(SCORES, _scores(evidence))
    left[ADAPTERS] = serialised(ADAPTERS, adapters)
    index = [{"path": item.path, "rows": list(item.rows), "digest": item.digest} for item in items]
    left[ITEMS] = serialised(ITEMS, index)
    methods = {trial: str(method) for trial, method in trained.items()}
    return Pack("study", dict(sorted(left.items())), items, adapters, methods, card)


def bound(pack: Pack, version: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of the pack for the version with that digest and those files (path to digest).

    Raises RecordsError where no final training of the study wrote these files.
    """
    trial = _trained_by(pack, version, files)
    return {
        "format": FORMAT,
        "kind": pack.kind,
        "version": version,
        "files": [
            {"path": path, "digest": digest_bytes(content), "bytes": len(content)}
            for path, content in pack.files.items()
        ],
        "summary": summary_of(pack.card, pack.methods[trial], trial),
    }


def rebuilt(files: Mapping[str, bytes], items: Sequence[bytes]) -> tuple[bytes, bytes]:
    """scorecard.json as the pack holds it with its texts, and as it comes out when it is assembled again.

    Raises RecordsError where texts are missing: answers cannot be scored again without them, nor copying and the most
    frequent answer, nor the examples shown. What stands without texts is the score of every item in items.json.
    """
    held = {json.dumps(json.loads(content)["rows"]) for content in items}
    lacking = [one for one in parsed(ITEMS, files[ITEMS]) if json.dumps(one["rows"]) not in held]
    if lacking:
        raise RecordsError(
            f"The pack lacks the texts of {len(lacking)} of {len(held) + len(lacking)} items, the first of row "
            f"{lacking[0]['rows'][0]}, so its scorecard cannot be assembled again.",
            fix="Attach evidence with --texts where it shall be rebuilt; the score of every item is in items.json.",
        )
    whole = with_texts(
        {path: content for path, content in files.items() if path not in (ITEMS, SCORES, ADAPTERS)}, items
    )
    with TemporaryDirectory(prefix="tsugiki-evidence-") as name:
        folder = Path(name)
        for path, content in whole.items():
            write_bytes(folder / path, content)
        return whole["scorecard.json"], scorecard_bytes(scorecard_of(read_evidence(folder)))


def _paths(folder: Path, evidence: Evidence) -> list[str]:
    """What the scorecard is made of, and the scorecard; not the adapters, the page and the rows of dev."""
    optional = [SLICES, *([SHIFT] if evidence.shift is not None else [])]
    return [
        study_file(folder).name, "schedule.json", f"{INSPECTION}.json", f"{CALIBRATION}.json", "scorecard.json",
        CHECK, TRAIN, TEST, *(path for path in optional if (folder / path).is_file()),
        *(f"trials/{trial}.json" for trial in evidence.results),
    ]  # fmt: skip


def _read(folder: Path, path: str) -> bytes:
    try:
        return (folder / path).read_bytes()
    except OSError as error:
        raise StudyError(
            f"{folder / path} cannot be read: {error.strerror}.", fix="Run the same `tsugiki poc` again first."
        ) from None


def _refuse_unfinished(folder: Path, evidence: Evidence) -> None:
    missing = [trial for trial, found in evidence.results.items() if found is None]
    if missing or not (folder / "scorecard.json").is_file():
        what = (
            f"{len(missing)} trials are missing, the first is {missing[0]}" if missing else "it has no scorecard.json"
        )
        raise StudyError(f"The study in {folder} has not ended: {what}.", fix="Run the same `tsugiki poc` again first.")


def _secret(folder: Path) -> bytes:
    """Made once per study; two processes that make it at the same time are kept apart by the study's lock."""
    path = folder / SALT
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, secrets.token_bytes(SALT_BYTES))
        path.chmod(0o600)
    found = path.read_bytes()
    if len(found) != SALT_BYTES:
        raise StudyError(f"{path} is not the salt of this study.", fix="Restore it from a copy, or delete it.")
    return found


def _adapter(folder: Path, trial: str) -> dict[str, str]:
    """Nothing where the folder of the adapter has been cleared away."""
    place = adapter_folder(folder, trial)
    return {path.name: digest_file(path) for path in sorted(place.iterdir() if place.is_dir() else ())}


def _trained_by(pack: Pack, version: str, files: Mapping[str, str]) -> str:
    trained = {path: digest for path, digest in files.items() if path not in NEVER_TRAINED}
    for trial, wrote in pack.adapters.items():
        if trained and wrote.items() >= trained.items() and wrote.keys() - NEVER_TRAINED == trained.keys():
            return trial
    gone = [trial for trial, wrote in pack.adapters.items() if not wrote]
    where = f"; {len(gone)} of its {len(pack.adapters)} adapter folders are gone" if gone else ""
    raise RecordsError(
        f"No final training of the study {pack.card['study']['digest'][:19]}… wrote the files of version "
        f"{version[:19]}…{where}.",
        fix="Add the adapter folder of this study as a version, or attach the study that trained this one.",
    )


def _scores(evidence: Evidence) -> dict[str, Any]:
    """By item, in the order of the test rows: what every comparison of the verdict was made from."""
    numbers: dict[Any, int] = {}
    methods, references = measured_methods(evidence), measured_references(evidence)
    return {
        "metric": evidence.criteria.metric,
        "confidence": evidence.criteria.confidence,
        "rows": [example.row for example in evidence.test],
        "groups": [numbers.setdefault(group, len(numbers)) for group in evidence.groups],
        "references": {name: found.scores[0] for name, found in references.items() if found is not None},
        "methods": {
            method: {"trials": [one["id"] for one in evidence.done(evidence.finals(method))], "scores": found.scores}
            for method, found in methods.items()
        },
    }
