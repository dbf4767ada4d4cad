"""What evidence a version has, read back from the registry: the packs for people, and the scorecard assembled again.

Called by `tsugiki registry evidence`. Every file that is looked at is compared with its digest on the way. Changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsugiki.errors import RecordsError
from tsugiki.records.open import Records
from tsugiki.records.packs import erased, files_of, packs_of
from tsugiki.records.versions import find_version
from tsugiki.work.evidence_pack import rebuilt
from tsugiki.work.retention import TEXTS

Json = dict[str, Any]


def evidence_of(records: Records, reference: str) -> Json:
    """The packs of a version, oldest first: what each holds, how much of it was erased, and its summary."""
    with records.database.reading() as connection:
        version, gone = find_version(connection, reference), erased(connection)
        packs = []
        for pack in packs_of(connection, version.seq):
            files = files_of(connection, pack.seq)
            texts = {path for path in files if path.startswith(TEXTS)}
            packs.append(
                {
                    "event": pack.seq,
                    "kind": pack.kind,
                    "digest": pack.digest,
                    "at": pack.at,
                    "files": len(files) - len(texts),
                    "texts": len(texts),
                    "erased": sum(digest in gone for digest in files.values()),
                    "summary": pack.manifest["summary"],
                }
            )
    return {"version": version.label, "digest": version.digest, "packs": packs}


def rebuild(records: Records, reference: str) -> Json:
    """Assemble the scorecard again from the newest study pack that kept its texts, and compare it byte by byte.

    Raises RecordsError where the version has no study pack, where texts are missing (then only the scores by item are
    there), and where the scorecard comes out differently.
    """
    with records.database.reading() as connection:
        version, gone = find_version(connection, reference), erased(connection)
        studies = [pack for pack in packs_of(connection, version.seq) if pack.kind == "study"]
        held = [files_of(connection, pack.seq) for pack in studies]
    if not studies:
        raise RecordsError(
            f"{version.label} has no evidence from a study.",
            fix=f"Attach it with: tsugiki registry attach-evidence {version.label} --study FOLDER",
        )
    # A pack that was attached without texts and again with them counts as the one with them.
    pack, files = max(zip(studies, held, strict=True), key=lambda one: (len(one[1]), one[0].seq))
    contents = {path: records.store.read(digest) for path, digest in files.items() if digest not in gone}
    lost = [one["path"] for one in pack.manifest["files"] if one["path"] not in contents]
    if lost:
        raise RecordsError(f"{lost[0]} of this evidence was erased.", fix="Attach newer evidence.")
    stored, again = rebuilt(
        _without(contents), [content for path, content in contents.items() if path.startswith(TEXTS)]
    )
    if stored != again:
        raise RecordsError(
            f"The scorecard of pack {pack.seq} does not come out of its own contents.",
            fix="It was made by another version of tsugiki; rebuild it with that one.",
        )
    return {"version": version.label, "event": pack.seq, "bytes": len(again), "equal": True}


def _without(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: content for path, content in contents.items() if not path.startswith(TEXTS)}
