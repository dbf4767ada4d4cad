"""Our held-out loss against a plain loop over peft that takes the rows in our order: `python -m benchmarks.same_order`.

The job of the speed measurement's short rows. The loop feeds one row at a time through transformers and peft, without
packing, shared inputs or anything else of ours; only the order of the rows is taken from us. Start and dropout are
drawn differently. What is left of the distance to a peer once the order is the same says whether the engine or the
order makes it. Writes benchmarks/results/same_order.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks import ours
from benchmarks.race import Job, held_out_loss
from benchmarks.speed import SETTINGS, make_job
from tsugiki.engine.base import BaseSpec, load_tokenizer
from tsugiki.engine.batches import batch_order, encode
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions

RESULT = Path(__file__).resolve().parent / "results" / "same_order.json"
IGNORED = -100


def plain_loop(job: Job) -> float:
    """Held-out loss after the job, by peft alone."""
    torch.manual_seed(job.seed)
    tokenizer = load_tokenizer(BaseSpec(job.base))
    rows = encode(tokenizer, job.train, max_length=512)
    base = AutoModelForCausalLM.from_pretrained(job.base, dtype=torch.float32)
    config = LoraConfig(r=job.rank, lora_alpha=job.alpha, lora_dropout=job.dropout, target_modules="all-linear")
    model = get_peft_model(base, config).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job.learning_rate, weight_decay=0.0)
    order = batch_order(rows, batch_size=job.batch_size, seed=job.seed)
    for _ in range(job.steps):
        batch = next(order)
        labelled = sum(len(rows.completions[row]) for row in batch)
        for row in batch:
            prompt, completion = rows.prompts[row], rows.completions[row]
            logits_TV = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0, :-1].float()
            labels_T = torch.tensor([*[IGNORED] * (len(prompt) - 1), *completion])
            loss = torch.nn.functional.cross_entropy(logits_TV, labels_T, ignore_index=IGNORED, reduction="sum")
            (loss / labelled).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return held_out_loss(model, tokenizer, job.held_out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Held-out loss, ours and a plain peft loop in our order of rows.")
    parser.add_argument("--setting", default="float32, short rows", choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    job = make_job(SETTINGS[arguments.setting])
    each = []
    for seed in range(arguments.seeds):
        turn = replace(job, seed=seed)
        each.append({"seed": seed, "ours": ours.run(turn).held_out_loss, "plain": plain_loop(turn)})
        print(f"seed {seed}: ours {each[-1]['ours']:.3f}, plain peft {each[-1]['plain']:.3f}", flush=True)
        widest = max(abs(one["ours"] - one["plain"]) for one in each)
        versions = package_versions(("torch", "transformers", "peft"))
        about = {"packages": versions, "machine": machine()}
        write_json(arguments.out, {"setting": arguments.setting, "widest_gap": widest, "each": each, **about})
    print(f"widest gap {widest:.3f} nats")


if __name__ == "__main__":
    main()
