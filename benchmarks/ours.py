"""Our side of the speed measurement: `train` on a LoRA plan, as a study's trial calls it."""

from __future__ import annotations

from benchmarks.race import Job, Outcome, answer, held_out_loss, peak_memory_bytes
from tsugiki.config import PlanSpec, Recipe
from tsugiki.engine.attach import attach
from tsugiki.engine.base import BaseSpec, load_base
from tsugiki.engine.batches import encode
from tsugiki.engine.learner import Step
from tsugiki.engine.plan import make_plan
from tsugiki.engine.train import train


def run(job: Job) -> Outcome:
    recipe = Recipe(
        learning_rate=job.learning_rate,
        max_steps=job.steps,
        batch_size=job.batch_size,
        schedule="constant",
        warmup_share=0.0,
        evaluations=1,
        precision=job.precision,  # type: ignore[arg-type]
        seed=job.seed,
    )
    spec = PlanSpec(method="lora", rank=job.rank, alpha=job.alpha, dropout=job.dropout)
    base = load_base(BaseSpec(job.base, precision=recipe.precision))
    trainable = attach(base, make_plan(base.model, spec), seed=job.seed)
    train_set = encode(base.tokenizer, job.train, max_length=recipe.max_length)
    one_row = encode(base.tokenizer, job.held_out[:1], max_length=recipe.max_length)  # the other side has no dev set
    losses: list[float] = []

    def note(step: Step) -> None:
        losses.append(step.loss)

    result = train(trainable, train_set, one_row, recipe, on_step=note)
    peak = peak_memory_bytes()
    last = losses[-max(1, job.steps // 4) :]
    return Outcome(
        seconds=result.seconds,
        peak_memory_bytes=peak,
        train_loss=sum(last) / len(last),
        held_out_loss=held_out_loss(trainable.model, base.tokenizer, job.held_out),
        trained_parameters=trainable.trainable_parameters,
    )


if __name__ == "__main__":
    answer(run)
