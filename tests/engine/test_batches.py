"""Token ids, masks and batches: what is learned, what is read, and that nothing is lost on the way."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tsugiki.engine.base import Base, render
from tsugiki.engine.batches import Encoded, batch_order, completion_ids, encode, masked_view, micro_batches, prompt_ids
from tsugiki.errors import DataError

lengths = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=40)


def rows(sizes: list[tuple[int, int]]) -> Encoded:
    """Rows of the given prompt and completion lengths, each with ids of its own."""
    prompts = tuple(tuple(1000 * row + at for at in range(prompt)) for row, (prompt, _) in enumerate(sizes))
    completions = tuple(tuple(1000 * row + 500 + at for at in range(size)) for row, (_, size) in enumerate(sizes))
    return Encoded(prompts, completions)


@given(sizes=lengths, batch_size=st.integers(1, 9), seed=st.integers(0, 5))
def test_an_epoch_visits_every_row_once_in_a_reproducible_order(
    sizes: list[tuple[int, int]], batch_size: int, seed: int
) -> None:
    encoded = rows(sizes)
    steps = -(-len(sizes) // batch_size)
    first, second = (list(islice(batch_order(encoded, batch_size=batch_size, seed=seed), 2 * steps)) for _ in range(2))
    assert first == second
    for epoch in (first[:steps], first[steps:]):
        assert sorted(row for batch in epoch for row in batch) == list(range(len(sizes)))


def test_the_order_changes_with_seed_and_epoch() -> None:
    encoded = rows([(3, 2)] * 20)
    orders = [list(islice(batch_order(encoded, batch_size=4, seed=seed), 10)) for seed in (0, 1)]
    assert orders[0] != orders[1] and orders[0][:5] != orders[0][5:]


@given(sizes=lengths, micro_tokens=st.integers(8, 200), packed=st.booleans())
def test_micro_batches_keep_every_label_in_its_place(
    sizes: list[tuple[int, int]], micro_tokens: int, packed: bool
) -> None:
    encoded = rows(sizes)
    batches = micro_batches(encoded, range(len(encoded)), micro_tokens=micro_tokens, packed=packed)
    learned = [int(target) for batch in batches for target in batch.targets_N]
    assert sorted(learned) == sorted(token for completion in encoded.completions for token in completion)
    for batch in batches:
        assert batch.ids_BT.numel() <= micro_tokens or len(batch.rows) == 1
        if packed:
            assert batch.lengths is not None and batch.ids_BT.numel() == sum(batch.lengths)
            assert len(batch.rows) * max(batch.lengths) <= 2 * micro_tokens or len(batch.rows) == 1
        else:
            assert batch.lengths is None
        flat = batch.ids_BT.flatten()
        for position, target in zip(batch.positions_N.tolist(), batch.targets_N.tolist(), strict=True):
            row, within = divmod(target, 1000)
            before = int(flat[position])
            expected = encoded.prompts[row][-1] if within == 500 else target - 1
            assert before == expected, "the state that predicts a token must be that of the token before it"
    assert sum(batch.tokens for batch in batches) == encoded.tokens


def test_padding_changes_no_row(tiny_bases: Base) -> None:
    """Rows of one batch do not see each other or the padding, sliding windows included."""
    encoded = encode(tiny_bases.tokenizer, [("a" * 30, "b"), ("c", "d" * 3), ("部品" * 9, "軸受")], max_length=128)
    (batch,) = micro_batches(encoded, range(3), micro_tokens=4096)
    with torch.no_grad():
        together = tiny_bases.model(input_ids=batch.ids_BT).logits
        for at, row in enumerate(batch.rows):
            ids = [*encoded.prompts[row], *encoded.completions[row][:-1]]
            alone = tiny_bases.model(input_ids=torch.tensor([ids])).logits[0]
            torch.testing.assert_close(together[at, : len(ids)], alone, rtol=0, atol=2e-5)


def test_no_more_passes_than_are_needed() -> None:
    """Filled in order these are three batches of 192 tokens."""
    encoded = rows([(length, 1) for length in (30, 35, 40, 45, 50, 55, 60, 65)])
    batches = micro_batches(encoded, range(8), micro_tokens=192, packed=True)
    assert [batch.ids_BT.numel() for batch in batches] == [190, 190]
    many = rows([(1 + place % 40, 2) for place in range(20_000)])
    found = micro_batches(many, range(20_000), micro_tokens=256, packed=True)
    assert sum(batch.ids_BT.numel() for batch in found) / (256 * len(found)) > 0.9


def test_prompts_and_completions_join_to_what_generation_reads(tiny_bases: Base) -> None:
    tokenizer = tiny_bases.tokenizer
    ids = prompt_ids(tokenizer, "病名: 虫垂炎\nICD-10: ")
    assert (ids[0] == tokenizer.bos_token_id) == (tiny_bases.identity.architecture == "Gemma3ForCausalLM")
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "病名: 虫垂炎\nICD-10:"
    learned = completion_ids(tokenizer, "K35", after="病名: 虫垂炎\nICD-10: ")
    assert learned[-1] == tokenizer.eos_token_id and tokenizer.bos_token_id not in learned
    assert tokenizer.decode(learned[:-1]) == " K35", "the space belongs to the word that it introduces"
    assert learned == completion_ids(tokenizer, " K35") != completion_ids(tokenizer, "K35")
    encoded = encode(tokenizer, [("x:  ", "y"), ("x:\n", "y")], max_length=64)
    assert [tokenizer.decode(ids[:-1]) for ids in encoded.completions] == ["  y", "y"]
    assert tokenizer.decode(encoded.prompts[1], skip_special_tokens=True) == "x:\n"


def test_a_chat_prompt_has_one_beginning_of_text(tiny_bases: Base) -> None:
    tokenizer = tiny_bases.tokenizer
    text = render(tokenizer, "unused", (("user", "What is P-101?"),), "chat")
    ids = prompt_ids(tokenizer, tokenizer.bos_token + text)
    assert ids.count(tokenizer.bos_token_id) == 1


def test_an_empty_prompt_still_has_a_token_to_predict_from(tiny_bases: Base) -> None:
    assert len(prompt_ids(tiny_bases.tokenizer, "")) == 1


def test_over_long_rows_are_listed_not_cut(tiny_base: Base) -> None:
    encoded = encode(tiny_base.tokenizer, [("short", "x"), ("long " * 50, "y"), ("short", "z")], max_length=20)
    assert len(encoded) == 2
    ((index, reason),) = encoded.excluded
    assert index == 1 and "more than the limit of 20" in reason
    with pytest.raises(DataError, match="None of the 1 examples fits into 20 tokens"):
        encode(tiny_base.tokenizer, [("long " * 50, "y")], max_length=20)


def test_the_masked_view_shows_exactly_what_is_learned(tiny_base: Base) -> None:
    view = masked_view(tiny_base.tokenizer, ("Class: ", "Diode"))
    assert "".join(text for text, learned in view if not learned) == "Class:"
    assert "".join(text for text, learned in view if learned) == " Diode" + tiny_base.tokenizer.eos_token


def test_the_masked_view_never_cuts_a_character(tiny_bases: Base) -> None:
    view = masked_view(tiny_bases.tokenizer, ("鶴見製作所の軸受 ", "𠮷田-№23"))
    assert not any("\ufffd" in text for text, _ in view)
    assert "".join(text for text, learned in view if learned).startswith(" 𠮷田-№23")
