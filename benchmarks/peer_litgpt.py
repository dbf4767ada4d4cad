"""LitGPT's LoRA fine-tuning as a peer of the speed measurement; runs in an environment of its own (`make peers`).

Its own `setup` is called with the job's numbers. Three things are taken out, none of them training: the validation
before the first step, the warm-up with cosine (the job's rate is constant), and what it writes at the end.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.data import JSON
from litgpt.finetune import lora
from litgpt.prompts import Default
from litgpt.scripts.convert_hf_checkpoint import convert_hf_checkpoint
from transformers import AutoTokenizer

from benchmarks.race import Job, Outcome, answer, held_out_loss, peak_memory_bytes

MODEL = "SmolLM2-135M"  # LitGPT's own configuration of this base


def run(job: Job) -> Outcome:
    found: dict[str, Any] = {}
    fit = lora.fit

    def timed(**named: Any) -> Any:
        started = time.perf_counter()
        counts = fit(**named)
        found.update(model=named["model"], seconds=time.perf_counter() - started, peak=peak_memory_bytes())
        return counts

    lora.fit = timed
    lora.validate = lambda *_, **__: torch.tensor(0.0)
    lora.merge_lora = lora.save_hyperparameters = lambda *_, **__: None
    lora.get_lr_scheduler = lambda optimizer, **_: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, rows = Path(folder) / MODEL, Path(folder) / "rows"
        shutil.copytree(job.base, checkpoint)
        convert_hf_checkpoint(checkpoint_dir=checkpoint, model_name=MODEL)
        rows.mkdir()
        for name, pairs in (("train", job.train), ("val", job.held_out)):
            records = [{"instruction": prompt, "output": completion} for prompt, completion in pairs]
            (rows / f"{name}.json").write_text(json.dumps(records), encoding="utf-8")
        lora.setup(
            checkpoint_dir=checkpoint,
            out_dir=Path(folder) / "out",
            precision={"float32": "32-true", "bfloat16": "bf16-true"}[job.precision],
            lora_r=job.rank,
            lora_alpha=int(job.alpha),
            lora_dropout=job.dropout,
            lora_key=True,
            lora_projection=True,
            lora_mlp=True,
            data=JSON(rows, mask_prompt=True, prompt_style=Default(), num_workers=0),
            train=TrainArgs(
                save_interval=None,
                log_interval=job.steps,
                global_batch_size=job.batch_size,
                micro_batch_size=job.batch_size,
                lr_warmup_steps=0,
                epochs=job.steps,
                max_steps=job.steps,
            ),
            eval=EvalArgs(interval=10**9, max_new_tokens=1, final_validation=False),
            optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": job.learning_rate, "weight_decay": 0.0}},
            seed=job.seed,
        )
    model = found["model"]

    class Asked(torch.nn.Module):
        """LitGPT's model gives logits alone; the shared measure of the loss asks as one asks transformers."""

        def forward(self, input_ids: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=model(input_ids))

    model.eval()
    return Outcome(
        seconds=found["seconds"],
        peak_memory_bytes=found["peak"],
        train_loss=None,
        held_out_loss=held_out_loss(Asked(), AutoTokenizer.from_pretrained(job.base), job.held_out),
        trained_parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
    )


if __name__ == "__main__":
    answer(run)
