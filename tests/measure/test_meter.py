"""Seconds from a clock of our own; memory from blocks of a known size."""

import numpy as np
import pytest

from tsugiki.measure import meter
from tsugiki.measure.meter import Meter

MEGA = 1024 * 1024


def ticking(*times):
    left = iter(times)
    return lambda: next(left)


def resettable():
    return meter._reset_peak()


def test_seconds_come_from_the_clock():
    found = Meter(clock=ticking(10.0, 12.5, 20.0, 21.0))
    with found.phase("load"):
        pass
    with found.phase("train"):
        pass
    assert [(name, phase.seconds) for name, phase in found.phases.items()] == [("load", 2.5), ("train", 1.0)]


@pytest.mark.skipif(not resettable(), reason="this kernel does not let a process reset its high-water mark")
def test_a_peak_belongs_to_its_phase():
    found = Meter()
    with found.phase("large"):
        block = np.ones(200 * MEGA, dtype=np.uint8)
        del block
    with found.phase("small"):
        block = np.ones(20 * MEGA, dtype=np.uint8)
        del block
    large, small = found.phases["large"], found.phases["small"]
    assert 150 * MEGA < large.peak_memory_bytes - small.peak_memory_bytes < 220 * MEGA
    assert small.memory_method == "VmHWM, reset at the start"


def test_without_a_reset_the_method_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(meter, "_CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    found = Meter()
    with found.phase("train"):
        pass
    assert found.phases["train"].memory_method.startswith("ru_maxrss")
    assert found.phases["train"].peak_memory_bytes > MEGA


def test_a_device_is_waited_for_and_asked():
    calls = []

    class Device:
        def reset_peak(self):
            calls.append("reset")

        def peak_bytes(self):
            calls.append("peak")
            return 123

        def synchronize(self):
            calls.append("wait")

    found = Meter(device=Device())
    with found.phase("train"):
        calls.append("work")
    assert calls == ["wait", "reset", "work", "wait", "peak"]
    assert (found.phases["train"].peak_memory_bytes, found.phases["train"].memory_method) == (123, "device peak")


def test_a_phase_that_raised_is_kept_and_no_phase_is_overwritten():
    found = Meter()
    with pytest.raises(MemoryError), found.phase("train"):
        raise MemoryError
    assert found.phases["train"].seconds >= 0
    with pytest.raises(ValueError, match="train"), found.phase("train"):
        pass
