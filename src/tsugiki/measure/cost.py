"""What machine time costs, from a small dated price table that the user owns.

Called by work/. The built-in prices are assumptions, marked as such wherever they are shown; nothing is looked up on a
network. A machine without a price has no cost, and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from tsugiki.config import Knobs, parse
from tsugiki.errors import UsageError

Machine = Literal["cpu", "gpu"]


class Prices(Knobs):
    """The table; a YAML file with these keys replaces it whole."""

    currency: str = Field(min_length=1, max_length=8, description="currency of all prices, such as JPY")
    date: str = Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$", description="month or day the prices are from")
    source: str = Field(min_length=1, max_length=200, description="a quotation, a price list, an assumption")
    cpu_hour: float | None = Field(None, ge=0, description="price of one hour of the machine without accelerator")
    gpu_hour: float | None = Field(None, ge=0, description="price of one hour of the machine with one accelerator")


# Round figures of the right order for a rented small server and a rented data-centre GPU; not anyone's offer.
ASSUMED = Prices(currency="JPY", date="2026-11", source="user assumption", cpu_hour=20.0, gpu_hour=500.0)


@dataclass(frozen=True)
class Cost:
    """`amount` is None where there is no price, and `reason` says which is missing."""

    amount: float | None
    currency: str
    seconds: float
    hour_price: float | None
    source: str
    date: str
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        return vars(self).copy()


def read_prices(path: Path | None) -> Prices:
    """The user's table, or the assumed one without a file."""
    if path is None:
        return ASSUMED
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"There is no price table {path}.", fix="Check the path, or leave it out.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"The price table {path} cannot be read: {str(error).splitlines()[0]}.",
            fix="It must be a YAML file in UTF-8.",
        ) from None
    if not isinstance(values, Mapping):
        raise UsageError(f"The price table {path} holds no keys.", fix=f"Write {', '.join(Prices.model_fields)}.")
    return parse(Prices, {**values, "date": str(values.get("date", ""))}, source=str(path))


def cost_of(seconds: float, *, machine: Machine, prices: Prices) -> Cost:
    """Cost of this much time on one machine: of a training, or of the whole study."""
    price = prices.gpu_hour if machine == "gpu" else prices.cpu_hour
    amount = None if price is None else seconds / 3600 * price
    reason = None if price is not None else f"no_price_for_{machine}"
    return Cost(amount, prices.currency, seconds, price, prices.source, prices.date, reason)
