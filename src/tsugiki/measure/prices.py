"""The price table and the business case: what a user says about money, field by field. Read by work/price_table.py.

There are no built-in prices, and nothing is looked up on a network. A machine may be paid for in several ways at once,
so that they can be compared; whatever is left out is missing, never zero.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from tsugiki.config import Knobs

Way = Literal["hour", "reserved", "on_premises"]
Paid = Literal["cheapest", "hour", "reserved", "on_premises"]
Serving = Literal["as_needed", "kept_on"]

LARGEST = 1e15  # an amount, a time or a size beyond it is a slip of the pen
MONTH_HOURS = 744.0  # of the longest month


class Amount(Knobs):
    """A number that may be off: written as a number, or as value, low and high."""

    MOST: ClassVar[float | None] = None  # largest value that makes sense; a range of our own making stops there

    value: float = Field(ge=0, le=LARGEST, description="the amount that is reckoned with")
    low: float | None = Field(None, ge=0, le=LARGEST, description="the least it may be")
    high: float | None = Field(None, ge=0, le=LARGEST, description="the most it may be")

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, given: Any) -> Any:
        return given if isinstance(given, Mapping | Amount) else {"value": given}

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Amount:
        if (self.low is None) != (self.high is None):
            raise PydanticCustomError("range", "a range needs both low and high")
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise PydanticCustomError("range", "the value of a range must lie between low and high")
        return self

    @model_serializer
    def _as_written(self) -> float | dict[str, float]:
        if self.low is None or self.high is None:
            return self.value
        return {"value": self.value, "low": self.low, "high": self.high}


class Positive(Amount):
    """An amount that something is divided by, or that makes no sense at zero."""

    value: float = Field(gt=0, le=LARGEST, description="the amount that is reckoned with")
    low: float | None = Field(None, gt=0, le=LARGEST, description="the least it may be")
    high: float | None = Field(None, gt=0, le=LARGEST, description="the most it may be")


class Share(Positive):
    MOST = 1.0

    value: float = Field(gt=0, le=1, description="the share that is reckoned with, above 0 and up to 1")
    low: float | None = Field(None, gt=0, le=1, description="the least it may be")
    high: float | None = Field(None, gt=0, le=1, description="the most it may be")


class HoursOfMonth(Positive):
    MOST = MONTH_HOURS

    value: float = Field(gt=0, le=MONTH_HOURS, description="the hours that are reckoned with")
    low: float | None = Field(None, gt=0, le=MONTH_HOURS, description="the least they may be")
    high: float | None = Field(None, gt=0, le=MONTH_HOURS, description="the most they may be")


class Reserved(Knobs):
    """A machine rented by the month."""

    month: Amount = Field(description="price of one month")
    hours: HoursOfMonth = Field(description="hours of the month in which it is used, by anything (at most 744)")


class OnPremises(Knobs):
    """A machine of one's own."""

    purchase: Amount = Field(description="purchase price with everything that belongs to it")
    years: Positive = Field(description="years over which it is written off")
    power_kw: Amount = Field(description="power in kW while it is used, cooling included")
    kwh: Amount = Field(description="price of one kWh")
    utilisation: Share = Field(description="share of all hours in which it is used, by anything (above 0, up to 1)")


class BusinessCase(Knobs):
    """What the work is worth and how the model would be used; whatever is left out is not counted, and said to be."""

    cases_per_month: Positive | None = Field(None, description="cases a month that the model would answer")
    minutes_saved: Amount | None = Field(None, description="minutes of work that one right answer saves")
    minutes_to_check: Amount | None = Field(None, description="minutes that a person looks at each answer")
    minutes_per_wrong: Amount | None = Field(None, description="minutes more that a wrong answer costs to put right")
    right_score: float = Field(
        1.0, gt=0, le=1, description="an answer counts as right from this score of the study's metric on (1: exact)"
    )
    serving: Serving = Field(
        "as_needed",
        description="as_needed: machine time is paid while it answers; kept_on: a machine stays on for this alone",
    )
    training_paid: Paid = Field(
        "cheapest", description="how machine time for training is paid: cheapest, hour, reserved or on_premises"
    )
    serving_paid: Paid = Field(
        "cheapest", description="how machine time for answering is paid: cheapest, hour, reserved or on_premises"
    )
    training_rows: int | None = Field(
        None, ge=1, le=1_000_000_000, description="examples that a training in production has; empty: as in the study"
    )
    training_steps: int | None = Field(
        None, ge=1, le=1_000_000_000, description="steps of a training in production; empty: by the study's own rule"
    )
    changes_per_year: Amount | None = Field(None, description="updates a year: a new training, checked and swapped in")
    hours_per_change: Amount | None = Field(None, description="hours of work for one update: data, checking, approval")
    setup_hours: Amount | None = Field(None, description="hours of work until it is in use, once")
    setup_cost: Amount | None = Field(None, description="other money that is spent once, such as integration")
    upkeep_month: Amount | None = Field(None, description="other running costs a month, such as licences")
    horizon_months: int = Field(12, ge=1, le=120, description="months over which value and costs are added up")


class Prices(Knobs):
    """The table; a YAML file with these keys replaces it whole."""

    currency: str = Field(description="currency of all prices, such as JPY")
    date: str = Field(description="month or day the prices are from, such as 2026-11 or 2026-11-05")
    source: str = Field(min_length=1, max_length=200, description="a quotation, a price list, an assumption")
    wage_hour: Amount | None = Field(None, description="what one hour of work costs the company")
    cpu_hour: Amount | None = Field(None, description="price of one hour of the machine without accelerator")
    cpu_reserved: Reserved | None = Field(None, description="the machine without accelerator, rented by the month")
    cpu_on_premises: OnPremises | None = Field(None, description="the machine without accelerator, bought")
    gpu_hour: Amount | None = Field(None, description="price of one hour of the machine with one accelerator")
    gpu_reserved: Reserved | None = Field(None, description="the machine with one accelerator, rented by the month")
    gpu_on_premises: OnPremises | None = Field(None, description="the machine with one accelerator, bought")
    business_case: BusinessCase | None = Field(None, description="what the work is worth and how it would be used")

    @field_validator("currency")
    @classmethod
    def _is_a_code(cls, currency: str) -> str:
        if not re.fullmatch(r"[A-Z]{3}", currency, re.ASCII):
            raise ValueError(f"currency must be three capital letters such as JPY, EUR or USD, got {currency!r}")
        return currency

    @field_validator("date")
    @classmethod
    def _is_a_date(cls, date: str) -> str:
        try:
            if not re.fullmatch(r"\d{4}-\d{2}(-\d{2})?", date, re.ASCII):
                raise ValueError(date)
            datetime.date.fromisoformat(f"{date}-01" if len(date) == 7 else date)
        except ValueError:
            raise ValueError(f"date must be a month or a day such as 2026-11 or 2026-11-05, got {date!r}") from None
        return date

    @property
    def case(self) -> BusinessCase:
        """The business case, or one in which nothing was filled in."""
        return self.business_case or BusinessCase()
