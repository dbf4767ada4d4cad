"""The strict schema of `tsugiki.json`, the manifest that our own adapters carry: base, plan, recipe, data.

Called by `adapter_folder`; `engine.adapter_files` writes such files. What it says is the word of whoever made the
folder: the registry keeps it as such and compares it with a study where one is given.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tsugiki.errors import RecordsError
from tsugiki.records.peft_schema import Label, Module, Rank
from tsugiki.records.safe_names import shown
from tsugiki.records.strict_json import COPY_AGAIN

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OwnBase(BaseModel):
    """The base that an adapter was trained on; `engine.base.BaseIdentity` says what the digests cover."""

    model_config = STRICT

    name: Label
    digest: Digest
    weights_digest: Digest
    config_digest: Digest
    tokenizer_digest: Digest
    template_digest: Digest | None
    architecture: Label
    parameters: Annotated[int, Field(ge=0)]


class OwnLowRank(BaseModel):
    model_config = STRICT

    rank: Rank
    scale: Annotated[float, Field(ge=0, le=1e6)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    dora: bool


class OwnBottleneck(BaseModel):
    model_config = STRICT

    place: Literal["serial", "parallel"]
    width: Annotated[int, Field(ge=1, le=65_536)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class OwnPlan(BaseModel):
    """What is trained, by the names of the base's layers."""

    model_config = STRICT

    method: Literal["lora", "adapter", "hybrid", "full"]
    low_rank: dict[Module, OwnLowRank]
    full: tuple[Module, ...]
    bottlenecks: dict[Module, OwnBottleneck]


class OwnGolden(BaseModel):
    """A recorded prompt and the token ids that the base's tokenizer makes of it."""

    model_config = STRICT

    prompt: Annotated[str, Field(max_length=1000)]
    ids: tuple[Annotated[int, Field(ge=0)], ...]


class AdapterManifest(BaseModel):
    """Facts of the engine, and of whoever trained the adapter where there are any."""

    model_config = STRICT

    format: Literal[1]
    tsugiki: Label
    base: OwnBase
    plan: OwnPlan
    dtype: Literal["torch.float32", "torch.bfloat16", "torch.float16", "torch.float64"]
    quantize: Literal["none", "int8", "nf4"] = "none"
    recipe: dict[Label, int | float | bool | Label] | None = None
    template: Literal["plain", "chat"] | None = None
    data_digest: Digest | None = None
    train_rows: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    seen: tuple[Label, ...] | None = None
    answer: dict[str, Any] | None = None
    golden: tuple[OwnGolden, ...] | None = None
    training: dict[str, Any] | None = None
    trial: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,100}$")] | None = None


def read_manifest(value: dict[str, Any], where: str) -> AdapterManifest:
    """The manifest in a parsed `tsugiki.json`. Raises RecordsError naming the first field at fault."""
    try:
        return AdapterManifest.model_validate_json(json.dumps(value))
    except ValidationError as error:
        first = error.errors()[0]
        field = shown(".".join(str(part) for part in first["loc"]))
        if first["type"] == "missing":
            fault = f"lacks {field}"
        elif first["type"] == "extra_forbidden":
            fault = f"holds {field}, which no manifest of format 1 has"
        else:
            fault = f"holds {field} = {shown(repr(first['input']))}: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise RecordsError(f"{where} {fault}.", fix=COPY_AGAIN) from None
