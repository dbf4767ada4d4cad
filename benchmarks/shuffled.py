"""What real studies say about data without signal: `python -m benchmarks.shuffled`.

The answers of a real task are dealt anew among its prompts, so that a real base, really trained, can learn nothing but
how often each answer occurs. Every gate but the comparison with the references is opened wide, since that is the one
which has to hold; "adopt" would be false. The twin with simulated training and hundreds of studies is
benchmarks/false_verdicts.py. A study that was broken off goes on. Writes benchmarks/results/shuffled.json and exits 1
when a study says "adopt".
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.tasks import BASES, TASKS, write_task
from tsugiki.config import Criteria, Design, Intake, Recipe
from tsugiki.files import write_json
from tsugiki.fingerprint import machine, package_versions
from tsugiki.work.prepare import DataSpec
from tsugiki.work.study import Study, run_study

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "shuffled.json"
FOLDER = ROOT / ".data" / "shuffled"
CLASSES = 4
OPEN = Criteria(success=0.01, withdraw=0.0, margin_points=100.0, retention_loss=100.0)
DESIGN = Design(methods=("lora", "full"), seeds=3, curve_sizes=0, tries=1, budget_minutes=600.0, test_share=0.4)
# Looked at often and given up soon: where there is nothing to learn, the rest of the steps would be waste.
RECIPE = Recipe(batch_size=4, evaluations=20, patience=1)


def deal_anew(path: Path, count: int, seed: int) -> None:
    """Permute the answers of a task file; a row keeps its prompt and its group.

    Only rows of the CLASSES most frequent answers, `count` of them: where guessing is right a quarter of the time, a
    method that has learned how often each answer occurs is far above the base, and must not be above the majority.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    frequent = Counter(row["completion"] for row in rows).most_common(CLASSES)
    rows = [row for row in rows if row["completion"] in dict(frequent)][:count]
    answers = [row["completion"] for row in rows]
    random.Random(seed).shuffle(answers)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "completion": answer} for row, answer in zip(rows, answers, strict=True))


def judge(task: str, rows: int, seed: int) -> dict[str, Any]:
    data = FOLDER / f"{task}-{CLASSES}-{rows}-{seed}.csv"
    write_task(task, data)
    deal_anew(data, rows, seed)
    intake = Intake(purpose="Answers dealt at random.", owner="A", reviewer="B", criteria=OPEN, language="en")
    study = Study(DataSpec(data), BASES[task[0]], intake, DESIGN, recipe=RECIPE, template="plain")
    card = run_study(study, data.with_suffix(""), lambda _: None).scorecard
    verdict, sides = card["verdict"], [*card["methods"], *card["reference"]]
    return {"task": task, "dealing": seed, "base": study.base, "verdict": verdict["value"], "rule": verdict["rule"],
            "candidate": verdict["method"],
            "quality": {one["name"]: one["quality"]["estimate"] for one in sides if one["quality"]},
            "seeds": {one["name"]: len(one["seeds"]) for one in card["methods"]}}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Verdicts of real studies of answers that were dealt at random.")
    parser.add_argument("--task", default="E1", choices=TASKS)
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--studies", type=int, default=3, help="each with a dealing of its own")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    studies = []
    for seed in range(1, arguments.studies + 1):
        studies.append(judge(arguments.task, arguments.rows, seed))
        print(studies[-1], flush=True)
        settings = {"rows": arguments.rows, "criteria": OPEN.model_dump(mode="json")}
        versions = package_versions(("torch", "transformers"))
        write_json(arguments.out, {"studies": studies, "settings": settings, "packages": versions,
                                   "machine": machine()})  # fmt: skip
    return 1 if any(one["verdict"] == "adopt" for one in studies) else 0


if __name__ == "__main__":
    sys.exit(main())
