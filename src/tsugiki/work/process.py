"""One trial in one process of its own, so that its peak memory, its time and its failure are its own.

Called by `study` for every spec. Progress comes back as JSON lines; the result is the file that the trial wrote. The
child watches a pipe that only this process holds open: when this process dies, however it dies, the child ends too.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tsugiki.files import write_json
from tsugiki.work.spec import LOG, TrialSpec, read_result, result, result_path, scratch_folder, spec_path, write_result

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]

ATTEMPTS = 3  # a killed process goes on from its checkpoint; one that is killed every time has a reason
LOG_TAIL = 400  # characters of the child's last words in a reason


def run_in_process(spec: TrialSpec, folder: Path, on_event: OnEvent) -> None:
    """Run the trial to its result file. Whatever becomes of the process, there is a result afterwards."""
    write_json(spec_path(folder, spec.id), spec.model_dump(mode="json"))
    result_path(folder, spec.id).unlink(missing_ok=True)  # a failure that is tried again, or another spec's
    code, started = 0, time.monotonic()
    for _ in range(ATTEMPTS):
        code = _one_process(spec, folder, on_event)
        found = read_result(folder, spec.id)
        if found is not None and found["spec_digest"] == spec.digest:
            return
        if code >= 0:  # it ended by itself without a result: our own bug, the same the next time
            break
    write_result(folder, {**_without_result(spec, folder, code), "wall_seconds": time.monotonic() - started})
    _drop_checkpoints(spec, folder)


def _one_process(spec: TrialSpec, folder: Path, on_event: OnEvent) -> int:
    command = [sys.executable, "-m", "tsugiki.work.trial", str(spec_path(folder, spec.id)), str(folder)]
    with _log(spec, folder).open("w", encoding="utf-8") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            assert child.stdout is not None
            for line in child.stdout:
                _pass_on(line, spec, on_event)
            return child.wait()
        finally:
            _end(child)


def _pass_on(line: bytes, spec: TrialSpec, on_event: OnEvent) -> None:
    """A line that is cut off in the middle is the last sign of a killed child, no event."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    on_event({**event, "trial": spec.id})


def _end(child: subprocess.Popen[bytes]) -> None:
    """Close the pipe (which ends the child) and wait; a child that does not listen is killed."""
    assert child.stdin is not None and child.stdout is not None
    child.stdin.close()
    child.stdout.close()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _without_result(spec: TrialSpec, folder: Path, code: int) -> dict[str, Any]:
    if code == -signal.SIGKILL:
        return result(
            spec,
            "does_not_fit",
            reason=f"The process was killed {ATTEMPTS} times, as the operating system does when memory runs out.",
            fix="Close other programs and run the same command again, or start a new study with lower micro_tokens, "
            "other methods or a smaller base.",
            killed=True,
        )
    text = _log(spec, folder).read_text(encoding="utf-8", errors="replace").strip()
    ending = f"with signal {-code}" if code < 0 else f"with status {code}"
    return result(
        spec,
        "failed",
        reason=f"The process ended {ending} and left no result: {text[-LOG_TAIL:] or 'it said nothing'}",
        fix=f"Its whole output is in {_log(spec, folder).relative_to(folder).as_posix()}.",
    )


def _drop_checkpoints(spec: TrialSpec, folder: Path) -> None:
    """What the process left besides its log; it starts anew when it is started again."""
    for path in scratch_folder(folder, spec.id).iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _log(spec: TrialSpec, folder: Path) -> Path:
    return scratch_folder(folder, spec.id) / LOG
