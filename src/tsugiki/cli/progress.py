"""What a running command says on stderr: a bar with rate and time left on a terminal, plain lines elsewhere.

Used by the commands that train. Takes the events of `work` and decides nothing. stdout is left to the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from tsugiki.cli.data import plain

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]

SECONDS_BETWEEN_LINES = 15.0  # of one trial, where nobody watches a bar
STAGES = {
    "read": "Reading the data",
    "inspect": "Looking at the base",
    "reference": "Asking the untrained base",
    "calibrate": "Measuring how fast this machine trains",
    "report": "Writing the scorecard",
}
CUTS = {
    "curve_sizes": "sizes of the learning curve",
    "curve_seeds": "seeds of the learning curve",
    "tries": "learning rates per method",
    "seeds": "seeds per method",
    "steps": "training steps",
    "methods": "methods",
}


@contextmanager
def telling() -> Iterator[OnEvent]:
    """A function that tells events, for as long as the block runs."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[rate]}"))
        with Progress(*columns, console=console, transient=True) as bars:
            yield _Bars(bars).tell
    else:
        yield _Lines(console).tell


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.task: TaskID | None = None
        self.name = ""

    def tell(self, event: Event) -> None:
        kind = event["event"]
        if kind == "step":
            self._step(event)
        elif kind in ("trial_started", "phase"):
            self.name = sentence_of(event) or self.name
            self._end()
            self.task = self.bars.add_task(plain(self.name), total=None, rate="")
        else:
            self._end()
            if text := sentence_of(event):
                self.bars.console.print(printable(text))

    def _step(self, event: Event) -> None:
        if self.task is None:
            self.task = self.bars.add_task(plain(self.name), total=event["of"], rate="")
        self.bars.update(self.task, completed=event["step"], total=event["of"], rate=rate_of(event))

    def _end(self) -> None:
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None


class _Lines:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.told = 0.0

    def tell(self, event: Event) -> None:
        if event["event"] == "step":
            if time.monotonic() - self.told < SECONDS_BETWEEN_LINES:
                return
            self._line(f"  step {event['step']} of {event['of']}, {rate_of(event)}")
        elif event["event"] != "phase" and (text := sentence_of(event)):
            self._line(text)

    def _line(self, text: str) -> None:
        self.told = time.monotonic()
        self.console.print(printable(text), soft_wrap=True)


def printable(text: str) -> Text:
    """Our own line ends stay, whatever came from a file is made safe."""
    return Text("\n".join(plain(line) for line in text.split("\n")))


def rate_of(event: Event) -> str:
    return (
        f"{event['tokens_per_second']:,.0f} tokens/s, {duration(event['seconds_left'])} left, loss {event['loss']:.3f}"
    )


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def sentence_of(event: Event) -> str:
    """One line for an event; empty where there is nothing worth a line."""
    say = SENTENCES.get(event["event"])
    return say(event) if say else ""


def _trial_ended(event: Event) -> str:
    ending = "done" if event["status"] == "done" else f"{event['status'].replace('_', ' ')}: {event['reason']}"
    return f"{_place(event)} {ending}"


def _place(event: Event) -> str:
    return f"[{event['number']}/{event['of']}] {event['trial']}"


def _schedule(event: Event) -> str:
    cost = event["cost"]
    price = f", {cost['amount']:,.4g} {cost['currency']} (prices of {cost['date']})" if cost else ""
    lines = [f"{len(event['trials'])} trials, about {event['minutes']:.0f} minutes{price}: {_parts(event['trials'])}."]
    for cut in event["cuts"]:
        names = f" (without {', '.join(cut['names'])})" if cut["names"] else ""
        change = f"{CUTS[cut['what']]} {cut['before']} → {cut['after']}{names}"
        lines.append(f"Cut to fit the budget: {change}, saves {cut['minutes']:.0f} minutes.")
    if not event["fits"]:
        lines.append(f"That is more than the {max(0, event['budget_minutes']):.0f} minutes that are left.")
    return "\n".join(lines)


def _parts(trials: Sequence[Mapping[str, Any]]) -> str:
    """What each part of the plan takes."""
    parts = {"reference": "references", "search": "rates and ranks", "curve": "learning curve", "train": "methods"}
    minutes = dict.fromkeys(parts, 0.0)
    for trial in trials:
        minutes["curve" if trial["rows"] is not None else trial["kind"]] += trial["seconds"] / 60
    return ", ".join(f"{parts[name]} {value:.0f}" for name, value in minutes.items() if value)


SENTENCES: Mapping[str, Callable[[Event], str]] = {
    "stage": lambda event: f"{STAGES[event['stage']]}.",
    "reading": lambda event: str(event["sentence"]),
    "schedule": _schedule,
    "trial_started": lambda event: f"{_place(event)}, about {duration(event['seconds'])}",
    "spare_started": lambda event: f"Time is left: {event['trial']}, about {duration(event['seconds'])}",
    "trial_ended": _trial_ended,
    "trial_kept": lambda event: f"{_place(event)} was done before",
    "phase": lambda event: f"{event.get('trial', '')} {event['phase']}".strip(),
}
