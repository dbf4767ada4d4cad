"""Whether the tensors of an adapter are those that its configuration and its manifest speak of, by name and shape.

Called by `adapter_folder` once the header and both files have been read; sees no data. A rank that the shapes deny,
half of a pair, a tensor that nothing names: each would be served as something else than was measured, and is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from tsugiki.errors import RecordsError
from tsugiki.records.adapter_manifest import AdapterManifest, OwnPlan
from tsugiki.records.finite import WIDTH
from tsugiki.records.peft_schema import PeftConfig
from tsugiki.records.safe_names import shown
from tsugiki.records.safetensors_header import Tensor

PREFIX = "base_model.model."
TENSOR_NAME = re.compile(r"[\w.\-]+")
PAIR = re.compile(r"(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<half>[AB])(?(kind)|\.weight)")
DORA = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(\.weight)?")
# Saved by PEFT of its own accord when they were resized or adapted.
EMBEDDINGS = {"embed_tokens", "lm_head", "wte"}
MOST_REAL_PATTERNS = 64  # names written out do not count: they are looked up, not matched
LITERAL = re.compile(r"(?P<start>\^?)(?P<name>(?:[^\\.^$*+?()\[\]{}|]|\\[^0-9A-Za-z])+)\$?")
ANOTHER = "The folder is damaged, or its files are of different adapters."


def check_peft_tensors(tensors: Sequence[Tensor], config: PeftConfig, where: str) -> int:
    """Check a folder in PEFT's format; returns its largest rank. Raises RecordsError naming the tensor at fault."""
    ranks = Patterns({pattern: float(rank) for pattern, rank in config.rank_pattern.items()}, where)
    halves: dict[tuple[str, str], dict[str, Tensor]] = {}
    for tensor in tensors:
        check_plain(tensor, where)
        if not tensor.name.startswith(PREFIX):
            _refuse(where, tensor.name, f"does not start with {PREFIX}")
        if pair := PAIR.fullmatch(tensor.name.removeprefix(PREFIX)):
            halves.setdefault((pair["module"], pair["kind"] or ""), {})[pair["half"]] = tensor
        elif not _is_named(tensor.name.removeprefix(PREFIX), config):
            _refuse(where, tensor.name, "is not named by the configuration")
    if not halves:
        raise RecordsError(f"{where} holds no lora_A and lora_B.", fix=ANOTHER)
    return max(_pair_rank(module, pair, ranks, config, where) for (module, _), pair in halves.items())


def _pair_rank(module: str, pair: Mapping[str, Tensor], ranks: Patterns, config: PeftConfig, where: str) -> int:
    if len(pair) < 2:
        (half, tensor) = next(iter(pair.items()))
        _refuse(where, tensor.name, f"has no lora_{'B' if half == 'A' else 'A'} beside it")
    a, b = pair["A"].shape, pair["B"].shape
    if not 2 <= len(a) <= 5 or len(b) != len(a) or b[1] != a[0]:
        _refuse(where, pair["A"].name, f"has shape {list(a)}, which does not meet {list(b)} of its lora_B")
    said = int(ranks.find(module, config.r))
    # An update of all experts of a layer at once holds the rank once per expert.
    if a[0] != said and not (config.target_parameters and said and a[0] and a[0] % said == 0):
        _refuse(where, pair["A"].name, f"has rank {a[0]}, and the configuration says {said}")
    return said


def _is_named(name: str, config: PeftConfig) -> bool:
    """Whether the configuration lets a tensor that is no half of a pair be there."""
    module, _, leaf = name.rpartition(".")
    parts = set(name.split("."))
    return (
        (config.use_dora and DORA.fullmatch(name) is not None)
        or (config.lora_bias and name.endswith(".lora_B.bias"))
        or (config.bias != "none" and leaf == "bias")
        or (bool(config.trainable_token_indices) and "trainable_tokens" in leaf)
        # peft saves every module whose name ends so, within a word as well: `norm` means input_layernorm too.
        or any(f"{saved}." in f"{module}." for saved in config.modules_to_save)
        or (leaf == "weight" and not EMBEDDINGS.isdisjoint(parts))
    )


def check_own_tensors(tensors: Sequence[Tensor], plan: OwnPlan, where: str) -> int:
    """Check a folder that only tsugiki reads: exactly the parts of its plan. Returns its largest rank, 0 if none."""
    found = {tensor.name: tensor for tensor in tensors}
    for tensor in tensors:
        check_plain(tensor, where)
    wanted = own_names(plan)
    for name in found:
        if name not in wanted:
            _refuse(where, name, "is not named by the plan")
    if missing := sorted(wanted - found.keys()):
        raise RecordsError(f"{where} lacks {shown(missing[0])}, which the plan names.", fix=ANOTHER)
    for name, part in plan.low_rank.items():
        a, b = found[f"{name}.lora_A"].shape, found[f"{name}.lora_B"].shape
        if len(a) != 2 or len(b) != 2 or a[0] != part.rank or b[1] != part.rank:
            _refuse(where, f"{name}.lora_A", f"has shape {list(a)}, and the plan says rank {part.rank}")
    for name, bottleneck in plan.bottlenecks.items():
        down = found[f"{name}.down"].shape
        if len(down) != 2 or down[0] != bottleneck.width:
            _refuse(where, f"{name}.down", f"has shape {list(down)}, and the plan says width {bottleneck.width}")
    return max((part.rank for part in plan.low_rank.values()), default=0)


def own_names(plan: OwnPlan) -> set[str]:
    """The tensors of a plan as the engine calls them."""
    halves = {f"{name}.{half}" for name in plan.low_rank for half in ("lora_A", "lora_B")}
    magnitudes = {f"{name}.magnitude" for name, part in plan.low_rank.items() if part.dora}
    wide = {f"{name}.{leaf}" for name in plan.bottlenecks for leaf in ("down", "down_bias", "up", "up_bias")}
    return halves | magnitudes | wide | set(plan.full)


def check_agreement(config: PeftConfig, manifest: AdapterManifest, where: str) -> None:
    """Refuse a folder whose two descriptions differ: one program would serve what another has measured otherwise."""
    plan = manifest.plan
    targets = config.target_modules
    if isinstance(targets, str) or set(targets) != plan.low_rank.keys() or plan.bottlenecks:
        _disagree(where, "which layers are adapted")
    ranks = Patterns({pattern: float(rank) for pattern, rank in config.rank_pattern.items()}, where)
    alphas = Patterns(config.alpha_pattern, where)
    for name, part in plan.low_rank.items():
        rank = int(ranks.find(name, config.r))
        if rank != part.rank:
            _disagree(where, f"the rank of {shown(name)}, {rank} or {part.rank}")
        scale = alphas.find(name, config.lora_alpha) / (math.sqrt(rank) if config.use_rslora else rank)
        if not math.isclose(scale, part.scale, rel_tol=1e-6, abs_tol=1e-12):
            _disagree(where, f"the scale of {shown(name)}, {scale:g} or {part.scale:g}")
        if part.dora != config.use_dora:
            _disagree(where, f"whether {shown(name)} is DoRA")


class Patterns:
    """PEFT's rule for rank_pattern and alpha_pattern, the first that fits the end of a name, without matching names
    that are written out: those are looked up. Raises RecordsError when there are too many real patterns.
    """

    def __init__(self, values: Mapping[str, float], where: str) -> None:
        self._whole: dict[str, tuple[int, float]] = {}
        self._endings: dict[str, tuple[int, float]] = {}
        self._real: list[tuple[int, re.Pattern[str], float]] = []
        for order, (pattern, value) in enumerate(values.items()):
            if literal := LITERAL.fullmatch(pattern):
                name = re.sub(r"\\(.)", r"\1", literal["name"])
                table = self._whole if literal["start"] else self._endings
                table.setdefault(name, (order, value))
            else:
                self._real.append((order, re.compile(rf"(.*\.)?({pattern})$"), value))
        if len(self._real) > MOST_REAL_PATTERNS:
            raise RecordsError(
                f"{where} has {len(self._real)} patterns, and {MOST_REAL_PATTERNS} are the limit.",
                fix="Write the names of the layers out.",
            )

    def find(self, name: str, default: float) -> float:
        found = [self._whole[name]] if name in self._whole else []
        found += [self._endings[ending] for ending in _endings(name) if ending in self._endings]
        found += [(order, value) for order, pattern, value in self._real if pattern.match(name)]
        return min(found)[1] if found else default


def _endings(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def check_plain(tensor: Tensor, where: str) -> None:
    """A tensor of an adapter has a plain name and holds numbers that can be checked."""
    if not TENSOR_NAME.fullmatch(tensor.name):
        _refuse(where, tensor.name, "has a name that no layer has")
    if tensor.dtype not in WIDTH:
        _refuse(where, tensor.name, f"is of type {tensor.dtype}, and an adapter is of {', '.join(WIDTH)}")


def _refuse(where: str, tensor: str, fault: str) -> NoReturn:
    raise RecordsError(f"The tensor {shown(tensor)} in {where} {fault}.", fix=ANOTHER)


def _disagree(where: str, about: str) -> NoReturn:
    raise RecordsError(f"adapter_config.json and tsugiki.json in {where} disagree about {about}.", fix=ANOTHER)
