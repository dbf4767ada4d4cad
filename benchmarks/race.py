"""What both sides of the speed measurement share: the job they are given, their answer, and one held-out loss.

Called by ours.py and by every peer_*.py, each in a process of its own, and by speed.py, which starts them in turn.
Imports nothing of tsugiki: some peers run in an environment that has none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Pair = tuple[str, str]  # prompt, completion


@dataclass(frozen=True)
class Job:
    """The same for both sides. Steps are whole epochs, so that both see exactly the same tokens; the learning rate is
    constant, because the two count their warm-up differently.
    """

    base: str
    precision: str
    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]
    steps: int
    batch_size: int
    learning_rate: float
    rank: int
    alpha: float
    dropout: float
    checkpoint_activations: bool
    seed: int


@dataclass(frozen=True)
class Outcome:
    """Seconds of the training steps alone; the peak is taken before the held-out loss."""

    seconds: float
    peak_memory_bytes: int
    train_loss: float | None  # None where the other side does not say it
    held_out_loss: float
    trained_parameters: int


def answer(side: Callable[[Job], Outcome]) -> None:
    """The main function of a side: read the job from the first file, write the outcome to the second."""
    values = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for key in ("train", "held_out"):
        values[key] = tuple((prompt, completion) for prompt, completion in values[key])
    Path(sys.argv[2]).write_text(json.dumps(asdict(side(Job(**values)))), encoding="utf-8")


def peak_memory_bytes() -> int:
    """The most that this process ever held on the GPU, or where there is none its largest resident size."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not report VmHWM")


def held_out_loss(model: Any, tokenizer: Any, pairs: Sequence[Pair]) -> float:
    """Nats per completion token, end of text included; one row at a time with the whole logits: slow and obvious."""
    import torch

    total, tokens = 0.0, 0
    device = "cuda" if torch.cuda.is_available() else "cpu"  # where every side holds its model
    model.eval()
    with torch.no_grad():
        for prompt, completion in pairs:
            before = tokenizer(prompt).input_ids
            after = [*tokenizer(completion, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
            logits_BTV = model(input_ids=torch.tensor([before + after], device=device)).logits.float()
            predicting_NV, expected_N = logits_BTV[0, len(before) - 1 : -1], torch.tensor(after, device=device)
            total += float(torch.nn.functional.cross_entropy(predicting_NV, expected_N, reduction="sum"))
            tokens += len(after)
    return total / tokens
