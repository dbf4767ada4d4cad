"""Bases with random weights in the shapes of real ones, for speed and memory where no such weights are at hand.

What a training step costs does not depend on what the weights hold. The tokenizer is that of SmolLM2-135M, so the
vocabulary is smaller than the real one's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.tasks import CACHE
from tsugiki.engine.base import BaseSpec, load_tokenizer

SHAPES: dict[str, dict[str, Any]] = {
    "llama-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
                 "num_key_value_heads": 8, "tie_word_embeddings": True},
}  # fmt: skip


def random_base(shape: str) -> Path:
    """The folder of that base in bfloat16, made once."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    folder = CACHE / "random-bases" / shape
    if not folder.is_dir():
        tokenizer = load_tokenizer(BaseSpec("smollm2-135m"))
        config = LlamaConfig(
            **SHAPES[shape],
            vocab_size=len(tokenizer),
            max_position_embeddings=8192,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        torch.manual_seed(0)
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        unfinished = folder.with_suffix(".unfinished")
        model.cpu().save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        unfinished.rename(folder)
    return folder
