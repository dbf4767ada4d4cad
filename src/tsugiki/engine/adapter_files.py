"""Adapter folders: written whole, read with suspicion.

A folder holds `adapter_model.safetensors` and our manifest `tsugiki.json` (plan, base identity, the caller's facts).
Where the PEFT format can say the same (low-rank parts, layers trained in full beside them), the tensors carry PEFT's
names and `adapter_config.json` stands beside them, so that `peft` loads the folder. A folder without our manifest is
read as PEFT's, by a strict schema: what we do not know is refused, not ignored. Nothing here runs code from a folder.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tsugiki import __version__
from tsugiki.config import Held
from tsugiki.engine.attach import Trainable, attach, tied_weights
from tsugiki.engine.base import Base
from tsugiki.engine.peft_format import peft_config, peft_tensor_name, plan_from_peft
from tsugiki.engine.plan import Plan, plan_from_json
from tsugiki.errors import AdapterError
from tsugiki.files import sync_folder, write_json

WEIGHTS, MANIFEST, PEFT_CONFIG = "adapter_model.safetensors", "tsugiki.json", "adapter_config.json"
FORMAT = 1
CONFIG_BYTES = 4_000_000


def save_adapter(trainable: Trainable, folder: Path, manifest: Mapping[str, Any]) -> int:
    """Write the trained parts to `folder`, which appears whole or not at all; returns the bytes of the folder.

    `manifest` is added to `tsugiki.json` (data digest, recipe, seeds). An existing folder is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        _write(trainable, partial, manifest)
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return adapter_bytes(folder)


def adapter_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def load_adapter(base: Base, folder: Path) -> Trainable:
    """Attach the adapter in `folder` to `base`, in evaluation mode.

    Raises AdapterError for anything that is not a sound adapter of this base: a missing or broken file, another base's
    digest, an unknown configuration key, a tensor that is missing, left over, misshapen or not finite.
    """
    manifest = read_manifest(folder)
    tensors = _read_tensors(folder)
    if manifest is not None:
        _check_base(base, folder, manifest)
        plan = plan_from_json(manifest["plan"])
    else:
        plan = plan_from_peft(base.model, _read_json(folder / PEFT_CONFIG), folder)
    trainable = attach(base, plan, seed=0)
    try:
        _fill(trainable, tensors, folder)
    except BaseException:
        trainable.detach()
        raise
    trainable.model.eval()
    return trainable


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Our manifest, or None for a folder that has only PEFT's configuration."""
    if not folder.is_dir():
        raise AdapterError(f"There is no adapter folder {folder}.", fix="Give the folder that `tsugiki train` wrote.")
    if (folder / MANIFEST).is_file():
        manifest = _read_json(folder / MANIFEST)
        if manifest.get("format") != FORMAT or "plan" not in manifest or "base" not in manifest:
            raise AdapterError(
                f"{folder / MANIFEST} is not a manifest of format {FORMAT}.",
                fix="Write the adapter again with this version.",
            )
        if manifest.get("quantize", "none") not in get_args(Held):
            raise AdapterError(
                f"{folder / MANIFEST} says that the base is held in {manifest['quantize']!r}.",
                fix=f"Known are {', '.join(get_args(Held))}.",
            )
        return manifest
    if not (folder / PEFT_CONFIG).is_file():
        raise AdapterError(
            f"{folder} holds neither {MANIFEST} nor {PEFT_CONFIG}.", fix="Give a folder written by tsugiki or by PEFT."
        )
    return None


def tensor_name(plan: Plan, name: str, tied: frozenset[str]) -> str:
    """The name of a trained part inside the file: PEFT's where its format can hold the plan, else our own."""
    return peft_tensor_name(name) if peft_config(plan, "", tied) is not None else name


def _write(trainable: Trainable, folder: Path, manifest: Mapping[str, Any]) -> None:
    base, plan, tied = trainable.base, trainable.plan, tied_weights(trainable.model)
    tensors = {
        tensor_name(plan, name, tied): parameter.detach().cpu().contiguous()
        for name, parameter in trainable.trained.items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = peft_config(plan, base.identity.name, tied)
    if config is not None:
        write_json(folder / PEFT_CONFIG, config)
    identity = vars(base.identity)
    own = {
        "format": FORMAT,
        "tsugiki": __version__,
        "base": identity,
        "plan": plan.as_json(),
        "dtype": str(base.dtype),
        "quantize": base.spec.quantize,
    }
    write_json(folder / MANIFEST, {**manifest, **own})


def _fill(trainable: Trainable, tensors: Mapping[str, Tensor], folder: Path) -> None:
    tied = tied_weights(trainable.model)
    wanted = {tensor_name(trainable.plan, name, tied): parameter for name, parameter in trainable.trained.items()}
    missing, left_over = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or left_over:
        what = f"lacks {missing[0]}" if missing else f"holds {left_over[0]}, which its configuration does not name"
        raise AdapterError(
            f"{folder / WEIGHTS} {what} ({len(missing)} tensors missing, {len(left_over)} left over).",
            fix="The folder is damaged or belongs to another base.",
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            found = tensors[name]
            if found.shape != parameter.shape:
                raise AdapterError(
                    f"{name} in {folder / WEIGHTS} has shape {tuple(found.shape)}, "
                    f"the base needs {tuple(parameter.shape)}.",
                    fix="Load the adapter on the base that it was trained on.",
                )
            if not torch.isfinite(found).all():
                raise AdapterError(
                    f"{name} in {folder / WEIGHTS} holds NaN or infinity.", fix="Train the adapter again."
                )
            parameter.copy_(found)


def _check_base(base: Base, folder: Path, manifest: Mapping[str, Any]) -> None:
    trained_on = manifest["base"].get("digest")
    if trained_on != base.identity.digest:
        raise AdapterError(
            f"{folder} was trained on {manifest['base'].get('name')} ({str(trained_on)[:19]}…), this base is "
            f"{base.identity.name} ({base.identity.digest[:19]}…).",
            fix="Load it on its own base.",
        )


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        other = next((file.name for file in folder.iterdir() if file.suffix in (".bin", ".pt", ".pkl", ".pth")), None)
        found = f"only {other}, which can carry code" if other else "none"
        raise AdapterError(f"{folder} has no {WEIGHTS} ({found}).", fix="Save the adapter as safetensors.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(
            f"{path} is not a whole safetensors file ({error}).", fix="Copy or train it again."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise AdapterError(
                f"{path} is larger than {CONFIG_BYTES} bytes.", fix="This is not an adapter configuration."
            )
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(
            f"{path} cannot be read as JSON ({error}).", fix="Copy or train the adapter again."
        ) from error
    if not isinstance(value, dict):
        raise AdapterError(f"{path} holds a {type(value).__name__}, not an object.", fix="Copy the adapter again.")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
