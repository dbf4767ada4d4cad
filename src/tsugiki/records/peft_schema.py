"""The strict schema of PEFT's `adapter_config.json` for LoRA: every key that is plain data about plain LoRA, no other.

Called by `adapter_folder`. A key that is not listed here must be off (null, false or empty), so that what would name
a module, a class or a file to import (`auto_mapping`, `megatron_config`, `trust_remote_code`, …) is refused. Patterns
must be simple enough to be matched (`simple_patterns`). Names and defaults follow peft 0.21; nothing of peft is
imported.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tsugiki.errors import RecordsError
from tsugiki.records.safe_names import shown
from tsugiki.records.simple_patterns import why_not_simple

LARGEST_RANK = 4096
MODULE_NAME = re.compile(r"[\w.\-]{1,500}")
TASKS = Literal["CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"]
PLAIN = "Convert the adapter to plain LoRA first, or repair the file."
AUTO = "auto_mapping"  # names a class to import; PEFT writes it for an adapter without a task
NO_MAPPING = "Save the adapter with a task_type, or set auto_mapping to null."


def _pattern(text: str) -> str:
    if fault := why_not_simple(text):
        raise ValueError(f"{shown(text)} {fault}")
    return text


def _module(text: str) -> str:
    if not MODULE_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not the name of a module")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{shown(text)} holds characters that nobody sees")
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
Module = Annotated[str, AfterValidator(_module)]
Label = Annotated[str, Field(max_length=1000), AfterValidator(_printable)]
Rank = Annotated[int, Field(ge=1, le=LARGEST_RANK)]
Alpha = Annotated[float, Field(ge=0, le=1e6)]
Index = Annotated[int, Field(ge=0, le=1_000_000_000)]


class PeftConfig(BaseModel):
    """A LoRA configuration as PEFT writes it, without the keys that are off."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    peft_type: Literal["LORA"]
    task_type: TASKS | None = None
    base_model_name_or_path: Label | None = None
    revision: Label | None = None
    peft_version: Label | None = None
    inference_mode: bool = False
    r: Rank
    lora_alpha: Alpha
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    bias: Literal["none", "all", "lora_only"] = "none"
    lora_bias: bool = False
    target_modules: Pattern | tuple[Module, ...] = ()
    exclude_modules: Pattern | tuple[Module, ...] = ()
    rank_pattern: dict[Pattern, Rank] = {}
    alpha_pattern: dict[Pattern, Alpha] = {}
    modules_to_save: tuple[Module, ...] = ()
    layers_to_transform: Index | tuple[Index, ...] | None = None
    layers_pattern: Pattern | tuple[Pattern, ...] = ()
    layer_replication: tuple[tuple[Index, Index], ...] = ()
    target_parameters: tuple[Module, ...] = ()
    trainable_token_indices: tuple[Index, ...] | dict[Module, tuple[Index, ...]] = ()
    alora_invocation_tokens: tuple[Index, ...] = ()
    ensure_weight_tying: bool = False
    # How A and B began does not matter once they are stored. Starts that change the base as well are not listed.
    init_lora_weights: Literal[True, "gaussian", "eva", "orthogonal"] = True
    # Defaults that PEFT writes whether or not they are used.
    qalora_group_size: int = 16
    megatron_core: Literal["megatron.core"] = "megatron.core"
    runtime_config: dict[Literal["ephemeral_gpu_offload"], bool] = {}

    def settings(self) -> dict[str, Any]:
        """What the file sets, as plain JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)


def read_config(value: dict[str, Any], where: str) -> PeftConfig:
    """The configuration in a parsed `adapter_config.json`. Raises RecordsError naming the first key at fault."""
    if not isinstance(value.get("peft_type"), str):
        raise RecordsError(f"{where} does not say a peft_type.", fix=PLAIN)
    on = {key: one for key, one in value.items() if not _is_off(one)}
    try:
        return PeftConfig.model_validate_json(json.dumps(on))
    except ValidationError as error:
        raise RecordsError(f"{where} {_first_fault(error, on)}.", fix=NO_MAPPING if AUTO in on else PLAIN) from None


def _is_off(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def _first_fault(error: ValidationError, values: dict[str, Any]) -> str:
    faults = error.errors()
    # Of the alternatives that a key has, the one that came furthest.
    first = next((fault for fault in faults if fault["type"] == "value_error"), faults[0])
    key = str(first["loc"][0])
    if first["type"] == "missing":
        return f"lacks {key}"
    said = f"sets {shown(key)} = {shown(json.dumps(values[key], ensure_ascii=False))}"
    if first["type"] == "extra_forbidden":
        return f"{said}, which is not part of plain LoRA"
    message = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"{said}: {message[0].lower()}{message[1:]}"
