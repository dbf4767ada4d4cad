"""What machine time costs, from a small dated price table that the user owns.

Called by work/. There are no built-in prices, and nothing is looked up on a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

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


def read_prices(path: Path) -> Prices:
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


def cost_of(seconds: float, *, machine: Machine, prices: Prices) -> float | None:
    """Of this much time on one machine, in the currency of the table; None where the machine has no price."""
    price = prices.gpu_hour if machine == "gpu" else prices.cpu_hour
    return None if price is None else seconds / 3600 * price
