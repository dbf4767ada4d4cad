from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from tsugiki.cli import progress
from tsugiki.cli.progress import _Bars, _Lines, duration, sentence_of

STEP = {"event": "step", "step": 3, "of": 10, "loss": 0.5, "tokens_per_second": 1234.5, "seconds_left": 65.2}
CUT = {"what": "seeds", "before": 3, "after": 1, "minutes": 12.3, "names": ()}
TRIALS = [
    {"kind": "reference", "rows": None, "seconds": 240.0},
    {"kind": "search", "rows": None, "seconds": 60.0}, {"kind": "train", "rows": 10, "seconds": 130.0},
    {"kind": "train", "rows": None, "seconds": 272.0},
]  # fmt: skip
COST = {"amount": 1234.5, "currency": "JPY", "date": "2026-11"}
SCHEDULE = {
    "event": "schedule", "trials": TRIALS, "cost": None, "minutes": 7.7, "budget_minutes": 8.0, "fits": True,
    "cuts": [CUT, {**CUT, "what": "methods", "before": 4, "after": 2, "names": ("hybrid", "adapter")}],
}  # fmt: skip
PLACE = {"trial": "lora-s0", "number": 2, "of": 9}


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ({"event": "stage", "stage": "inspect"}, "Looking at the base."),
        ({"event": "trial_started", **PLACE, "seconds": 75.4}, "[2/9] lora-s0, about 1:15"),
        ({"event": "trial_ended", **PLACE, "status": "done", "reason": None}, "[2/9] lora-s0 done"),
        (
            {"event": "trial_ended", **PLACE, "status": "does_not_fit", "reason": "Out of memory."},
            "[2/9] lora-s0 does not fit: Out of memory.",
        ),
        ({"event": "trial_kept", **PLACE}, "[2/9] lora-s0 was done before"),
        ({"event": "something new"}, ""),
        (
            SCHEDULE,
            "4 trials, about 8 minutes: references 4, rates and ranks 1, learning curve 2, methods 5.\n"
            "Cut to fit the budget: seeds per method 3 → 1, saves 12 minutes.\n"
            "Cut to fit the budget: methods 4 → 2 (without hybrid, adapter), saves 12 minutes.",
        ),
        (
            {**SCHEDULE, "cuts": [], "cost": COST},
            "4 trials, about 8 minutes, 1,234 JPY (prices of 2026-11): "
            "references 4, rates and ranks 1, learning curve 2, methods 5.",
        ),
    ],
)
def test_sentences(event: dict[str, Any], sentence: str):
    assert sentence_of(event) == sentence


def test_a_study_that_cannot_fit_says_so():
    assert "more than the 8 minutes" in sentence_of({**SCHEDULE, "cuts": [], "fits": False})


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.6, 3600)] == ["0:00", "1:00", "60:00"]


def test_lines_for_a_log_come_with_rate_and_time_left_but_not_for_every_step(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    lines = _Lines(Console(file=out, width=40))
    lines.tell({"event": "trial_started", **PLACE, "seconds": 75.4})
    for _ in range(40):
        now[0] += 1
        lines.tell(STEP)
    said = out.getvalue().splitlines()
    assert said[0] == "[2/9] lora-s0, about 1:15"
    assert said[1:] == ["  step 3 of 10, 1,234 tokens/s, 1:05 left, loss 0.500"] * 2


def test_nothing_from_a_file_reaches_the_terminal_raw():
    out = io.StringIO()
    _Lines(Console(file=out)).tell({"event": "reading", "sentence": "column '\x1b[31mred'"})
    assert "\x1b" not in out.getvalue() and "red" in out.getvalue()


def test_the_bar_of_a_trial_goes_when_the_trial_ends():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with Progress(console=console) as bars:
        shown = _Bars(bars)
        shown.tell({"event": "trial_started", **PLACE, "seconds": 75.4})
        shown.tell(STEP)
        (task,) = bars.tasks
        assert (task.completed, task.total) == (3, 10) and "1:05 left" in task.fields["rate"]
        shown.tell({"event": "trial_ended", **PLACE, "status": "done", "reason": None})
        assert not bars.tasks
    assert "lora-s0 done" in out.getvalue()
