"""What an adapter says of itself, as plain values: its parts, its base, what it was trained on.

Read by the compatibility check, the bill of materials, the model card and the exports. Takes names, shapes and JSON
from the folder and never loads a weight, so it needs no torch. What the folder does not say stays None: unknown is not
guessed here, and never passes a rule.
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsugiki.errors import AdapterError
from tsugiki.fingerprint import digest_file

WEIGHTS, MANIFEST, PEFT_CONFIG = "adapter_model.safetensors", "tsugiki.json", "adapter_config.json"
PREFIX = "base_model.model."
LARGEST_JSON, LARGEST_HEADER = 4_000_000, 8_000_000  # bytes
FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])(\.weight)?")
SPECIAL_STARTS = ("pissa*", "olora", "corda", "loftq", "lora_ga")
# Keys of a PEFT configuration whose being set is a feature that an engine may lack.
FEATURE_KEYS = {
    "use_dora": "dora",
    "lora_bias": "bias",
    "alora_invocation_tokens": "alora",
    "layer_replication": "layer_replication",
    "use_qalora": "qalora",
    "use_bdlora": "block_diagonal",
    "modules_to_save": "modules_to_save",
    "trainable_token_indices": "added_tokens",
    "target_parameters": "target_parameters",
}


@dataclass(frozen=True)
class Golden:
    """A prompt and the token ids that the training side's tokenizer made of it."""

    prompt: str
    ids: tuple[int, ...]


@dataclass(frozen=True)
class BaseFacts:
    """The base that the adapter was trained on. `template` is the digest of the chat template, or "none"."""

    name: str | None = None
    digest: str | None = None
    weights: str | None = None
    tokenizer: str | None = None
    template: str | None = None
    architecture: str | None = None
    quantization: str | None = None
    licence: str | None = None  # SPDX identifier or the publisher's own name for it


@dataclass(frozen=True)
class AdapterFacts:
    """`ranks` and `scales` are by module path inside the base; `full` are parameters trained whole, `modules` what else
    the adapter names: the owners of `full`, and the modules that bottlenecks follow.

    `features` are the names that compatibility.yaml knows; `longest` is the longest example in tokens; `files` maps the
    folder's files to (digest, bytes).
    """

    name: str
    base: BaseFacts
    ranks: Mapping[str, int]
    scales: Mapping[str, float]
    full: tuple[str, ...]
    modules: tuple[str, ...]
    features: frozenset[str]
    files: Mapping[str, tuple[str, int]]
    golden: tuple[Golden, ...] | None = None
    longest: int | None = None
    manifest: Mapping[str, Any] | None = None

    @property
    def rank(self) -> int:
        """The largest rank; 0 where nothing is low-rank."""
        return max(self.ranks.values(), default=0)


def facts_of_folder(folder: Path, *, name: str | None = None, licence: str | None = None) -> AdapterFacts:
    """The facts of an adapter folder; `licence` is the base's, where the user says it.

    Raises AdapterError for a folder that is not an adapter or cannot be read.
    """
    if not folder.is_dir():
        raise AdapterError(f"There is no adapter folder {folder}.", fix="Give the folder that `tsugiki train` wrote.")
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
    config = read_json(folder / PEFT_CONFIG) if (folder / PEFT_CONFIG).is_file() else None
    if manifest is None and config is None:
        raise AdapterError(
            f"{folder} is not an adapter: it holds neither {MANIFEST} nor {PEFT_CONFIG}.",
            fix="Give a folder written by tsugiki or by PEFT.",
        )
    shapes = _shapes(folder / WEIGHTS)
    files = {
        path.name: (digest_file(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    }
    try:
        return _facts(name or folder.resolve().name, manifest, config, shapes, files, licence)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AdapterError(
            f"The description of {folder} does not follow its format ({type(error).__name__}: {error}).",
            fix="Copy or train the adapter again.",
        ) from error


def _facts(
    name: str,
    manifest: Mapping[str, Any] | None,
    config: Mapping[str, Any] | None,
    shapes: Mapping[str, tuple[int, ...]],
    files: Mapping[str, tuple[str, int]],
    licence: str | None,
) -> AdapterFacts:
    plan = (manifest or {}).get("plan", {})
    if plan:
        ranks = {module: int(part["rank"]) for module, part in plan["low_rank"].items()}
        scales = {module: float(part["scale"]) for module, part in plan["low_rank"].items()}
        full = tuple(plan["full"])
    else:
        ranks = _ranks_of(shapes)
        scales = {module: _scale_of(config or {}, module, rank) for module, rank in ranks.items()}
        full = tuple(n.removeprefix(PREFIX) for n in sorted(shapes) if not re.search(r"\.lora_|lora_magnitude", n))
    about = manifest or {}
    recipe = about.get("recipe") or {}
    base = about.get("base") or {}
    golden = about.get("golden")
    return AdapterFacts(
        name=name,
        base=BaseFacts(
            name=base.get("name") or (config or {}).get("base_model_name_or_path"),
            digest=base.get("digest"),
            weights=base.get("weights_digest"),
            tokenizer=base.get("tokenizer_digest"),
            template=(base.get("template_digest") or "none") if "template_digest" in base else None,
            architecture=base.get("architecture"),
            quantization=about.get("quantize"),
            licence=licence or base.get("licence"),
        ),
        ranks=ranks,
        scales=scales,
        full=full,
        modules=tuple(sorted({name.rpartition(".")[0] for name in full} | set(plan.get("bottlenecks", {})))),
        features=_features(plan, config or {}, ranks, scales, full),
        files=files,
        golden=None if not golden else tuple(Golden(str(one["prompt"]), tuple(one["ids"])) for one in golden),
        longest=recipe.get("max_length"),
        manifest=manifest,
    )


def _features(
    plan: Mapping[str, Any],
    config: Mapping[str, Any],
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    full: Sequence[str],
) -> frozenset[str]:
    found = {feature for key, feature in FEATURE_KEYS.items() if config.get(key)}
    if any(part.get("dora") for part in plan.get("low_rank", {}).values()):
        found.add("dora")
    if config.get("bias") not in (None, "none"):
        found.add("bias")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and any(fnmatch.fnmatch(start, pattern) for pattern in SPECIAL_STARTS):
        found.add("special_init")
    if config.get("use_rslora"):
        found.add("rslora")
    if plan.get("bottlenecks"):
        found.add("bottleneck")
    if full:
        found.add("modules_to_save")
    if not ranks:
        found.add("no_low_rank")
    first = next(iter(scales.values()), 1.0)
    if len(set(ranks.values())) > 1 or not all(math.isclose(scale, first) for scale in scales.values()):
        found.add("mixed_ranks")
    if any(module.rpartition(".")[2] in ("lm_head", "embed_tokens", "output") for module in ranks):
        found.add("head")
    return frozenset(found)


def _ranks_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    ranks: dict[str, int] = {}
    for name, shape in shapes.items():
        match = FACTOR.fullmatch(name)
        if match and match["factor"] == "A" and len(shape) == 2:
            ranks[match["module"].removeprefix(PREFIX)] = shape[0]
    return ranks


def _scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """peft's rule: the first pattern that fits the end of the module's name has its alpha."""
    alpha = float(config["lora_alpha"])
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = float(value)
            break
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes from the header: 8 bytes with its length, then JSON."""
    if not path.is_file():
        raise AdapterError(f"{path.parent} has no {path.name}.", fix="Save the adapter as safetensors.")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(path.stat().st_size, LARGEST_HEADER):
            raise AdapterError(f"{path} is not a whole safetensors file.", fix="Copy or train the adapter again.")
        try:
            table = json.loads(file.read(length))
            return {name: tuple(map(int, entry["shape"])) for name, entry in table.items() if name != "__metadata__"}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise AdapterError(
                f"{path} is not a whole safetensors file.", fix="Copy or train the adapter again."
            ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a folder that may come from anywhere; AdapterError for anything else."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise AdapterError(f"{path} is larger than {LARGEST_JSON:,} bytes.", fix="This is not an adapter.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} cannot be read as JSON ({error}).", fix="Copy the adapter again.") from error
    if not isinstance(value, dict):
        raise AdapterError(f"{path} holds no JSON object.", fix="Copy the adapter again.")
    return value
