"""Seconds and peak memory of each phase of a trial, of this process alone.

Called by work/trial.py. On Linux the kernel's own high-water mark of resident memory (VmHWM) is reset at the start of
each phase, so that a peak belongs to its phase; where it may not be reset, the process's peak so far is given and the
phase says so. A device's peak comes from callables of the caller, who alone has imported torch.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # Linux: set VmHWM to the resident size of now


class Device(Protocol):
    """What a trial on an accelerator hands in, for instance around torch.cuda's peak counters."""

    def reset_peak(self) -> None: ...

    def peak_bytes(self) -> int: ...

    def synchronize(self) -> None: ...


@dataclass(frozen=True)
class Phase:
    """`memory_method`: device peak · VmHWM, reset at the start · ru_maxrss, peak of the process so far."""

    name: str
    seconds: float
    peak_memory_bytes: int
    memory_method: str


@dataclass
class Meter:
    """Phases in the order they ended; a phase that raised is kept too, because its memory is why it did."""

    device: Device | None = None
    clock: Callable[[], float] = time.perf_counter
    phases: dict[str, Phase] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Phases must not nest: the high-water mark is one per process."""
        if name in self.phases:
            raise ValueError(f"the phase {name} was measured already")
        resettable = self.device is None and _reset_peak()
        if self.device is not None:
            self.device.synchronize()
            self.device.reset_peak()
        start = self.clock()
        try:
            yield
        finally:
            if self.device is not None:
                self.device.synchronize()
            seconds = self.clock() - start
            peak, method = self._peak(resettable)
            self.phases[name] = Phase(name, seconds, peak, method)

    def _peak(self, resettable: bool) -> tuple[int, str]:
        if self.device is not None:
            return self.device.peak_bytes(), "device peak"
        if resettable and (peak := _high_water_mark()) is not None:
            return peak, "VmHWM, reset at the start"
        return _peak_so_far(), "ru_maxrss, peak of the process so far"


def _reset_peak() -> bool:
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:  # not Linux, or a container that forbids it
        return False
    return True


def _high_water_mark() -> int | None:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _peak_so_far() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
