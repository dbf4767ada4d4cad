import pytest

from tsugiki.errors import UsageError
from tsugiki.measure.cost import Prices, cost_of, read_prices


def test_an_hour_costs_the_hours_price_and_free_is_a_price():
    prices = Prices(currency="EUR", date="2026-01-31", source="quotation", cpu_hour=0.0, gpu_hour=3.0)
    assert cost_of(1800, machine="gpu", prices=prices) == pytest.approx(1.5)
    assert cost_of(60, machine="cpu", prices=prices) == 0.0


def test_a_machine_without_a_price_has_no_cost():
    prices = Prices(currency="EUR", date="2026-01-31", source="quotation", cpu_hour=1.0)
    assert cost_of(60, machine="gpu", prices=prices) is None


def test_the_users_table_is_read(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text("currency: EUR\ndate: 2026-10-01\nsource: quotation 17\ngpu_hour: 2.5\n", encoding="utf-8-sig")
    found = read_prices(path)
    assert (found.currency, found.date, found.gpu_hour, found.cpu_hour) == ("EUR", "2026-10-01", 2.5, None)


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
