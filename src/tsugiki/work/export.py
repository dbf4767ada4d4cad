"""An adapter in the form that something else needs: `tsugiki export`.

Each form has its own file; this one reads the adapter, loads the base where the form needs it, and lets the folder
appear whole or not at all. An export that is not true to the adapter, or that an engine would not serve as it was
trained, is refused; it can be forced with a reason, which stays in the folder's record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from tsugiki.config import MetricName
from tsugiki.data.check import check
from tsugiki.engine.adapter_files import load_adapter, save_adapter
from tsugiki.engine.attach import Trainable, attach, tied_weights
from tsugiki.engine.base import BaseSpec, load_base, render
from tsugiki.engine.peft_format import peft_obstacle
from tsugiki.engine.plan import LowRank
from tsugiki.errors import AdapterError, Undecided, UsageError
from tsugiki.files import write_json, write_text
from tsugiki.records.versions import Version
from tsugiki.work.adapter_facts import PEFT_CONFIG, AdapterFacts, facts_of_folder, read_json
from tsugiki.work.assess import answer_all, answer_shape
from tsugiki.work.compatibility import Report, check_compatibility, load_rules
from tsugiki.work.engine_command import ADAPTER, notes, served_name, start_script
from tsugiki.work.evaluate import as_trained, base_name, unseen_rows
from tsugiki.work.export_folder import whole_folder, write_record
from tsugiki.work.export_gguf import FILE, base_gguf, write_gguf
from tsugiki.work.export_merged import (
    RECOVERY,
    Check,
    StoredAs,
    compare_stored,
    recovery_of,
    reference_logits,
    rows_to_check,
    write_merged,
)
from tsugiki.work.golden import GOLDEN_PROMPTS
from tsugiki.work.prepare import DataSpec, read_source
from tsugiki.work.provenance import Provenance, provenance_of
from tsugiki.work.serving_base import base_licence, targets_for
from tsugiki.work.spec import Template
from tsugiki.work.task import Emit, render_for

Form = Literal["peft", "merged", "gguf", "vllm", "sglang", "bom", "card", "signature"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class Export:
    """`base` is where the base is here, `served_base` what the engine's machine calls it; `force` is the reason."""

    adapter: Path
    out: Path
    form: Form
    name: str | None = None
    version: Version | None = None  # of a registered one, with the summary of its newest evidence
    summary: Mapping[str, Any] | None = None
    base: str | None = None
    served_base: str | None = None
    base_file: Path | None = None
    licence: str | None = None
    stored_as: StoredAs | None = None
    data: DataSpec | None = None
    metric: MetricName = "exact_match"
    study: Path | None = None
    key: Path | None = None
    force: str | None = None


def export(wanted: Export, emit: Emit) -> dict[str, Any]:
    """Write `wanted.out` and return what was written, as the folder's record says it.

    Raises UsageError, AdapterError (Undecided where an engine's rules cannot be answered) and BaseModelError.
    """
    if wanted.form not in FORMS:
        raise UsageError(f"There is no export to {wanted.form!r}.", fix=f"Forms are {', '.join(FORMS)}.")
    if wanted.force is not None and not wanted.force.strip():
        raise UsageError("--force has no reason.", fix="Say why, in a few words.")
    label = wanted.version.label if wanted.version is not None else None
    facts = facts_of_folder(wanted.adapter, name=wanted.name or label, licence=wanted.licence)
    base = wanted.base or facts.base.name
    if facts.base.licence is None and base is not None:
        facts = replace(facts, base=replace(facts.base, licence=base_licence(base)))
    with whole_folder(wanted.out) as partial:
        found = WRITERS[wanted.form](wanted, facts, partial, emit)
    return {"form": wanted.form, "out": str(wanted.out), **found}


def export_peft(trainable: Trainable, folder: Path, facts: AdapterFacts, *, base: str | None, one_scale: bool) -> None:
    """Write `folder` as `peft` loads it; with `one_scale` all layers get one rank and one scale, exactly.

    `base` is what adapter_config.json calls the base. Raises AdapterError for what PEFT's LoRA cannot express.
    """
    if reason := peft_obstacle(trainable.plan, tied_weights(trainable.model)):
        raise AdapterError(f"{facts.name} cannot be written for PEFT: {reason}.", fix="Try --to merged.")
    if one_scale and "dora" not in facts.features:
        trainable = with_one_scale(trainable)
    save_adapter(trainable, folder, facts.manifest or {})
    if base is not None:
        config = read_json(folder / PEFT_CONFIG)
        write_json(folder / PEFT_CONFIG, {**config, "base_model_name_or_path": base})


def with_one_scale(trainable: Trainable) -> Trainable:
    """The same update with one rank and one scale: smaller factors are filled with zeros, scales go into B."""
    parts = trainable.plan.low_rank
    rank, scale = max(part.rank for part in parts.values()), next(iter(parts.values())).scale or 1.0
    if all(part.rank == rank and part.scale == scale for part in parts.values()):
        return trainable
    trained = trainable.trained
    trainable.detach()
    low_rank = {name: LowRank(rank, scale, part.dropout, part.dora) for name, part in parts.items()}
    same = attach(trainable.base, replace(trainable.plan, low_rank=low_rank), seed=0)
    with torch.no_grad():
        for name, parameter in same.trained.items():
            module, _, leaf = name.rpartition(".")
            if leaf == "lora_A" and module in parts:
                parameter.zero_()[: parts[module].rank] = trained[name]
            elif leaf == "lora_B" and module in parts:
                parameter.zero_()[:, : parts[module].rank] = trained[name] * (parts[module].scale / scale)
            else:
                parameter.copy_(trained[name])
    same.model.eval()
    return same


def _loaded(wanted: Export, facts: AdapterFacts, emit: Emit) -> Trainable:
    about = facts.manifest or {}
    precision, _ = as_trained(wanted.adapter, about)
    name = wanted.base or facts.base.name or base_name(wanted.adapter, about)
    emit({"event": "phase", "phase": "load"})
    base = load_base(BaseSpec(name, precision=precision, quantize=about.get("quantize", "none")))
    return load_adapter(base, wanted.adapter)


def _peft(wanted: Export, facts: AdapterFacts, folder: Path, emit: Emit) -> dict[str, Any]:
    """No record beside it: the folder can be registered again as it is."""
    trainable = _loaded(wanted, facts, emit)
    export_peft(trainable, folder / ADAPTER, facts, base=wanted.served_base, one_scale=False)
    for path in (folder / ADAPTER).iterdir():
        path.rename(folder / path.name)
    (folder / ADAPTER).rmdir()
    return {"plan": trainable.plan.describe(), "files": sorted(path.name for path in folder.iterdir())}


def _gguf(wanted: Export, facts: AdapterFacts, folder: Path, emit: Emit) -> dict[str, Any]:
    trainable = _loaded(wanted, facts, emit)
    base_file = wanted.base_file or base_gguf(trainable.base)
    if base_file is not None and not base_file.is_file():
        raise UsageError(f"There is no file {base_file}.", fix="Name the base's GGUF with --base-file.")
    found = write_gguf(trainable, folder / FILE, name=facts.name, base_file=base_file)
    return write_record(folder, "gguf", facts, {"gguf": found})


def _merged(wanted: Export, facts: AdapterFacts, folder: Path, emit: Emit) -> dict[str, Any]:
    trainable = _loaded(wanted, facts, emit)
    base, about = trainable.base, facts.manifest or {}
    template: Template = about.get("template") or "plain"
    check = _rows(wanted, trainable, about)
    emit({"event": "phase", "phase": "answer"})
    asked = [render(base.tokenizer, prompt, None, template) for prompt in GOLDEN_PROMPTS]
    rows, expected = reference_logits(trainable, asked)
    before = None if check is None else answer_all(trainable.model, base.tokenizer, check.prompts, check.shape)
    stored_as = wanted.stored_as or _stored_as(base.dtype)
    merged = write_merged(trainable, folder, stored_as)
    emit({"event": "phase", "phase": "compare"})
    compared = compare_stored(folder, base.tokenizer, rows, expected, check)
    found = recovery_of(compared, check, before)
    if not found["recovery"] >= RECOVERY and wanted.force is None:
        raise AdapterError(
            f"Only {found['recovery']:.3f} of {facts.name} is left when it is merged and stored as {stored_as} "
            f"(at least {RECOVERY} is asked for).",
            fix="Store more digits (--store-as float32), serve it unmerged, or say why with --force REASON.",
        )
    compared.pop("answers")
    forced = {"forced": wanted.force} if found["recovery"] < RECOVERY else {}
    measured = {**merged, **compared, **found, "least_recovery": RECOVERY, "warnings": _warnings(merged)}
    return write_record(folder, "merged", facts, {"merged": measured, **forced})


def _engine(wanted: Export, facts: AdapterFacts, folder: Path, emit: Emit) -> dict[str, Any]:
    engine = wanted.form
    trainable = _loaded(wanted, facts, emit)
    here = wanted.base or trainable.base.spec.name
    served = wanted.served_base or str(trainable.base.folder)
    if reason := _cannot_be_loaded_as_peft(trainable):
        raise AdapterError(f"{facts.name} cannot be served by {engine}: {reason}.", fix="Try --to merged.")
    export_peft(trainable, folder / ADAPTER, facts, base=served, one_scale=True)
    own = facts_of_folder(folder / ADAPTER, name=facts.name, licence=facts.base.licence)
    rules = load_rules()
    (target,) = targets_for(own, [engine], here)
    report = check_compatibility(own, [target], rules)
    forced = _refuse_unless_forced(report, engine, wanted.force)
    script = folder / f"start-{engine}.sh"
    write_text(script, start_script(engine, own, served, rules, target.context))
    script.chmod(0o755)
    write_text(folder / "NOTES.md", notes(engine, own, report))
    said = {"served_name": served_name(own), "compatibility": report.as_json(), **forced}
    return write_record(folder, engine, facts, said)


def _bom(wanted: Export, facts: AdapterFacts, folder: Path, _: Emit) -> dict[str, Any]:
    from tsugiki.work.bom import bom_of

    write_json(folder / "bom.cdx.json", bom_of(_provenance(wanted, facts)))
    return {"files": ["bom.cdx.json"]}


def _card(wanted: Export, facts: AdapterFacts, folder: Path, _: Emit) -> dict[str, Any]:
    from tsugiki.report.model_card import render_card
    from tsugiki.work.model_card import card_of

    card = card_of(_provenance(wanted, facts))
    write_text(folder / "README.md", render_card(card, "en"))
    write_text(folder / "README.ja.md", render_card(card, "ja"))
    return {"files": ["README.ja.md", "README.md"], "card": card}


def _provenance(wanted: Export, facts: AdapterFacts) -> Provenance:
    version = wanted.version
    if version is None:
        return provenance_of(facts, wanted.study)
    return provenance_of(facts, wanted.study, version.manifest, version.digest, wanted.summary)


def _signature(wanted: Export, facts: AdapterFacts, folder: Path, _: Emit) -> dict[str, Any]:
    from tsugiki.work.signature import sign_folder

    return {"signature": sign_folder(wanted.adapter, folder, wanted.key, facts.name)}


Writer = Callable[[Export, AdapterFacts, Path, Emit], dict[str, Any]]
WRITERS: Mapping[Form, Writer] = {
    "peft": _peft, "merged": _merged, "gguf": _gguf, "vllm": _engine, "sglang": _engine,
    "bom": _bom, "card": _card, "signature": _signature,
}  # fmt: skip


def _rows(wanted: Export, trainable: Trainable, about: Mapping[str, Any]) -> Check | None:
    """The rows that the adapter has not seen, where data was given."""
    if wanted.data is None:
        return None
    source = read_source(wanted.data)
    test, _ = unseen_rows(check(source.examples, excluded=source.guess.excluded), source, about)
    _, shape = as_trained(wanted.adapter, about)
    rendered = render_for(trainable.base, about.get("template") or "plain")
    return rows_to_check(test, rendered, wanted.metric, shape or answer_shape(trainable.base.tokenizer, test))


def _stored_as(dtype: torch.dtype) -> StoredAs:
    return "bfloat16" if dtype == torch.bfloat16 else "float16" if dtype == torch.float16 else "float32"


def _warnings(merged: Mapping[str, Any]) -> list[str]:
    if merged["base_held_in"] == "none":
        return []
    return [
        f"The base was held in {merged['base_held_in']} in training, and is stored here as {merged['stored_as']}, with "
        f"the values it had then. Held in {merged['base_held_in']} again, the merged weights would lose "
        f"{merged['loss_if_held_so_again']:.0%} of the update; merged into the unquantised base it would be another "
        "model than the one that was measured."
    ]


def _cannot_be_loaded_as_peft(trainable: Trainable) -> str | None:
    return peft_obstacle(trainable.plan, tied_weights(trainable.model))


def _refuse_unless_forced(report: Report, engine: str, force: str | None) -> dict[str, Any]:
    """Nothing for a pass, the forced reason for the record otherwise; raises where there is none."""
    if report.outcome == "pass":
        return {}
    if force is not None:
        return {"forced": force}
    worst = next(one for one in report.not_passed() if one.outcome == report.outcome)
    kind = AdapterError if report.outcome == "fail" else Undecided
    raise kind(
        f"{report.adapter} is not written for {engine} ({worst.rule}): {worst.sentence}",
        fix="Or say why it is right all the same with --force REASON.",
    )
