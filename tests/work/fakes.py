"""A stand-in for the processes of a study: results of the right shape at once, from rules instead of a model.

`FakeTrials` is passed to run_study as `run_trial`. LoRA and full answer nine of ten right, the others half, the base
nothing; the number that is right grows with the training rows. Shifted rows are answered by shares of their own.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsugiki.config import Criteria, Design, Intake, Recipe
from tsugiki.data.shapes import Example
from tsugiki.fingerprint import digest_file
from tsugiki.work.examples import read_examples
from tsugiki.work.prepare import DataSpec
from tsugiki.work.spec import TrialSpec, result, write_result
from tsugiki.work.study import Study

PARTS = {"pump": "P", "valve": "V", "bearing": "B", "motor": "M", "sensor": "S", "relay": "R"}
SKILL = {"lora": 0.9, "full": 0.9, "adapter": 0.5, "hybrid": 0.5}
UNTRAINED = {"base": 0.0, "k-shot": 0.1}
MACHINE = {
    "cpu": "one", "cores": 2, "memory_bytes": 8_000_000_000, "accelerator": None, "fingerprint": "sha256:11",
    "packages": {"torch": "2.13.0"},
}  # fmt: skip
IDENTITY = {
    "name": "tiny", "digest": "sha256:aa", "weights_digest": "sha256:bb", "config_digest": "sha256:cc",
    "tokenizer_digest": "sha256:dd", "template_digest": None, "architecture": "Llama", "parameters": 1000,
}  # fmt: skip
COST = {"plan": 0.1, "attach": 0.1, "step": 0.1, "checkpoint": 0.1, "keep_best": 0.1}


def write_data(path: Path, rows: int = 100) -> Path:
    chooser = random.Random(0)
    texts: dict[str, str] = {}
    while len(texts) < rows:
        part = chooser.choice(sorted(PARTS))
        texts[f"{part} no. {chooser.randrange(10**6)} {chooser.choice(['worn', 'broken', 'loose'])}"] = PARTS[part]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("prompt", "completion"))
        writer.writerows((f"Report: {text}\nClass: ", label) for text, label in texts.items())
    return path


def make_study(data: Path, *, base: str = "tiny", language: Any = "en", **design: Any) -> Study:
    criteria = Criteria(success=0.5, withdraw=0.2)
    intake = Intake(purpose="sort reports", owner="A", reviewer="B", criteria=criteria, language=language)
    knobs = {"seeds": 3, "curve_sizes": 2, "tries": 2, "budget_minutes": 10_000.0, **design}
    return Study(
        data=DataSpec(data), base=base, intake=intake, design=Design(**knobs), recipe=Recipe(precision="float32")
    )


@dataclass
class FakeTrials:
    """`ran` lists the ids in order; `before` is called with each spec and may raise or write another result."""

    ran: list[str] = field(default_factory=list)
    before: Callable[[TrialSpec, Path], Mapping[str, Any] | None] = lambda spec, folder: None
    identity: Mapping[str, Any] = field(default_factory=lambda: IDENTITY)
    seconds: float = 10.0
    calibration: Mapping[str, Any] = field(default_factory=dict)
    on_shift: Mapping[str, float] = field(default_factory=lambda: {**SKILL, "base": 0.0})

    def __call__(self, spec: TrialSpec, folder: Path, on_event: Callable[[Mapping[str, Any]], None]) -> None:
        self.ran.append(spec.id)
        values = self.before(spec, folder)
        if values is None:
            values = {"status": "done", **getattr(self, f"_{spec.kind}")(spec, folder)}
        frame = {"machine": MACHINE, "tsugiki": "0.1.0", "wall_seconds": self.seconds}
        write_result(folder, {**result(spec, "done"), **frame, **values})

    def answers(self, name: str, spec: TrialSpec, test: tuple[Example, ...], rows: int = 0) -> dict[str, Any]:
        """What the method or reference `name` answers to the test items, after training on `rows`."""
        return answered(test, SKILL[name] * rows / (rows + 10) if name in SKILL else UNTRAINED[name])

    def _inspect(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        lengths = [[8, 2] for _ in read_examples(folder / spec.train)]
        return {"identity": dict(self.identity), "dtype": "float32", "lengths": lengths, "capacity": 100}

    def _calibrate(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        unfit = self.calibration.get("does_not_fit", {})
        methods = {plan.method: COST for plan in spec.plans if plan.method not in unfit}
        shared = {"dev_loss": 1.0, "latency": 4.0, "inside": 5.0}
        return {**shared, "methods": methods, "does_not_fit": {}, **self.calibration}

    def _reference(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        test = read_examples(folder / spec.test)
        return {
            "references": {name: self.answers(name, spec, test) for name in ("base", "k-shot")},
            "test_digest": digest_file(folder / spec.test),
            "seconds": {"base": 4.0, "k-shot": 6.0, "retention": 1.0, **({"shifted": 2.0} if spec.shift else {})},
            "shots": [],
            "general": {"en": 3.0, "ja": 4.0},
            **self._shifted(spec, folder, "base"),
        }

    def _shifted(self, spec: TrialSpec, folder: Path, name: str) -> dict[str, Any]:
        if spec.shift is None:
            return {}
        answers = answered(read_examples(folder / spec.shift), self.on_shift[name])
        return {"shifted": {**answers, "digest": digest_file(folder / spec.shift)}}

    def _search(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        tries = [{"learning_rate": rate, "dev_loss": 1 / (1 + place)} for place, rate in enumerate(spec.learning_rates)]
        ranks = [{"rank": rank, "dev_loss": 0.3 if rank >= 2 else 0.5} for rank in reversed(spec.ranks)]
        best = tries[-1]
        return {"learning_rate": best["learning_rate"], "dev_loss": best["dev_loss"], "tries": tries,
                "rank_losses": ranks or None}  # fmt: skip

    def _train(self, spec: TrialSpec, folder: Path) -> dict[str, Any]:
        test, rows = read_examples(folder / spec.test), len(read_examples(folder / spec.train))
        merged = [] if spec.plan.method == "adapter" else ["merged"]
        return {
            "method": spec.plan.method,
            "seed": spec.recipe.seed,
            "rows": rows,
            "test_digest": digest_file(folder / spec.test),
            "plan": {"describe": f"a {spec.plan.method} plan", "spec": spec.plan.model_dump(mode="json")},
            "trainable_parameters": 10,
            "trainable_share": 0.01,
            "training": {
                "steps": spec.recipe.max_steps, "tokens": 1000, "seconds": 20.0, "tokens_per_second": 50.0,
                "best_step": 3, "best_dev_loss": 0.5, "history": [], "stopped_early": False,
            },
            "dev_loss": 0.5 if spec.plan.method == "lora" else 0.6,
            "adapter": f"adapters/{spec.id}",
            "adapter_bytes": 1000,
            "memory": {"train_bytes": 2000, "inference_bytes": 1500, "method": "VmHWM, reset at the start"},
            "answer_seconds": 4.0,
            **self.answers(spec.plan.method, spec, test, rows),
            **self._shifted(spec, folder, spec.plan.method),
            **({"general": {"en": 3.01, "ja": 4.01}} if "retention" in spec.measurements else {}),
            **(
                {
                    "latency": [
                        {"batch": 1, "weights": weights, "first_token_ms": 9.0, "per_token_ms": 3.0, "repeats": 3}
                        for weights in ("unmerged", *merged)
                    ],
                    "change": {"load_ms": 5.0, "swap_ms": 2.0, "rollback_ms": 1.0},
                }
                if "latency" in spec.measurements
                else {}
            ),
        }  # fmt: skip


def answered(test: tuple[Example, ...], share: float) -> dict[str, Any]:
    """The first `share` of the test items right, the others wrong."""
    right = round(share * len(test))
    answers = [example.completion if place < right else "?" for place, example in enumerate(test)]
    return {
        "predictions": [
            {"row": example.row, "expected": example.completion, "predicted": answer}
            for example, answer in zip(test, answers, strict=True)
        ],
        "scores": {},
        "facts": {"n": len(test), "numbers_wrong": 0, "units_wrong": 0, "negation_wrong": 0},
    }
