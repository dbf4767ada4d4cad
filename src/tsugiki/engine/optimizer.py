"""AdamW over float32 masters, whatever dtype the model computes in; the learning rate's course.

Small parts are float32 themselves. A half-precision weight that is trained in full has a float32 master here: its
gradient is moved there, added up in float32, the moment it is complete, and the weight follows the master after a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tsugiki.config import Recipe
from tsugiki.engine.attach import Trainable


class MasterAdamW:
    """Three groups with their own peak rates: small parts, B matrices (LoRA+, arXiv 2402.12354), weights in full."""

    def __init__(self, trainable: Trainable, recipe: Recipe) -> None:
        self.parameters: dict[str, nn.Parameter] = dict(trainable.trained)
        self.masters: dict[str, Tensor] = {name: _master(parameter) for name, parameter in self.parameters.items()}
        self.recipe = recipe
        groups: dict[float, list[Tensor]] = {}
        for name, master in self.masters.items():
            groups.setdefault(_peak_rate(name, trainable, recipe), []).append(master)
        self.peaks = list(groups)
        self.adamw = torch.optim.AdamW(
            [{"params": members, "lr": peak} for peak, members in groups.items()],
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.hooks = [
            parameter.register_post_accumulate_grad_hook(_mover(self.masters[name]))
            for name, parameter in self.parameters.items()
            if self.masters[name] is not parameter
        ]

    def step(self, step: int) -> float:
        """One update with the gradients gathered so far; returns their norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(self.masters.values(), self.recipe.clip_norm)
        share = rate_share(step, self.recipe)
        for group, peak in zip(self.adamw.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        if torch.isfinite(norm):
            self.adamw.step()
            self.write_back()
        self.drop_gradients()
        return float(norm)

    def write_back(self) -> None:
        """Let every half-precision weight follow its master."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if self.masters[name] is not parameter:
                    parameter.copy_(self.masters[name])

    def drop_gradients(self) -> None:
        self.adamw.zero_grad(set_to_none=True)

    def free(self) -> None:
        """Give up moments and gradients: this run takes no further step."""
        self.drop_gradients()
        self.adamw.state.clear()

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def state(self) -> dict[str, Tensor]:
        """Masters and moments by name; `load_state` takes the same back."""
        tensors = {f"master/{name}": master.detach() for name, master in self.masters.items()}
        for name, master in self.masters.items():
            for key, value in self.adamw.state[master].items():
                tensors[f"{key}/{name}"] = value
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, master in self.masters.items():
                master.copy_(tensors[f"master/{name}"])
                self.adamw.state[master] = {
                    key: tensors[f"{key}/{name}"].to(master.device) for key in ("step", "exp_avg", "exp_avg_sq")
                }
        self.write_back()


def rate_share(step: int, recipe: Recipe) -> float:
    """Learning rate of step 0, 1, … relative to its peak: linear warm-up, then constant or half a cosine to zero."""
    warmup = math.ceil(recipe.warmup_share * recipe.max_steps)
    if step < warmup:
        return (step + 1) / warmup
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.max_steps - warmup)))


def _peak_rate(name: str, trainable: Trainable, recipe: Recipe) -> float:
    if name in trainable.replaced:
        hybrid = trainable.plan.method == "hybrid"
        return recipe.learning_rate * (recipe.full_learning_rate_ratio if hybrid else 1.0)
    return recipe.learning_rate * (recipe.lora_plus_ratio if name.endswith(".lora_B") else 1.0)


def _master(parameter: nn.Parameter) -> Tensor:
    if parameter.dtype not in (torch.bfloat16, torch.float16):
        return parameter
    return parameter.detach().float().requires_grad_(True)


def _mover(master: Tensor):  # type: ignore[no-untyped-def]
    def move(parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return move
