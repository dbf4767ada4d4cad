"""Every knob, declared once: its type, range, default and one line of help. Flags, forms and docs derive from here.

All models are frozen and strict: an unknown key or a value of the wrong type is refused. Nothing here means
"fill in later": a default is the value that is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tsugiki.errors import UsageError

MethodName = Literal["lora", "adapter", "hybrid", "full"]
METHODS: tuple[MethodName, ...] = ("lora", "adapter", "hybrid", "full")
MetricName = Literal["exact_match", "macro_f1", "chrf", "character_accuracy", "json_fields"]
LanguageName = Literal["en", "ja"]
KindName = Literal["classification", "normalisation", "question-answering", "extraction", "report-drafting"]
Held = Literal["none", "int8", "nf4"]  # the bits of frozen layers

# Same number of tries for every method, each on its own scale. Small parts want about ten times the rate of full
# fine-tuning (LoRA Without Regret); business data sets put LoRA at 1e-3 and full at 3e-5 to 1e-4 (arXiv 2609.01244).
LEARNING_RATES: Mapping[MethodName, tuple[float, ...]] = {
    "lora": (1e-3, 2e-3, 5e-4),
    "adapter": (1e-3, 3e-3, 5e-4),
    "hybrid": (1e-3, 2e-3, 5e-4),
    "full": (1e-4, 2e-4, 5e-5),
}
LARGEST_RANK = 1024


class Knobs(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


K = TypeVar("K", bound=Knobs)


class PlanSpec(Knobs):
    """What is trained on top of the frozen base."""

    method: MethodName = Field("lora", description="low-rank, bottleneck adapter, hybrid or full fine-tuning")
    rank: int | Literal["auto"] = Field(
        16,
        description="width of each low-rank update (lora, hybrid), or 'auto': the smallest that dev shows to suffice",
    )
    rank_spread: Literal["even", "activations"] = Field(
        "even",
        description="give all layers this rank (lora, hybrid), or the same sum to where the inputs vary most "
        "(arXiv 2410.07170)",
    )
    alpha: float = Field(32.0, gt=0, description="scale of the update: alpha / rank, or alpha / sqrt(rank) with rslora")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout on the input of every small part")
    rslora: bool = Field(False, description="scale by alpha / sqrt(rank) (arXiv 2312.03732)")
    dora: bool = Field(False, description="train a magnitude per output row as well (arXiv 2402.09353)")
    targets: tuple[str, ...] = Field(
        ("all-linear",), description="'all-linear', or name endings of the linear layers that get a low-rank update"
    )
    blocks: tuple[str, ...] = Field(
        ("all",),
        min_length=1,
        description="decoder blocks that get small parts: 'all', block numbers (negative from the end), or 'last:N'",
    )
    bottleneck: Literal["houlsby", "pfeiffer", "parallel"] = Field(
        "houlsby", description="after attention and MLP, after MLP only, or beside the MLP (adapter)"
    )
    width: int = Field(48, ge=1, le=8192, description="width of each bottleneck (adapter)")
    full_layers: tuple[str, ...] = Field(
        ("auto",), description="hybrid: block numbers, name patterns, or 'auto' for the gradient-to-weight ratio"
    )
    full_blocks: int = Field(1, ge=1, le=256, description="hybrid: how many blocks 'auto' trains in full")

    @field_validator("rank", mode="before")
    @classmethod
    def _refuse_other_ranks(cls, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value != "auto" and not (whole and 1 <= value <= LARGEST_RANK):
            raise ValueError(f"rank must be a whole number from 1 to {LARGEST_RANK}, or auto; got {value!r}")
        return value

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> PlanSpec:
        if self.dora and self.method not in ("lora", "hybrid"):
            raise ValueError(f"dora needs method lora or hybrid, got {self.method}")
        if self.rslora and self.method not in ("lora", "hybrid"):
            raise ValueError(f"rslora needs method lora or hybrid, got {self.method}")
        if self.rank_spread != "even" and self.method not in ("lora", "hybrid"):
            raise ValueError(f"rank_spread needs method lora or hybrid, got {self.method}")
        return self


class Recipe(Knobs):
    """How the parts are trained."""

    learning_rate: float = Field(1e-3, gt=0, le=1, description="peak learning rate of the small parts (or of full)")
    full_learning_rate_ratio: float = Field(
        0.1, gt=0, le=1, description="hybrid: learning rate of the fully trained layers relative to the low-rank parts"
    )
    lora_plus_ratio: float = Field(1.0, ge=1, le=64, description="learning rate of B relative to A (arXiv 2402.12354)")
    max_steps: int = Field(300, ge=1, le=1_000_000, description="optimiser steps")
    batch_size: int = Field(8, ge=1, le=4096, description="examples per optimiser step")
    micro_tokens: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="tokens per forward pass, a larger batch is accumulated; 0: 192 on a CPU, 384 there in bfloat16, "
        "8192 on a GPU",
    )
    recompute: Literal["auto", "never", "always"] = Field(
        "auto",
        description="keep only what enters each block and compute the rest again in the backward pass: slower, less "
        "memory; auto: where training would not fit otherwise",
    )
    warmup_share: float = Field(0.06, ge=0, lt=1, description="share of the steps with a rising learning rate")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="learning rate after the warm-up")
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled weight decay of all trained parts")
    clip_norm: float = Field(1.0, gt=0, description="largest gradient norm of a step")
    evaluations: int = Field(6, ge=1, le=1000, description="how often the dev loss is taken during training")
    patience: int = Field(3, ge=1, le=1000, description="stop after this many dev losses without a new best")
    checkpoint_every: int = Field(50, ge=1, le=1_000_000, description="steps between checkpoints")
    max_length: int = Field(512, ge=8, le=131_072, description="longest example in tokens; a longer one is excluded")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="dtype of the frozen base; auto takes bfloat16 where the hardware multiplies it natively, "
        "elsewhere it is emulated: half the memory of float32, and slower",
    )
    quantize: Held = Field(
        "none",
        description="hold the frozen layers of lora and adapter in 8 or 4 bits: less memory, slower, and a little off "
        "the original weights; full and hybrid train weights in full and get them as they are",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of initialisation, order and dropout")


class Criteria(Knobs):
    """What the study has to show, fixed before anything is trained."""

    metric: MetricName = Field("exact_match", description="the task metric that decides")
    success: float = Field(description="adopt only if the quality reaches this (0 to 1)", ge=0, le=1)
    withdraw: float = Field(description="stop if the quality is surely below this (0 to 1)", ge=0, le=1)
    margin_points: float = Field(2.0, gt=0, le=100, description="non-inferiority margin against full, in points")
    margin_gain_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="share of full fine-tuning's gain as the margin, where that is more than the points",
    )
    retention_loss: float = Field(
        0.10, ge=0, description="largest allowed rise of the loss on general text, in nats per token"
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="confidence of all intervals and tests")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Criteria:
        if self.withdraw > self.success:
            raise ValueError(f"withdraw ({self.withdraw}) must not be above success ({self.success})")
        return self


class Intake(Knobs):
    """Asked before training, locked into the study."""

    purpose: str = Field(min_length=1, max_length=2000, description="what the adapted model is for")
    owner: str = Field(min_length=1, max_length=200, description="who answers for the study")
    reviewer: str = Field(min_length=1, max_length=200, description="who reviews the verdict")
    criteria: Criteria = Field(description="success and withdrawal criteria")
    language: LanguageName = Field("en", description="language of the scorecard")


class Design(Knobs):
    """Which trials a study runs."""

    methods: tuple[MethodName, ...] = Field(METHODS, min_length=1, description="methods side by side")
    seeds: int = Field(3, ge=1, le=20, description="seeds per method")
    curve_sizes: int = Field(3, ge=0, le=12, description="training sizes below the full one on the learning curve")
    tries: int = Field(3, ge=1, le=8, description="learning rates tried per method on the dev set")
    budget_minutes: float = Field(60.0, gt=0, le=100_000, description="wall-clock minutes the study may take")
    budget_money: float | None = Field(
        None, gt=0, description="money the study may cost in machine time, in the currency of --prices"
    )
    test_share: float = Field(0.25, gt=0, lt=0.9, description="share of the examples held out for the verdict")
    dev_share: float = Field(0.15, gt=0, lt=0.9, description="share of the examples for choosing rates and checkpoints")
    shots: int = Field(4, ge=1, le=64, description="examples in the k-shot reference prompt")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Design:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods must be named once each, got {', '.join(self.methods)}")
        if self.test_share + self.dev_share >= 0.9:
            raise ValueError(f"test_share + dev_share must be below 0.9, got {self.test_share + self.dev_share:g}")
        return self


def parse(kind: type[K], values: Mapping[str, Any], *, source: str) -> K:
    """Build `kind` from a mapping as a file or the command line gives it; say every fault in one sentence."""
    try:
        return kind.model_validate(_tuples(values))
    except ValidationError as error:
        faults = "; ".join(_fault(item) for item in error.errors())
        raise UsageError(f"{source}: {faults}.", fix=f"Known keys: {', '.join(kind.model_fields)}.") from None


def _tuples(value: Any) -> Any:
    """YAML and JSON know lists only; the frozen models hold tuples."""
    if isinstance(value, Mapping):
        return {key: _tuples(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_tuples(inner) for inner in value)
    return value


def _fault(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "values"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{where} is missing"
    if item["type"] == "extra_forbidden":
        return f"{where} is not a known key"
    if item["type"] == "value_error":
        return message
    return f"{where}: {message[0].lower()}{message[1:]}, got {item['input']!r}"
