import pytest

from tsugiki.measure.latency import measure_latency


def test_medians_of_the_runs_after_the_warm_up():
    runs = iter([[9.0, 99.0], [0.1, 0.2, 0.3], [0.2, 0.4, 0.6], [0.3, 0.6, 0.9]])
    found = measure_latency(lambda: next(runs), batch=16, repeats=3)
    assert found.first_token_ms == pytest.approx(200)
    assert found.per_token_ms == pytest.approx(200)
    assert (found.batch, found.repeats) == (16, 3)


@pytest.mark.parametrize(("times", "first", "between"), [([], None, None), ([0.5], 500.0, None)])
def test_what_was_not_generated_is_none_and_not_zero(times, first, between):
    found = measure_latency(lambda: times, batch=1)
    assert (found.first_token_ms, found.per_token_ms) == (first, between)


def test_json_is_the_contracts_entry():
    found = measure_latency(lambda: [0.1, 0.2], batch=1).as_json("merged")
    assert set(found) >= {"batch", "weights", "first_token_ms", "per_token_ms"}
    assert found["weights"] == "merged"
