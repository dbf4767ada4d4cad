"""The serving side of the compatibility check, read from a base on this machine: digests, layer names, tokens, terms.

Called by `tsugiki registry check` and the exports for an engine. Loads a tokenizer and the shape of a model, never its
weights; nothing is asked of a running engine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tsugiki.engine.base import BaseSpec, load_config, load_tokenizer
from tsugiki.engine.gguf_header import read_gguf_header
from tsugiki.engine.gguf_names import gguf_module_paths
from tsugiki.engine.locate import display_name, find_base
from tsugiki.engine.packaged import PACKAGED
from tsugiki.engine.quiet import quiet
from tsugiki.engine.stored import stored_tensors, template_digest, tokenizer_digest, weights_digest
from tsugiki.errors import BaseModelError
from tsugiki.fingerprint import canonical_json
from tsugiki.records.open import Records
from tsugiki.records.rights import Actor
from tsugiki.records.versions import Version
from tsugiki.work.adapter_facts import AdapterFacts, facts_of_folder
from tsugiki.work.attach import Attached, attach_bundle
from tsugiki.work.compatibility import Report, Target, check_compatibility, load_rules
from tsugiki.work.golden import golden_tokens

LICENCE_LINE = re.compile(r"^license:\s*['\"]?([\w.+-]+)", re.MULTILINE)
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)


def targets_for(
    facts: AdapterFacts,
    engines: Sequence[str],
    base: str | None,
    *,
    quantization: str | None = None,
    max_rank: int | None = None,
) -> list[Target]:
    """One target per engine, all serving the same `base`; without a base nothing is known but what was said."""
    if base is None:
        bare = (Target(engine, quantization=quantization, max_rank=max_rank) for engine in engines)
        return [_held(target, facts) for target in bare]
    folder = find_base(base)
    config = load_config(folder)
    tokenizer = load_tokenizer(BaseSpec(base))
    manifest = facts.manifest or {}
    prompts = [one.prompt for one in facts.golden or ()]
    known = Target(
        "",
        base_name=display_name(base),
        weights=weights_digest(stored_tensors(folder)),
        tokenizer=tokenizer_digest(folder),
        template=template_digest(tokenizer.chat_template) or "none",
        serving_class=_class_name(config),
        paths=module_paths(config),
        golden=golden_tokens(tokenizer, manifest.get("template", "plain"), prompts) or None,
        context=getattr(config.get_text_config(), "max_position_embeddings", None),
        quantization=quantization or "none",
        max_rank=max_rank,
    )
    return [_held(_for_engine(replace(known, engine=engine), base, config, quantization), facts) for engine in engines]


def base_licence(base: str) -> str | None:
    """What the base's files say: a GGUF's `general.license`, or the front matter of a README.md; None if neither."""
    if base in PACKAGED:
        return PACKAGED[base].licence
    path = Path(base).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        found_licence = read_gguf_header(path).metadata.get("general.license")
        return None if found_licence is None else str(found_licence)
    readme = path / "README.md"
    if path.is_dir() and readme.is_file():
        front = FRONT_MATTER.match(readme.read_text(encoding="utf-8", errors="replace"))
        found = LICENCE_LINE.search(front[1]) if front else None
        return found[1] if found else None
    return None


def module_paths(config: Any) -> frozenset[str]:
    """Names of all modules of the class that the configuration stands for; nothing is allocated."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"), quiet():
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return frozenset(name for name, _ in model.named_modules() if name)


def _class_name(config: Any) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS

    return str((config.architectures or [DECODERS.get(config.model_type, "")])[0])


def _for_engine(target: Target, base: str, config: Any, quantization: str | None) -> Target:
    if target.engine != "llama.cpp":
        return target
    # A base in safetensors has to be converted first, and in which precision nobody has said yet.
    held = quantization or ("none" if base in PACKAGED or base.endswith(".gguf") else None)
    return replace(target, paths=gguf_module_paths(config), quantization=held)


def _held(target: Target, facts: AdapterFacts) -> Target:
    """tsugiki's own engine always holds the base as the adapter was trained on it."""
    return replace(target, quantization=facts.base.quantization) if target.engine == "embedded" else target


def check_folder(
    adapter: Path,
    engines: Sequence[str],
    base: str | None,
    *,
    licence: str | None = None,
    quantization: str | None = None,
    max_rank: int | None = None,
) -> Report:
    """The packaged rules on an adapter folder; without `base` the base is looked for by the name it was trained with.

    A base that is not on this machine leaves what it would have said undecidable.
    """
    facts = facts_of_folder(adapter, licence=licence)
    name = base or facts.base.name
    if name is not None and facts.base.licence is None:
        facts = replace(facts, base=replace(facts.base, licence=base_licence(name)))
    try:
        targets = targets_for(facts, engines, name, quantization=quantization, max_rank=max_rank)
    except BaseModelError:
        if base is not None:
            raise
        targets = targets_for(facts, engines, None, quantization=quantization, max_rank=max_rank)
    return check_compatibility(facts, targets, load_rules())


def attach_report(records: Records, version: Version, report: Report, *, actor: Actor, reason: str) -> Attached:
    """Keep the report as evidence of the version, where the gates look for it. Raises RecordsError."""
    said = report.as_json()
    files = {"compatibility.json": canonical_json(said)}
    return attach_bundle(records, version, "compatibility", files, said, actor=actor, reason=reason)
