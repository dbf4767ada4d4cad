"""Memory of training, evaluating, generating, merging and saving, from the configuration alone, before anything runs.

Called by `work` for `tsugiki estimate` and to refuse what does not fit. Pure arithmetic over the shapes of the model,
which is built without weights; it needs no more memory than the shapes themselves. Never measures and never allocates.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tsugiki.config import Held, PlanSpec, Recipe
from tsugiki.engine.base import Base
from tsugiki.engine.loss import CHUNK_ELEMENTS
from tsugiki.engine.plan import AUTO, Plan, make_plan
from tsugiki.engine.quantize import packed_bytes
from tsugiki.engine.structure import Block, structure_of, text_config
from tsugiki.errors import DoesNotFit

FLOAT32 = 4
# Python with torch and transformers imported, resident: the same for every phase. On a GPU it is the driver's context.
RUNTIME_BYTES = 450_000_000
NF4_RUNTIME_BYTES = 120_000_000  # bitsandbytes imported
# What the allocator holds beyond what is asked for. With it SmolLM2-135M came out 7 to 13 % above its measured peak.
SLACK = 1.15
# glibc gives each larger piece a mapping of its own, which goes back to the system as a whole (mallopt(3)).
LARGEST_IN_HEAP = 32 * 2**20


@dataclass(frozen=True)
class Phase:
    """Bytes by purpose at the moment of a phase in which most is held."""

    name: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class Footprint:
    """What a trial will hold in memory, phase by phase."""

    phases: tuple[Phase, ...]
    base_parameters: int
    trainable_parameters: int
    adapter_bytes: int

    @property
    def peak(self) -> Phase:
        return max(self.phases, key=lambda phase: phase.total)

    def as_json(self) -> dict[str, Any]:
        return {
            "phases": {phase.name: {**phase.parts, "total": phase.total} for phase in self.phases},
            "peak": {"phase": self.peak.name, "bytes": self.peak.total},
            "base_parameters": self.base_parameters,
            "trainable_parameters": self.trainable_parameters,
            "adapter_bytes": self.adapter_bytes,
        }


@dataclass(frozen=True)
class Workload:
    """How long the texts are, in tokens: the longest example, the longest prompt, and what is generated."""

    longest_example: int
    longest_prompt: int
    max_new_tokens: int
    batch_size: int = 32


def estimate_footprint(
    config: Any, spec: PlanSpec, recipe: Recipe, workload: Workload, *, dtype: torch.dtype, on_gpu: bool = False
) -> Footprint:
    """The memory that training `spec` by `recipe` on a base of this `config`, held as `dtype`, will take.

    On a CPU a base in few bits is there whole before it is packed.
    """
    model = shapes_of(config, dtype)
    plan = make_plan(model, _with_blocks(spec))
    sizes = _Sizes(model, plan, dtype, recipe.quantize)
    tokens = tokens_of_a_pass(workload.longest_example, recipe)
    recompute = recipe.recompute == "always"
    packs_here = recipe.quantize != "none" and not on_gpu
    gaps = {"gaps": sizes.gaps(tokens)} if packs_here and not recompute else {}
    phases = (
        *([Phase("load", {"runtime": RUNTIME_BYTES, "weights": sizes.base * sizes.item})] if packs_here else []),
        Phase(
            "train", sizes.held() | sizes.learning() | sizes.forward_and_backward(tokens, recompute=recompute) | gaps
        ),
        Phase(
            "evaluate",
            sizes.held()
            | sizes.learning(with_gradients=False)
            | sizes.forward(max(workload.longest_example, recipe.micro_tokens)),
        ),
        Phase("generate", sizes.held() | sizes.generation(workload)),
        *([Phase("merge", sizes.held() | sizes.merging())] if plan.low_rank and plan.mergeable else []),
        Phase("save", sizes.held() | {"copies": sizes.largest * FLOAT32}),
    )
    return Footprint(phases, sizes.base, sizes.trained, sizes.trained * FLOAT32)


def tokens_of_a_pass(longest: int, recipe: Recipe) -> int:
    """Tokens of the largest forward pass; `recipe.micro_tokens` must have been resolved (device.py)."""
    return max(longest, min(recipe.micro_tokens, recipe.batch_size * longest))


def training_bytes(base: Base, plan: Plan, *, tokens: int, recompute: bool = False) -> int:
    """What training `plan` in passes of `tokens` tokens takes once base, parts and masters are in memory."""
    held = base.spec.quantize
    sizes = _Sizes(shapes_of(base.model.config, base.dtype), plan, base.dtype, held)
    moments_and_gradients = 3 * sizes.trained * FLOAT32
    gaps = sizes.gaps(tokens) if base.device.type == "cpu" and not recompute else 0
    return moments_and_gradients + sum(sizes.forward_and_backward(tokens, recompute=recompute).values()) + gaps


def refuse_what_does_not_fit(footprint: Footprint, free_bytes: int) -> None:
    """Raise DoesNotFit when the worst phase needs more than is free."""
    peak = footprint.peak
    needed = peak.total - RUNTIME_BYTES  # this process has already taken its share
    if needed <= free_bytes:
        return
    largest = max(peak.parts, key=lambda part: peak.parts[part])
    raise DoesNotFit(
        f"The phase '{peak.name}' needs about {needed / 1e9:.1f} GB, most of it for {largest}, "
        f"and {free_bytes / 1e9:.1f} GB are free.",
        fix="Lower micro_tokens or max_length, train fewer parts (lora instead of full), or use a smaller base.",
    )


def shapes_of(config: Any, dtype: torch.dtype) -> nn.Module:
    """The model without weights: every tensor on the meta device."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):  # a copy, since transformers notes its choices in the configuration it is given
        model: nn.Module = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=dtype)
    return model


def _with_blocks(spec: PlanSpec) -> PlanSpec:
    """'auto' needs gradients; any blocks give the same sizes, since all blocks are alike."""
    if spec.method != "hybrid" or AUTO not in spec.full_layers:
        return spec
    return spec.model_copy(update={"full_layers": tuple(str(-1 - index) for index in range(spec.full_blocks))})


class _Sizes:
    """Bytes of one model under one plan. Tied weights count once."""

    def __init__(self, model: nn.Module, plan: Plan, dtype: torch.dtype, quantize: Held) -> None:
        self.model, self.plan, self.item, self.quantize = model, plan, dtype.itemsize, quantize
        self.config = text_config(model)
        self.blocks = structure_of(model).blocks
        parameters = dict(model.named_parameters(remove_duplicate=False))
        self.base = sum(parameter.numel() for parameter in model.parameters())
        self.largest = max(parameter.numel() for parameter in parameters.values())
        self.full = sum(one.numel() for one in {id(parameters[name]): parameters[name] for name in plan.full}.values())
        self.small = self._small_parts()
        self.trained = self.full + self.small

    def held(self) -> dict[str, int]:
        """In every phase: the frozen base stays, also where a part of it is trained as a copy."""
        return {
            "runtime": RUNTIME_BYTES + (NF4_RUNTIME_BYTES if self.quantize == "nf4" else 0),
            "weights": self._weights(),
            "trained parts": self.full * self.item + self.small * FLOAT32,
        }

    def _weights(self) -> int:
        """In few bits, the largest layer is there once more: unpacked for its product."""
        if self.quantize == "none":
            return self.base * self.item
        linears = [self._linear(name).weight for block in self.blocks for name in block.linears]
        packed = sum(map(self._held, linears))
        unpacked = self.base - sum(weight.numel() for weight in linears)
        return packed + (unpacked + max(weight.numel() for weight in linears)) * self.item

    def _held(self, weight: Tensor) -> int:
        if self.quantize == "none":
            return weight.numel() * self.item
        return packed_bytes(weight.numel(), len(weight), self.quantize)

    def learning(self, *, with_gradients: bool = True) -> dict[str, int]:
        """Two AdamW moments in float32, and a float32 master beside a half-precision weight."""
        masters = self.full * FLOAT32 if self.item < FLOAT32 else 0
        return {
            "optimiser": 2 * self.trained * FLOAT32 + masters,
            "gradients": self.trained * FLOAT32 if with_gradients else 0,
        }

    def forward_and_backward(self, tokens: int, *, recompute: bool = False) -> dict[str, int]:
        saved = [self._saved_per_token(block) for block in self.blocks]
        entering = len(saved) * int(self.config.hidden_size) * self.item
        activations = tokens * (max(saved) + entering if recompute else sum(saved))
        return {"activations": int(activations * SLACK), "logits": self._logits(tokens)}

    def gaps(self, tokens: int) -> int:
        """What is lost between activations on a CPU: a weight is unpacked into the heap and freed again, its layer's
        output takes a part of that place and stays, and the next weight does not fit into the rest (docs/log.md).
        """
        if self.quantize == "none":
            return 0
        weights = [self._linear(name).weight for block in self.blocks for name in block.linears]
        sizes = [(weight.numel() * self.item, tokens * len(weight) * self.item) for weight in weights]
        return sum(max(0, unpacked - output) for unpacked, output in sizes if unpacked <= LARGEST_IN_HEAP)

    def forward(self, tokens: int) -> dict[str, int]:
        """Without gradients only one block's intermediate values live at a time."""
        return {"activations": int(tokens * self._passing_per_token() * SLACK), "logits": self._logits(tokens)}

    def generation(self, workload: Workload) -> dict[str, int]:
        rows, length = workload.batch_size, workload.longest_prompt + workload.max_new_tokens
        cache = sum(2 * self._outputs(block, ("k_proj",)) for block in self.blocks) * self.item * rows * length
        prefill = rows * workload.longest_prompt * self._passing_per_token()
        return {
            # one layer's cache is copied while it grows
            "cache": cache + cache // len(self.blocks),
            "activations": int(prefill * SLACK),
            "logits": rows * int(self.config.vocab_size) * self.item,
        }

    def merging(self) -> dict[str, int]:
        """Merged weights stand beside the frozen ones; one layer at a time is summed in float32."""
        weights = [self._linear(name).weight for name in self.plan.low_rank]
        counts = [weight.numel() for weight in weights]
        held = sum(self._held(weight) for weight in weights)
        return {"merged weights": held, "copies": 3 * max(counts) * FLOAT32}

    def _small_parts(self) -> int:
        count = 0
        for name, low_rank in self.plan.low_rank.items():
            linear = self._linear(name)
            count += low_rank.rank * (linear.in_features + linear.out_features)
            count += linear.out_features if low_rank.dora else 0
        hidden = int(self.config.hidden_size)
        return count + sum(2 * hidden * part.width + part.width + hidden for part in self.plan.bottlenecks.values())

    def _saved_per_token(self, block: Block) -> int:
        """Bytes per token that one block keeps for the backward pass.

        Norms keep their input (norms.py), trained ones in float32; attention keeps query, key, value and its output;
        the MLP keeps gate and up (gated_mlp.py). A linear layer keeps its input only where it is trained itself: what
        comes out of the two norms, since the output of attention is kept anyway and the product in the MLP is taken
        again. Layers that read the same input share its dropout mask.
        """
        hidden = int(self.config.hidden_size)
        queries, keys = self._outputs(block, ("q_proj",)), self._outputs(block, ("k_proj", "v_proj"), 2 * hidden)
        middle = self._middle(block)
        saved = self._norms(block) + (2 * queries + keys + 2 * middle) * self.item
        parts = {name: self.plan.low_rank[name] for name in block.linears if name in self.plan.low_rank}
        if parts or any(f"{name}.weight" in self.plan.full for name in block.linears):
            saved += 2 * hidden * self.item
        read = {("q_proj", "k_proj", "v_proj"): hidden, ("o_proj",): queries, ("gate_proj", "up_proj"): hidden,
                ("down_proj",): middle}  # fmt: skip
        for endings, width in read.items():
            if any(part.dropout for name, part in parts.items() if name.endswith(endings)):
                saved += width
        saved += sum(part.rank for part in parts.values()) * self.item
        for name in (block.attention, block.mlp):
            if (bottleneck := self.plan.bottlenecks.get(name)) is not None:
                saved += (2 * hidden + 2 * bottleneck.width) * self.item + (hidden if bottleneck.dropout else 0)
        return saved

    def _passing_per_token(self) -> int:
        """Bytes per token while one block runs without gradients: residual, normed input, and the widest step."""
        block, hidden = self.blocks[0], int(self.config.hidden_size)
        middle = self._middle(block)
        attention = 5 * self._outputs(block, ("q_proj",))
        return hidden * (FLOAT32 + 3 * self.item) + max(3 * middle, attention) * self.item

    def _logits(self, tokens: int) -> int:
        """One chunk of logits: as computed, in float32, its softmax, and the gradient in both precisions."""
        vocabulary = int(self.config.vocab_size)
        rows = min(tokens, max(16, CHUNK_ELEMENTS // vocabulary))
        head = f"{structure_of(self.model).head}.weight"
        trains_head = head in self.plan.full or "model.embed_tokens.weight" in self.plan.full
        return rows * vocabulary * (2 * self.item + 3 * FLOAT32) + (self.largest * FLOAT32 if trains_head else 0)

    def _norms(self, block: Block) -> int:
        """Bytes per token that norms keep: those over the hidden size (two in a block, Gemma's four), and those of
        queries and keys where an attention has them.
        """
        hidden = int(self.config.hidden_size)
        attention = dict(self.model.get_submodule(block.attention).named_children())
        saved = sum(
            self._outputs(block, (projection,)) * self.item
            for norm, projection in (("q_norm", "q_proj"), ("k_norm", "k_proj"))
            if getattr(attention.get(norm), "weight", None) is not None
        )
        for name, child in self.model.get_submodule(block.name).named_children():
            weight = getattr(child, "weight", None)
            if weight is not None and weight.shape == (hidden,):
                trained = f"{block.name}.{name}.weight" in self.plan.full
                saved += hidden * (FLOAT32 if trained else self.item)
        return saved

    def _outputs(self, block: Block, endings: tuple[str, ...], otherwise: int | None = None) -> int:
        """Output features of the block's linear layers with these endings, summed; where the architecture has other
        names, `otherwise` or the hidden size.
        """
        found = [self._linear(name).out_features for name in block.linears if name.endswith(endings)]
        return sum(found) if found else otherwise or int(self.config.hidden_size)

    def _middle(self, block: Block) -> int:
        """The width inside the MLP, whatever its layers are called."""
        inside = [self._linear(name).out_features for name in block.linears if name.startswith(f"{block.mlp}.")]
        return max(inside, default=int(self.config.hidden_size))

    def _linear(self, name: str) -> nn.Linear:
        linear = self.model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        return linear
