"""The error tree: every user error is one sentence with its next step, and its exit status is part of the contract."""

from __future__ import annotations

import inspect
import re

import pytest

from tsugiki import errors
from tsugiki.errors import DataError, DoesNotFit, TrainingError, TsugikiError, Undecided, UsageError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TsugikiError)]


def test_an_error_reads_as_problem_then_next_step() -> None:
    error = DataError("The file sales.csv has no rows.", fix="Give a file with at least 20 examples.")
    assert error.problem == "The file sales.csv has no rows."
    assert error.fix == "Give a file with at least 20 examples."
    assert str(error) == "The file sales.csv has no rows. Give a file with at least 20 examples."


def test_the_next_step_cannot_be_left_out() -> None:
    with pytest.raises(TypeError, match="fix"):
        DataError("The file sales.csv has no rows.")  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_exit_status_is_two_for_wrong_usage_three_for_undecided_and_one_for_all_else(kind: type[TsugikiError]) -> None:
    assert kind.exit_status == {UsageError: 2, Undecided: 3}.get(kind, 1)


def test_not_fitting_is_a_kind_of_training_error() -> None:
    assert issubclass(DoesNotFit, TrainingError)


def test_the_drawing_shows_every_class_of_the_tree() -> None:
    drawn = set(re.findall(r"[├└]─ (\w+)", errors.__doc__ or "")) | {"TsugikiError"}
    assert drawn == {kind.__name__ for kind in TREE}
