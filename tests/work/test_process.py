"""The process around a trial: its result, its events, and what becomes of it when it or its parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.work.fakes import write_data
from tests.work.test_trial import spec_of
from tsugiki.config import PlanSpec
from tsugiki.work import process
from tsugiki.work.examples import write_examples
from tsugiki.work.prepare import ALL, DataSpec, read_source
from tsugiki.work.process import run_in_process
from tsugiki.work.spec import TrialSpec, is_finished, read_result, result, result_path, scratch_folder, write_result

STUB = """
import json, os, signal, sys, time
from pathlib import Path
from tsugiki.work.spec import read_spec, result, write_result
spec, study = read_spec(Path(sys.argv[1])), Path(sys.argv[2])
{body}
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let another program stand in for `python -m tsugiki.work.trial`."""

    def install(body: str) -> None:
        script = tmp_path / "stub.py"
        script.write_text(STUB.format(body=body), encoding="utf-8")
        real = subprocess.Popen

        def start(command: list[str], **rest: Any) -> Any:
            return real([sys.executable, str(script), *command[3:]], **rest)

        monkeypatch.setattr(process.subprocess, "Popen", start)

    return install


@pytest.fixture
def spec(tmp_path: Path) -> TrialSpec:
    return spec_of(tmp_path / "base", kind="train", id="lora-s0", plans=(PlanSpec(),))


def run(spec: TrialSpec, folder: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    events: list[Mapping[str, Any]] = []
    run_in_process(spec, folder, events.append)
    found = read_result(folder, spec.id)
    assert found is not None
    return found, events


def test_a_real_trial_tells_events_and_leaves_its_result(tmp_path: Path, tiny_llama: Path):
    source = read_source(DataSpec(write_data(tmp_path / "reports.csv", rows=5)))
    write_examples(tmp_path / ALL, source.examples)
    found, events = run(spec_of(tiny_llama, kind="inspect", id="inspection", train=ALL), tmp_path)
    assert found["status"] == "done" and len(found["lengths"]) == 5
    assert {"event": "phase", "phase": "load", "trial": "inspection"} in events
    assert not scratch_folder(tmp_path, "inspection").exists()


def test_a_trial_without_a_result_is_a_failure_with_its_last_words(tmp_path: Path, spec: TrialSpec, stub: Any):
    stub("sys.stderr.write('the disk is on fire'); sys.exit(5)")
    found, _ = run(spec, tmp_path)
    assert (found["status"], found["spec_digest"]) == ("failed", spec.digest)
    assert "with status 5" in found["reason"] and "the disk is on fire" in found["reason"]
    assert (tmp_path / "work" / "lora-s0" / "log.txt").read_text() == "the disk is on fire"
    assert "work/lora-s0/log.txt" in found["fix"]


def test_a_killed_trial_is_started_again(tmp_path: Path, spec: TrialSpec, stub: Any):
    stub(
        "mark = study / 'mark'\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_result(study, result(spec, 'done', second=True))"
    )
    found, _ = run(spec, tmp_path)
    assert found["status"] == "done" and found["second"]


def test_a_trial_that_is_killed_every_time_does_not_go_on_for_ever(tmp_path: Path, spec: TrialSpec, stub: Any):
    stub("open(study / 'starts', 'a').write('x'); os.kill(os.getpid(), signal.SIGKILL)")
    found, _ = run(spec, tmp_path)
    assert found["status"] == "does_not_fit" and "killed 3 times" in found["reason"]
    assert (tmp_path / "starts").read_text() == "xxx"
    assert found["wall_seconds"] > 0 and "run the same command again" in found["fix"]
    assert not is_finished(tmp_path, spec)  # other programs may have been closed since
    write_result(tmp_path, result(spec, "does_not_fit", reason="The estimate says so."))
    assert is_finished(tmp_path, spec)


def test_an_older_result_does_not_stand_for_this_one(tmp_path: Path, spec: TrialSpec, stub: Any):
    write_result(tmp_path, result(spec, "failed", reason="earlier"))
    stub("sys.exit(1)")
    found, _ = run(spec, tmp_path)
    assert found["status"] == "failed" and "with status 1" in found["reason"]


def test_half_a_line_of_progress_is_no_event(tmp_path: Path, spec: TrialSpec, stub: Any):
    stub(
        "write_result(study, result(spec, 'done'))\n"
        "print(json.dumps({'event': 'step', 'step': 1})); print('{\"event\": \"st', end='')"
    )
    _, events = run(spec, tmp_path)
    assert events == [{"event": "step", "step": 1, "trial": "lora-s0"}]


def test_an_interruption_ends_the_trial_too(tmp_path: Path, spec: TrialSpec, stub: Any):
    stub(
        "from tsugiki.work.trial import end_with_parent\n"
        "end_with_parent(0); (study / 'pid').write_text(str(os.getpid()))\n"
        'print(\'{"event": "up"}\', flush=True); time.sleep(60)'
    )

    def interrupt(event: Mapping[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(spec, tmp_path, interrupt)
    assert not alive(int((tmp_path / "pid").read_text()))
    assert not result_path(tmp_path, spec.id).exists()


def test_a_trial_ends_when_its_parent_is_killed(tmp_path: Path, spec: TrialSpec):
    """The parent dies by SIGKILL and can tell nobody; the open pipe does."""
    child = (
        "import os, sys, time; from tsugiki.work.trial import end_with_parent\n"
        "end_with_parent(0); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent, child], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline())
        assert alive(pid)
        os.kill(started.pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    """A zombie waits for nobody and does nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
