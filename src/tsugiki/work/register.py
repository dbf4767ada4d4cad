"""Put an adapter into a registry as a new version: read with suspicion, stored, described, recorded.

Called by `tsugiki registry add`. Files come first: they are stored and verified before a row names them, so that a
crash leaves files that nothing refers to, and never a version with a missing one. Then one transaction writes the
version, its files and the event `version.registered`, or nothing. What nobody has said stays null, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from tsugiki.errors import RecordsError
from tsugiki.records.adapter_folder import AdapterFolder, Limits, read_adapter_folder
from tsugiki.records.ledger import NewEvent, append, moment
from tsugiki.records.open import Records
from tsugiki.records.packs import erased, record_blobs
from tsugiki.records.rights import Actor, require
from tsugiki.records.safe_names import check_name, shown
from tsugiki.records.store import Blob
from tsugiki.records.times import now
from tsugiki.records.versions import (
    BaseFacts,
    CodeFacts,
    DataFacts,
    FileFacts,
    ParentFacts,
    Version,
    VersionManifest,
    find_version,
    next_number,
    rows_of,
    same_version,
    tree_digest,
    version_at,
)
from tsugiki.work.study_facts import Trained, read_trained

REGISTERED = "version.registered"
LONGEST_TEXT = 2000
USUAL = Limits()
NOT_STATED = "not stated"
NOT_IN_PEFT = "a PEFT folder does not say it"
NOT_IN_MANIFEST = "the adapter's manifest does not say it"
NO_TEMPLATE = "the base has no chat template"
NO_SCORECARD = "the study has no scorecard"
NO_PLAN = "a PEFT folder has none; its own settings are in peft"


@dataclass(frozen=True)
class Stated:
    """What a person says about an adapter. `parent` is a reference such as `name@2`; study and trial go together."""

    name: str
    data_licence: str | None = None
    data_purpose: str | None = None
    parent: str | None = None
    note: str = ""
    study: Path | None = None
    trial: str | None = None


def add_version(
    records: Records,
    folder: Path,
    facts: Stated,
    *,
    actor: Actor,
    reason: str,
    limits: Limits = USUAL,
) -> Version:
    """Register the adapter in `folder` as the next version of `facts.name`.

    Raises RecordsError for an adapter that is not sound, that the named study did not train, or that is registered with
    the same facts already; for a parent that does not exist; for who may not add; and where the disk or the database
    refuses. Raises StudyError for a broken study.
    """
    require(actor, "add")
    facts = _checked(facts)
    adapter = read_adapter_folder(folder, limits)
    trained = None
    if facts.study is not None and facts.trial is not None:
        trained = read_trained(facts.study, facts.trial, adapter, limits)
    said = _Said(facts, adapter, trained)
    with records.database.reading() as connection:  # what will be refused is refused before gigabytes are copied
        _refuse_again(connection, said.manifest(connection, actor.name, now()))
        _refuse_erased(connection, adapter)
    blobs = [records.store.put(folder / file.path, expected=file.digest) for file in adapter.files]
    with records.database.writing() as connection:
        at = moment(connection)
        manifest = said.manifest(connection, actor.name, at)
        _refuse_again(connection, manifest)
        _refuse_erased(connection, adapter)
        _check_stored(records, blobs)
        record_blobs(connection, blobs)
        signature = records.database.key.sign(manifest.digest.encode("ascii"))
        after = {"version": manifest.label, "digest": manifest.digest, "tree": manifest.tree}
        event = NewEvent(actor, REGISTERED, manifest.label, after=after, reason=reason, at=at)
        seq = append(connection, event, rows_of(manifest, signature)).seq
        return version_at(connection, seq)


def _checked(facts: Stated) -> Stated:
    if (facts.study is None) != (facts.trial is None):
        raise RecordsError(
            "A study and its trial are named together.", fix="Give both --study FOLDER and --trial ID, or neither."
        )
    for what, text in (("licence", facts.data_licence), ("purpose", facts.data_purpose), ("note", facts.note)):
        if text is not None and (len(text) > LONGEST_TEXT or not all(one.isprintable() or one == "\n" for one in text)):
            raise RecordsError(
                f"The {what} {shown(text)} is too long or holds characters that nobody sees.",
                fix=f"Write at most {LONGEST_TEXT} characters of text.",
            )
    return Stated(
        check_name(facts.name, "the name of a model"),
        (facts.data_licence or "").strip() or None,
        (facts.data_purpose or "").strip() or None,
        facts.parent,
        facts.note.strip(),
        facts.study,
        facts.trial,
    )


def _refuse_again(connection: Connection, manifest: VersionManifest) -> None:
    found = same_version(connection, manifest)
    if found is not None:
        raise RecordsError(
            f"This adapter is registered already, as {found.label} ({found.digest[:19]}…), with the same facts.",
            fix=f"Use {found.label}, or state what is different.",
        )


def _refuse_erased(connection: Connection, adapter: AdapterFolder) -> None:
    gone = erased(connection)
    for file in adapter.files:
        if file.digest in gone:
            raise RecordsError(
                f"{shown(file.path)} is a file that was erased from this registry and must not come back.",
                fix="Train the adapter again without what had to go.",
            )


def _check_stored(records: Records, blobs: list[Blob]) -> None:
    """Nothing has collected the files since they were stored; from now on, collecting waits for this transaction."""
    for blob in blobs:
        if not records.store.exists(blob.digest):
            raise RecordsError(f"The file {blob.digest} was collected meanwhile.", fix="Run the command again.")


@dataclass(frozen=True)
class _Said:
    """All that is known about an adapter, from whoever said it: the study before the manifest before PEFT's file."""

    facts: Stated
    adapter: AdapterFolder
    trained: Trained | None

    def manifest(self, connection: Connection, creator: str, at: str) -> VersionManifest:
        own, config, trained = self.adapter.manifest, self.adapter.config, self.trained
        base, data, code = self._base(), self._data(), self._code()
        whole_modules = config is not None and config.modules_to_save
        parts: dict[str, Any] = {
            "base": base,
            "plan": own.plan.model_dump(mode="json") if own is not None else None,
            "template": trained.template if trained else own.template if own else None,
            "recipe": dict(trained.recipe) if trained else own.recipe if own else None,
            "seeds": self._seeds(),
            "data": (data,),
            "study": trained.study if trained else None,
            "code": code,
        }
        return VersionManifest(
            name=self.facts.name,
            number=next_number(connection, self.facts.name),
            files=tuple(FileFacts(path=one.path, digest=one.digest, bytes=one.bytes) for one in self.adapter.files),
            tree=tree_digest(self.adapter.digests),
            method=own.plan.method if own is not None else "hybrid" if whole_modules else "lora",
            peft=config.settings() if config is not None else None,
            parent=self._parent(connection),
            creator=creator,
            created_at=at,
            note=self.facts.note,
            unknown=self._unknown(parts),
            **parts,
        )

    def _base(self) -> BaseFacts:
        own, config = self.adapter.manifest, self.adapter.config
        known: Mapping[str, Any] = {}
        if self.trained is not None:
            known = self.trained.base
        elif own is not None:
            dtype = own.dtype.removeprefix("torch.")
            known = {**own.base.model_dump(), "dtype": dtype, "quantization": own.quantize}
        elif config is not None:
            known = {"name": config.base_model_name_or_path}
        return BaseFacts(**{name: known.get(name) for name in BaseFacts.model_fields})

    def _data(self) -> DataFacts:
        own = self.adapter.manifest
        digest, rows = None, None
        if self.trained is not None:
            digest, rows = self.trained.data_digest, self.trained.rows
        elif own is not None:
            digest, rows = own.data_digest, len(own.train_rows) if own.train_rows is not None else None
        return DataFacts(digest=digest, rows=rows, licence=self.facts.data_licence, purpose=self.facts.data_purpose)

    def _code(self) -> CodeFacts:
        if self.trained is not None:
            packages = dict(self.trained.packages)
            return CodeFacts(tsugiki=self.trained.tsugiki, packages=packages, environment=self.trained.environment)
        own = self.adapter.manifest
        return CodeFacts(tsugiki=own.tsugiki if own is not None else None, packages=None, environment=None)

    def _seeds(self) -> dict[str, int] | None:
        if self.trained is not None:
            return {"training": self.trained.seed}
        own = self.adapter.manifest
        seed = (own.recipe or {}).get("seed") if own is not None else None
        return {"training": seed} if isinstance(seed, int) else None

    def _parent(self, connection: Connection) -> ParentFacts | None:
        if self.facts.parent is None:
            return None
        found = find_version(connection, self.facts.parent)
        return ParentFacts(name=found.model, number=found.number, digest=found.digest)

    def _unknown(self, parts: Mapping[str, Any]) -> dict[str, str]:
        """Why each fact that is null is null, by its path in the manifest."""
        silent = NOT_IN_PEFT if self.adapter.manifest is None else NOT_IN_MANIFEST
        reasons = {
            "plan": NO_PLAN,
            "study": NOT_STATED,
            "study.verdict": NO_SCORECARD,
            "study.scorecard": NO_SCORECARD,
            "data.0.licence": NOT_STATED,
            "data.0.purpose": NOT_STATED,
            "base.template_digest": NO_TEMPLATE if self.adapter.manifest is not None else NOT_IN_PEFT,
        }
        found: dict[str, str] = {}
        for name, value in parts.items():
            fields = value[0] if name == "data" else value
            path = "data.0" if name == "data" else name
            if value is None:
                found[name] = reasons.get(name, silent)
            elif hasattr(fields, "model_fields_set"):
                for field, inner in fields:
                    if inner is None:
                        found[f"{path}.{field}"] = reasons.get(f"{path}.{field}", silent)
        return found
