import pytest

from tsugiki.errors import UsageError
from tsugiki.measure.cost import ASSUMED, Prices, cost_of, read_prices


def test_an_hour_costs_the_hours_price():
    found = cost_of(1800, machine="gpu", prices=ASSUMED)
    assert found.amount == pytest.approx(ASSUMED.gpu_hour / 2)
    assert found.as_json()["source"] == "user assumption"
    assert found.as_json()["date"] == "2026-11"
    assert cost_of(3600, machine="cpu", prices=ASSUMED).amount == pytest.approx(ASSUMED.cpu_hour)


def test_without_a_price_there_is_no_cost_but_a_reason():
    prices = Prices(currency="EUR", date="2026-01-31", source="quotation", cpu_hour=0.0)
    assert (cost_of(60, machine="gpu", prices=prices).amount, cost_of(60, machine="gpu", prices=prices).reason) == (
        None,
        "no_price_for_gpu",
    )
    free = cost_of(60, machine="cpu", prices=prices)
    assert (free.amount, free.reason) == (0.0, None)  # free is a price


def test_the_users_table_replaces_the_assumed_one(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("currency: EUR\ndate: 2026-10-01\nsource: quotation 17\ngpu_hour: 2.5\n", encoding="utf-8-sig")
    found = read_prices(path)
    assert (found.currency, found.date, found.gpu_hour, found.cpu_hour) == ("EUR", "2026-10-01", 2.5, None)
    assert read_prices(None) is ASSUMED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("currency: EUR\ndate: 2026-10\nsource: x\ngpu_hour: -1\n", "gpu_hour"),
        ("currency: EUR\nsource: x\n", "date"),
        ("currency: EUR\ndate: 2026-10\nsource: x\nprice: 1\n", "price is not a known key"),
        ("- 1\n", "holds no keys"),
        ("", "holds no keys"),
        ("a: [1\n", "cannot be read"),
    ],
)
def test_a_broken_table_is_named(tmp_path, text, message):
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_prices(path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UsageError, match="no price table"):
        read_prices(tmp_path / "none.yaml")
