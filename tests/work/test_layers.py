"""The hybrid planner: candidates, front and proposal alone; then from the command line with a real small model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.test_poc import tsugiki
from tests.work.fakes import write_data
from tsugiki.config import PlanSpec
from tsugiki.engine.base import BaseSpec, load_base
from tsugiki.work.choose import good_enough
from tsugiki.work.layers import candidates, on_front, proposed


def tried(megabytes: float, loss: float | None) -> dict[str, Any]:
    return {"megabytes": megabytes, "dev_loss": loss, "row_losses": [loss] * 4}


def test_hybrids_double_their_best_blocks_between_lora_and_full():
    found = candidates(PlanSpec(rank=8, dora=True), [2, 0, 3, 1, 4])
    assert [(plan.method, blocks) for plan, blocks in found] == [
        ("lora", ()), ("hybrid", (2,)), ("hybrid", (0, 2)), ("hybrid", (0, 1, 2, 3)), ("full", (0, 1, 2, 3, 4)),
    ]  # fmt: skip
    assert all(plan.rank == 8 and plan.dora for plan, _ in found[:-1]) and found[1][0].full_layers == ("2",)


def test_the_front_holds_what_nothing_smaller_equals():
    tries = [tried(1, 2.0), tried(2, 2.0), tried(3, 1.5), tried(4, None), tried(5, 1.6)]
    assert [on_front(one, tries) for one in tries] == [True, False, True, False, False]
    assert [on_front(one, tries[:1] * 2) for one in tries[:1] * 2] == [True, True]


def test_full_weights_are_proposed_only_where_lora_is_short():
    assert proposed([tried(1, 1.009), tried(2, 1.0)]) == 0
    assert proposed([tried(1, 1.02), tried(2, 1.005), tried(9, 1.0)]) == 1
    assert proposed([tried(1, None), tried(9, 1.0)]) == 1


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_data(tmp_path / "reports.csv", rows=60)
    return tmp_path


def test_a_block_out_of_tune_comes_first_and_the_table_says_what_it_buys(place: Path, tiny_llama: Path):
    base = load_base(BaseSpec(str(tiny_llama), precision="float32", device="cpu"))
    with torch.no_grad():
        base.model.model.layers[0].mlp.down_proj.weight.mul_(1e-3)
    base.model.save_pretrained(place / "odd")
    base.tokenizer.save_pretrained(place / "odd")
    command = ("layers", "reports.csv", "--base", place / "odd", "--max-steps", "20", "--precision", "float32")
    ran = tsugiki(*command, "--json", folder=place)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["ranked"] == [0, 1] and found["scores"]["0"] > found["scores"]["1"]
    assert [one["method"] for one in found["tries"]] == ["lora", "hybrid", "full"]
    sizes = [one["megabytes"] for one in found["tries"]]
    assert sizes == sorted(sizes) and found["tries"][1]["blocks"] == [0]
    assert all(one["dev_loss"] is not None for one in found["tries"]) and any(one["on_front"] for one in found["tries"])
    best = min(one["dev_loss"] for one in found["tries"])
    assert found["proposed"] in good_enough(found["tries"]) and found["tries"][found["proposed"]]["dev_loss"] >= best
    shown = tsugiki(*command, folder=place).stdout
    assert "hybrid, 1 block in full" in shown and "MB trained" in shown
    assert not list(place.glob(".*")), "nothing is kept"


def test_what_cannot_be_planned_is_refused(place: Path, tiny_llama: Path):
    command = ("layers", "reports.csv", "--base", tiny_llama)
    for options, message in (
        (("--rank", "auto"), "Plans are compared at one rank. Give a number"),
        (("--quantize", "int8"), "Weights of a base in int8 cannot be trained in full."),
    ):
        ran = tsugiki(*command, *options, folder=place)
        assert ran.returncode == 2 and message in ran.stderr and ran.stderr.count("\n") == 1
