"""The other side of the speed measurement: TRL's SFTTrainer with PEFT LoRA, as its documentation shows it.

A prompt-completion data set, so that only completions are learned; every option that is not part of the job is left at
its default. `checkpoint_activations` is TRL's own default; the measurement also runs without it, which is faster.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from benchmarks.race import Job, Outcome, answer, held_out_loss, peak_memory_bytes


class Clock(TrainerCallback):
    """Time from the start of training to the end of its last step; what follows (saving, a summary) is not counted."""

    def on_train_begin(self, *arguments: Any, **named: Any) -> None:
        self.started = self.ended = time.perf_counter()

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.ended = time.perf_counter()


def small_parts(job: Job) -> LoraConfig:
    return LoraConfig(r=job.rank, lora_alpha=job.alpha, lora_dropout=job.dropout, target_modules="all-linear")


def run(job: Job) -> Outcome:
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[job.precision]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=job.base,
            args=SFTConfig(
                output_dir=folder,
                max_steps=job.steps,
                per_device_train_batch_size=job.batch_size,
                learning_rate=job.learning_rate,
                lr_scheduler_type="constant",
                gradient_checkpointing=job.checkpoint_activations,
                model_init_kwargs={"dtype": dtype},
                bf16=dtype is torch.bfloat16,
                use_cpu=not torch.cuda.is_available(),
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=job.seed,
            ),
            train_dataset=Dataset.from_list([{"prompt": prompt, "completion": text} for prompt, text in job.train]),
            peft_config=small_parts(job) if job.rank else None,  # rank 0: all weights
            callbacks=[clock],
        )
        trainer.train()
    peak = peak_memory_bytes()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    last = losses[-max(1, job.steps // 4) :]
    trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    return Outcome(
        seconds=clock.ended - clock.started,
        peak_memory_bytes=peak,
        train_loss=sum(last) / len(last),
        held_out_loss=held_out_loss(trainer.model, trainer.processing_class, job.held_out),
        trained_parameters=trained,
    )


if __name__ == "__main__":
    answer(run)
