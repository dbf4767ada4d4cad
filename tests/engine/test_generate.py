"""Greedy decoding against transformers' own, and the rules for ending a row."""

from __future__ import annotations

from pathlib import Path

import torch

from tsugiki.engine.base import Base, BaseSpec, load_base
from tsugiki.engine.batches import prompt_ids
from tsugiki.engine.generate import _decode, _Ending, end_ids, generate, timed_generation

PROMPTS = [
    "Class: ",
    "ポンプの軸受が摩耗している。分類: ",
    "a",
    "The bearing of pump P-101 is worn. Order code: B-23. Class: ",
    "病名: 急性虫垂炎 ICD-10: ",
    "Fixed output regulator, fixed output regulator, fixed output regulator, TO-220, TO-220. Class: ",
    "a",
]


def reference(base: Base, prompt: str, max_new_tokens: int) -> str:
    """transformers' own greedy search, one prompt at a time, so without any padding."""
    ids = torch.tensor([prompt_ids(base.tokenizer, prompt)])
    output = base.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        use_cache=True,
        pad_token_id=0,
    )
    return base.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


def test_answers_equal_those_of_transformers_for_uneven_prompts(tiny_bases: Base) -> None:
    expected = [reference(tiny_bases, prompt, 12) for prompt in PROMPTS]
    assert len(set(expected)) > 3  # the random models do say different things
    for batch_size in (1, 4, 32):
        got = generate(tiny_bases.model, tiny_bases.tokenizer, PROMPTS, max_new_tokens=12, batch_size=batch_size)
        assert got == expected


def test_the_head_is_multiplied_once_for_all_prompts(tiny_bases: Base) -> None:
    """torch multiplies a contiguous (B, 1, D) as one matrix, and any other with a copy of the head for each prompt."""
    head = tiny_bases.model.get_output_embeddings()
    seen: list[tuple[int, bool]] = []
    multiply = type(head).forward

    def watched(x: torch.Tensor) -> torch.Tensor:
        seen.append((len(x), x.is_contiguous()))
        return multiply(head, x)

    head.forward = watched
    try:
        generate(tiny_bases.model, tiny_bases.tokenizer, PROMPTS, max_new_tokens=2)
    finally:
        del head.forward
    assert seen[0] == (len(PROMPTS), True) and all(contiguous for _, contiguous in seen)
    assert not head._forward_pre_hooks, "nothing is left behind"


def test_rows_that_end_leave_the_batch_and_the_others_go_on_unchanged(
    tiny_bases: Base,
) -> None:
    """A token in the middle of one answer is declared an end: that row must stop there, the others must not notice."""
    model, tokenizer = tiny_bases.model, tiny_bases.tokenizer
    ending = _Ending(end_ids(model, tokenizer), None, 12)
    rows = [prompt_ids(tokenizer, prompt) for prompt in PROMPTS]
    with torch.inference_mode():
        whole = _decode(model, tokenizer, rows, ending)
        end = next(token for row in whole for token in row[2:9] if any(token not in other for other in whole))
        expected = [row[: row.index(end)] if end in row else row for row in whole]
        sizes: list[int] = []
        model.register_forward_pre_hook(lambda _, __, given: sizes.append(len(given["input_ids"])), with_kwargs=True)
        assert _decode(model, tokenizer, rows, _Ending(ending.tokens | {end}, None, 12)) == expected
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == len(rows) and 0 < sizes[-1] < len(rows)


def test_a_row_whose_text_is_done_leaves_the_batch_and_the_others_go_on_unchanged(tiny_base: Base) -> None:
    model, tokenizer = tiny_base.model, tiny_base.tokenizer
    whole = generate(model, tokenizer, PROMPTS, max_new_tokens=20)
    letter = whole[3][3]
    steps: list[int] = []
    model.register_forward_pre_hook(lambda _, __, given: steps.append(len(given["input_ids"])), with_kwargs=True)
    found = generate(model, tokenizer, PROMPTS, max_new_tokens=20, done=lambda text: letter in text)
    for short, long in zip(found, whole, strict=True):
        assert short == long or (long.startswith(short) and letter in short)
        assert (letter in short) == (letter in long)
    assert len(found[3]) < len(whole[3]) and min(steps) < len(PROMPTS)


def test_the_limit_of_new_tokens_holds_and_no_prompts_give_no_answers(tiny_base: Base) -> None:
    calls: list[int] = []
    tiny_base.model.register_forward_hook(lambda *_: calls.append(1))
    generate(tiny_base.model, tiny_base.tokenizer, PROMPTS, max_new_tokens=1)
    assert len(calls) == 1
    assert generate(tiny_base.model, tiny_base.tokenizer, [], max_new_tokens=5) == []


def test_both_ends_of_gemma_count(tiny_gemma3: Path) -> None:
    base = load_base(BaseSpec(str(tiny_gemma3), precision="float32", device="cpu"))
    assert end_ids(base.model, base.tokenizer) == {
        base.tokenizer.eos_token_id,
        base.tokenizer.convert_tokens_to_ids("<end_of_turn>"),
    }


def test_generation_leaves_the_mode_of_the_model_as_it_was(tiny_base: Base) -> None:
    tiny_base.model.train()
    generate(tiny_base.model, tiny_base.tokenizer, ["a"], max_new_tokens=2)
    assert tiny_base.model.training


def test_timed_generation_gives_a_rising_time_per_token(tiny_base: Base) -> None:
    tiny_base.model.generation_config.eos_token_id = list(range(400))  # ends are ignored
    seconds = timed_generation(tiny_base.model, tiny_base.tokenizer, PROMPTS[:2], new_tokens=5)
    assert len(seconds) == 5
    assert seconds == sorted(seconds) and seconds[0] > 0
