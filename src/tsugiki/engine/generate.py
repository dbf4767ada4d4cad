"""Greedy decoding in batches with a key-value cache; the model's answer to each prompt as text.

Called by `work` for evaluation, and with a clock for latency. Prompts become token ids by the same function as in
training. Greedy only: the same prompt gives the same answer, whoever shares its batch (up to rounding in bfloat16).
B rows still running, T tokens so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tsugiki.engine.batches import prompt_ids

Done = Callable[[str], bool]


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 32,
    done: Done | None = None,
) -> list[str]:
    """The answer to each prompt, in the order given, without special tokens.

    A row ends at an end-of-text token, after `max_new_tokens`, or as soon as `done` says of its text so far that
    nothing behind it is wanted; that text is returned whole.
    """
    found = generate_ids(model, tokenizer, prompts, max_new_tokens=max_new_tokens, batch_size=batch_size, done=done)
    return [_text(tokenizer, tokens) for tokens in found]


def generate_ids(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int = 32,
    done: Done | None = None,
) -> list[list[int]]:
    """As `generate`, but the token ids of each answer, without the token that ended it."""
    rows = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    # Longest first: what does not fit into memory fails at once, and rows of one batch need little padding.
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    ending = _Ending(end_ids(model, tokenizer), done, max_new_tokens)
    answers: list[list[int]] = [[] for _ in rows]
    with _inference(model):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            decoded = _decode(model, tokenizer, [rows[index] for index in batch], ending)
            for index, tokens in zip(batch, decoded, strict=True):
                answers[index] = tokens
    return answers


def timed_generation(model: Any, tokenizer: Any, prompts: Sequence[str], *, new_tokens: int) -> list[float]:
    """Seconds from the start until each of `new_tokens` tokens was there for all prompts, run as one batch.

    Ends of text are ignored, so that every run does the same work. Tokenising is not counted.
    """
    rows = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    seconds: list[float] = []
    with _inference(model):
        device = next(model.parameters()).device
        _wait_for(device)
        start = time.perf_counter()
        for _ in range(new_tokens):
            if not seconds:
                running, tokens_B = _prefill(model, rows)
            else:
                tokens_B = _advance(model, running, tokens_B)
            _wait_for(device)
            seconds.append(time.perf_counter() - start)
    return seconds


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's own and those of the generation settings (Gemma has two)."""
    settings = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    named = [settings] if isinstance(settings, int) else list(settings or [])
    return frozenset([tokenizer.eos_token_id, *named])


@dataclass(frozen=True)
class _Ending:
    """When a row is done."""

    tokens: frozenset[int]
    done: Done | None
    max_new_tokens: int

    def reached(self, tokenizer: Any, answer: Sequence[int]) -> bool:
        full = len(answer) >= self.max_new_tokens
        return full or (self.done is not None and self.done(_text(tokenizer, answer)))


@dataclass
class _Running:
    """Rows that have not ended. `mask` (B, T) is None where no row is padded, which is faster; `positions` is (B)."""

    cache: Any
    mask: Tensor | None
    positions: Tensor


def _decode(model: Any, tokenizer: Any, rows: Sequence[Sequence[int]], ending: _Ending) -> list[list[int]]:
    """New tokens of each row, without the one that ended it."""
    answers: list[list[int]] = [[] for _ in rows]
    running, tokens_B = _prefill(model, rows)
    alive = list(range(len(rows)))
    while True:
        going: list[int] = []
        for place, token in enumerate(tokens_B.tolist()):
            answer = answers[alive[place]]
            if token in ending.tokens:
                continue
            answer.append(token)
            if not ending.reached(tokenizer, answer):
                going.append(place)
        if not going:
            return answers
        if len(going) < len(alive):
            alive = [alive[place] for place in going]
            tokens_B = _keep(running, tokens_B, going)
        tokens_B = _advance(model, running, tokens_B)


def _prefill(model: Any, rows: Sequence[Sequence[int]]) -> tuple[_Running, Tensor]:
    """Read all prompts at once, padded on the left so that every row's last token stands in the last column."""
    from transformers import DynamicCache

    device = next(model.parameters()).device
    width = max(map(len, rows))
    ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
    mask_BT = torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        ids_BT[place, width - len(row) :] = torch.tensor(row)
        mask_BT[place, width - len(row) :] = 1
    positions_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0)
    padded = not bool(mask_BT.all())
    running = _Running(
        cache=DynamicCache(config=model.config),
        mask=mask_BT.to(device) if padded else None,
        positions=positions_BT[:, -1].to(device),
    )
    return running, _next(model, running, ids_BT.to(device), positions_BT.to(device))


def _advance(model: Any, running: _Running, tokens_B: Tensor) -> Tensor:
    running.positions = running.positions + 1
    if running.mask is not None:
        running.mask = torch.cat([running.mask, running.mask.new_ones(len(tokens_B), 1)], dim=1)
    return _next(model, running, tokens_B[:, None], running.positions[:, None])


def _next(model: Any, running: _Running, ids_BT: Tensor, positions_BT: Tensor) -> Tensor:
    """The most likely next token of each row; logits are computed for the last position only."""
    output = model(
        input_ids=ids_BT,
        attention_mask=running.mask,
        position_ids=positions_BT,
        past_key_values=running.cache,
        use_cache=True,
        logits_to_keep=1,
    )
    best_B: Tensor = output.logits[:, -1].argmax(dim=-1)
    return best_B


def _keep(running: _Running, tokens_B: Tensor, places: Sequence[int]) -> Tensor:
    """Drop the rows that have ended, so that nothing is computed for them any more."""
    index_B = torch.tensor(places, device=tokens_B.device)
    running.cache.batch_select_indices(index_B)
    running.positions = running.positions[index_B]
    if running.mask is not None:
        running.mask = running.mask[index_B]
    return tokens_B[index_B]


def _text(tokenizer: Any, tokens: Sequence[int]) -> str:
    text: str = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


@contextmanager
def _inference(model: Any) -> Iterator[None]:
    """Dropout off and no gradients, and the mode as it was afterwards.

    The last column of hidden states that were read together is no contiguous tensor, and torch multiplies such a one
    (B, 1, D) with B copies of the head: in bfloat16 on a CPU 10 GB for 32 prompts of Gemma 3.
    """
    was_training = model.training
    model.eval()
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    try:
        with torch.inference_mode():
            yield
    finally:
        hook.remove()
        model.train(was_training)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
