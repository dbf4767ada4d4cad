"""Every error a user can cause. Each prints as one line: what is wrong, the value at fault, the next step.

    TsugikiError            exit status 1
    ├─ UsageError           exit status 2: the command line or a configuration file is off
    ├─ DataError            the data file cannot be read or cannot be used as it is
    ├─ BaseModelError       the base cannot be found, loaded or adapted
    ├─ PlanError            the plan does not fit this base
    ├─ AdapterError         an adapter folder is broken or belongs to another base
    ├─ TrainingError        training cannot go on
    │  └─ DoesNotFit        not enough memory; a result, not a failure, inside a study
    ├─ StudyError           a study folder is broken, locked or contradicts what was asked
    └─ RecordsError         a registry cannot be read or written, or its rules forbid what was asked
       └─ Undecided         exit status 3: a gate or a rule cannot tell, which is never a pass

Anything else that is raised is our own bug and keeps its traceback.
"""

from __future__ import annotations


class TsugikiError(Exception):
    """One clear sentence with the value at fault (`problem`) and the next step (`fix`)."""

    exit_status = 1

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem} {self.fix}"


class UsageError(TsugikiError):
    exit_status = 2


class DataError(TsugikiError):
    pass


class BaseModelError(TsugikiError):
    pass


class PlanError(TsugikiError):
    pass


class AdapterError(TsugikiError):
    pass


class TrainingError(TsugikiError):
    pass


class DoesNotFit(TrainingError):
    pass


def out_of_memory(error: BaseException) -> DoesNotFit | None:
    """What an error that says so means, whoever raised it; None for another one.

    On a GPU torch raises an error of its own, known by its name here so that torch need not be there; on a CPU it is a
    RuntimeError with these words.
    """
    known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if not known and "can't allocate memory" not in str(error):
        return None
    return DoesNotFit(
        "Out of memory.",
        fix="Close other programs or take a machine with more memory; training takes less with lower micro_tokens or "
        "max_length, a smaller rank, or lora instead of full.",
    )


class StudyError(TsugikiError):
    pass


class RecordsError(TsugikiError):
    pass


class Undecided(RecordsError):
    exit_status = 3
