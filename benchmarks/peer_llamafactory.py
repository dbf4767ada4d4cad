"""LLaMA-Factory's supervised LoRA fine-tuning as a peer of the speed measurement; runs in an environment of its own
(`make peers`).

Its own `run_exp` is called with the job's numbers and its template for plain text, which does not end an answer: the
end of text is written into the completions, so that the same tokens are learned.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")

import torch
from transformers import AutoTokenizer, TrainerCallback

from benchmarks.race import Job, Outcome, answer, held_out_loss, peak_memory_bytes

sound = types.ModuleType("torchaudio")  # imported by LLaMA-Factory for sound, which no job here has
sound.__spec__ = ModuleSpec("torchaudio", None)
sys.modules.setdefault("torchaudio", sound)

from llamafactory.train.tuner import run_exp  # noqa: E402


class Watch(TrainerCallback):
    """Time from the start of training to the end of its last step, and the model that was trained."""

    def on_train_begin(self, *arguments: Any, **named: Any) -> None:
        self.started = self.ended = time.perf_counter()

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.ended = time.perf_counter()

    def on_train_end(self, arguments: Any, state: Any, *rest: Any, **named: Any) -> None:
        self.model, self.peak = named["model"], peak_memory_bytes()
        self.losses = [entry["loss"] for entry in state.log_history if "loss" in entry]


def run(job: Job) -> Outcome:
    tokenizer, watch = AutoTokenizer.from_pretrained(job.base), Watch()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"instruction": prompt, "input": "", "output": completion + tokenizer.eos_token}
            for prompt, completion in job.train
        ]
        (Path(folder) / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        (Path(folder) / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
        run_exp(
            {
                "model_name_or_path": job.base,
                "stage": "sft",
                "do_train": True,
                "finetuning_type": "lora",
                "lora_rank": job.rank,
                "lora_alpha": int(job.alpha),
                "lora_dropout": job.dropout,
                "lora_target": "all",
                "disable_gradient_checkpointing": not job.checkpoint_activations,
                "template": "empty",
                "dataset": "rows",
                "dataset_dir": folder,
                "output_dir": str(Path(folder) / "out"),
                "max_steps": job.steps,
                "per_device_train_batch_size": job.batch_size,
                "gradient_accumulation_steps": 1,
                "learning_rate": job.learning_rate,
                "lr_scheduler_type": "constant",
                "infer_dtype": "auto",
                "bf16": job.precision == "bfloat16",
                "use_cpu": not torch.cuda.is_available(),
                "logging_steps": 1,
                "save_strategy": "no",
                "report_to": "none",
                "disable_tqdm": True,
                "seed": job.seed,
            },
            callbacks=[watch],
        )
    last = watch.losses[-max(1, job.steps // 4) :]
    return Outcome(
        seconds=watch.ended - watch.started,
        peak_memory_bytes=watch.peak,
        train_loss=sum(last) / len(last),
        held_out_loss=held_out_loss(watch.model, tokenizer, job.held_out),
        trained_parameters=sum(one.numel() for one in watch.model.parameters() if one.requires_grad),
    )


if __name__ == "__main__":
    answer(run)
