"""What one process does: read a spec, carry it out with the engine, leave a result on disk.

Started by `process` as `python -m tsugiki.work.trial SPEC.json STUDY`. There is a result whatever happens: a failure
and a trial that does not fit into memory are results too, and the exit status is 0 when one was written. Progress goes
to stdout as JSON lines, everything else to stderr. The process ends when its parent does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from tsugiki import __version__
from tsugiki.errors import DoesNotFit, TsugikiError, out_of_memory
from tsugiki.fingerprint import machine
from tsugiki.work.spec import LOG, TrialSpec, read_spec, result, scratch_folder, write_result

Emit = Callable[[Mapping[str, Any]], None]

STARTED = time.perf_counter()
ORPHANED = 70  # exit status of a process whose parent has gone


def main(arguments: list[str]) -> int:
    spec_file, study = Path(arguments[0]), Path(arguments[1])
    end_with_parent(sys.stdin.fileno())
    emit = json_lines(_own_stdout())
    spec = read_spec(spec_file)
    found = outcome(spec, study, emit)
    write_result(study, found)
    clear_scratch(study, spec.id, keep_log=found["status"] == "failed")
    return 0


def outcome(spec: TrialSpec, study: Path, emit: Emit) -> dict[str, Any]:
    """The result of the trial; never raises but for a process that is being stopped."""
    try:
        values = _carry_out(spec, study, emit)
        return _framed(spec, "done", **values)
    except DoesNotFit as error:
        return _framed(spec, "does_not_fit", reason=error.problem, fix=error.fix)
    except TsugikiError as error:
        return _framed(spec, "failed", reason=error.problem, fix=error.fix)
    except Exception as error:
        if (unfit := out_of_memory(error)) is not None:
            return _framed(spec, "does_not_fit", reason=unfit.problem, fix=unfit.fix)
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        return _framed(spec, "failed", reason=reason, fix="This is a defect of tsugiki; please report it.")


def _carry_out(spec: TrialSpec, study: Path, emit: Emit) -> dict[str, Any]:
    if spec.kind == "inspect":
        from tsugiki.work.inspection import inspect_base as carry_out
    elif spec.kind == "calibrate":
        from tsugiki.work.calibration import calibrate as carry_out
    elif spec.kind == "reference":
        from tsugiki.work.reference import answer_untrained as carry_out
    elif spec.kind == "search":
        from tsugiki.work.fit import search_rate as carry_out
    else:
        from tsugiki.work.fit import train_and_measure as carry_out
    return carry_out(spec, study, emit)


def _framed(spec: TrialSpec, status: Any, **values: Any) -> dict[str, Any]:
    from tsugiki.engine.device import accelerator_name

    seconds = time.perf_counter() - STARTED
    return result(
        spec, status, tsugiki=__version__, machine=machine(accelerator_name()), wall_seconds=seconds, **values
    )


def clear_scratch(study: Path, trial: str, *, keep_log: bool) -> None:
    """The checkpoint has served once there is a result; the log of a failure is still wanted."""
    folder = scratch_folder(study, trial)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)
        elif not (keep_log and path.name == LOG):
            path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def json_lines(out: IO[bytes]) -> Emit:
    def emit(event: Mapping[str, Any]) -> None:
        out.write(json.dumps(event).encode() + b"\n")
        out.flush()

    return emit


def _own_stdout() -> IO[bytes]:
    """Keep stdout for events alone: whatever a library prints goes to stderr from here on."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own


def end_with_parent(pipe: int) -> None:
    """The parent holds the other end of `pipe` and never writes: end of file means that it has gone.

    Read without Python's buffer, whose lock a waiting thread would hold against the interpreter's own end.
    """

    def wait() -> None:
        os.read(pipe, 1)
        os._exit(ORPHANED)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
