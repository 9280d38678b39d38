"""What a controller may write: one model per CSV file of `<company>/costing/`, and the links of `<company>/customers/`.

A row that one model alone can judge is judged here. What rows of several files say together is checked in rule_files.py, and
what the rules mean is computed in dbt_project (models/pools, models/costing; models/facts for links).
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from assets.company import Name

MEASURES = (
    "orders",
    "invoices",
    "invoice_lines",
    "credit_note_lines",
    "units",
    "net_revenue",
    "cost_of_goods_sold",
    "service_cases",
    "handling_minutes",
    "visits",
    "calls",
    "activities",
    "payments",
    "campaign_responses",
    "active_customers",
)
"""What dbt_project/models/pools/driver_rows.sql can count."""

TIME_EQUATION = "time_equation"
STATED = "stated"
"""Two more ways to come by a quantity: the terms of time_equations.csv, and the figures of quantities.csv."""


Number = Annotated[Decimal, Field(allow_inf_nan=False)]
PositiveNumber = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class Rule(BaseModel):
    """One row of a rule file. A cell left blank is the column's default.

    KEY: what must not be said twice for the same day. POINTS_TO: column -> rule file whose rows it must name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    KEY: ClassVar[tuple[str, ...]] = ()
    POINTS_TO: ClassVar[dict[str, str]] = {}


class EffectiveRule(Rule):
    """A rule that holds from a day to a day, both included; blank is open."""

    valid_from: datetime.date | None = None
    valid_to: datetime.date | None = None

    @model_validator(mode="after")
    def _dates_in_order(self) -> EffectiveRule:
        if self.valid_from and self.valid_to and self.valid_to < self.valid_from:
            raise ValueError("valid_to lies before valid_from")
        return self


class Pool(EffectiveRule):
    """A cost pool and how its cost leaves it.

    direct: its ledger lines name the customer. service: to the pools it serves. activity: to customers, by a driver.
    sustaining: stays on its level, or goes to customers below contribution where a driver is named.
    """

    KEY: ClassVar = ("pool_id",)
    POINTS_TO: ClassVar = {"driver_id": "drivers", "fixed_driver_id": "drivers"}

    pool_id: Name
    pool_name: str = Field(min_length=1)
    stage: Literal["direct", "service", "activity", "sustaining"]
    driver_id: Name | None = None
    sustaining_level: Literal["facility", "product", "channel", "market"] | None = None
    behaviour: Literal["variable", "step_fixed", "fixed", "sustaining"]
    rule_id: str = Field(min_length=1)
    approved_by: str | None = None
    approved_on: datetime.date | None = None
    fixed_driver_id: Name | None = None
    rate_basis: Literal["practical", "actual", "budget"] = "practical"
    overload: Literal["used", "standard"] = "used"
    step_order: int | None = None

    @model_validator(mode="after")
    def _leaves_one_way(self) -> Pool:
        if self.driver_id is None and self.stage in ("activity", "service"):
            raise ValueError(
                "driver_id is missing: pools of stage activity and service are divided by a driver, and need one"
            )
        if self.driver_id is not None and self.stage == "direct":
            raise ValueError(
                "driver_id is for pools that are divided; the ledger lines of a direct pool name the customer"
            )
        if (self.sustaining_level is not None) != (self.stage == "sustaining"):
            raise ValueError("sustaining_level is for pools of stage sustaining, which need one, and for no others")
        if (self.behaviour == "sustaining") != (self.stage == "sustaining"):
            raise ValueError("behaviour sustaining is for pools of stage sustaining, and they have no other")
        if self.fixed_driver_id is not None and self.stage not in ("activity", "service"):
            raise ValueError("fixed_driver_id divides the fixed part of an activity or service pool, and of no other")
        if self.step_order is not None and self.stage != "service":
            raise ValueError("step_order is the place of a service pool in the step-down method, and of no other pool")
        if self.rate_basis == "budget" and self.stage != "activity":
            raise ValueError("rate_basis budget is for activity pools: service pools are charged at what they cost")
        if self.overload == "standard" and self.rate_basis != "budget":
            raise ValueError("overload standard charges the budget rate beyond capacity: it needs rate_basis budget")
        return self


class Driver(Rule):
    """What a pool is divided by."""

    KEY: ClassVar = ("driver_id",)
    POINTS_TO: ClassVar = {"fallback_driver_id": "drivers"}

    driver_id: Name
    driver_name: str = Field(min_length=1)
    unit: str = Field(min_length=1)
    measure: Literal[(*MEASURES, TIME_EQUATION, STATED)]  # type: ignore[valid-type]
    decimals: int = Field(default=0, ge=0, le=6)
    zero_policy: Literal["unallocated", "previous_month", "fallback_driver", "sustaining"] = "unallocated"
    negative_policy: Literal["net_floor_zero", "absolute", "fail"] = "net_floor_zero"
    fallback_driver_id: Name | None = None

    @model_validator(mode="after")
    def _falls_back_on_another(self) -> Driver:
        if (self.fallback_driver_id is not None) != (self.zero_policy == "fallback_driver"):
            raise ValueError("fallback_driver_id is for zero_policy fallback_driver, which needs one, and for no other")
        if self.fallback_driver_id == self.driver_id:
            raise ValueError("fallback_driver_id names the driver itself")
        return self


class Capacity(EffectiveRule):
    """Practical capacity of a pool, in units of its driver per month."""

    KEY: ClassVar = ("pool_id",)
    POINTS_TO: ClassVar = {"pool_id": "pools"}

    pool_id: Name
    capacity: PositiveNumber


class ScopeRule(EffectiveRule):
    """What a range of ledger accounts is for. The first row of the file that matches a ledger line decides."""

    POINTS_TO: ClassVar = {"pool_id": "pools"}

    rule_id: str = Field(min_length=1)
    gl_account_from: str = Field(min_length=1)
    gl_account_to: str | None = None
    cost_center_id: str | None = None
    role: Literal["revenue", "cost_of_goods_sold", "cost", "receivables", "out_of_scope"]
    pool_id: Name | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> ScopeRule:
        if (self.pool_id is not None) != (self.role == "cost"):
            raise ValueError("pool_id is for rows of role cost, which need one, and for no others")
        if self.role == "out_of_scope" and not self.reason:
            raise ValueError("a row of role out_of_scope needs a reason: it is listed for the auditor")
        if self.gl_account_to and self.gl_account_to < self.gl_account_from:
            raise ValueError("gl_account_to lies before gl_account_from (compared as text)")
        return self


class Behaviour(EffectiveRule):
    """How some accounts of a pool behave, where they differ from the pool. The first row that matches decides.

    With fixed_amount, so much of the accounts' cost in a month is fixed, and what goes beyond behaves as said.
    """

    POINTS_TO: ClassVar = {"pool_id": "pools"}

    pool_id: Name
    gl_account_from: str = Field(min_length=1)
    gl_account_to: str | None = None
    behaviour: Literal["variable", "step_fixed", "fixed"]
    fixed_amount: PositiveNumber | None = None

    @model_validator(mode="after")
    def _complete(self) -> Behaviour:
        if self.gl_account_to and self.gl_account_to < self.gl_account_from:
            raise ValueError("gl_account_to lies before gl_account_from (compared as text)")
        if self.fixed_amount is not None and self.behaviour == "fixed":
            raise ValueError(
                "fixed_amount says what is fixed of cost that is otherwise not; this row is fixed as a whole"
            )
        return self


class TimeEquationTerm(EffectiveRule):
    """One term of a time equation: so many driver units per unit of a measure, of one kind of record or of all.

    The quantity of the driver is the sum of its terms (Kaplan and Anderson, time-driven activity-based costing): an order
    takes 8 minutes, each of its lines 2, a complaint 15. Kinds: sales channel of orders and invoices, product family of
    invoice lines, type of activities and cases, channel of campaign responses.
    """

    KEY: ClassVar = ("driver_id", "term")
    POINTS_TO: ClassVar = {"driver_id": "drivers"}

    driver_id: Name
    term: str = Field(min_length=1)
    measure: Literal[MEASURES]  # type: ignore[valid-type]
    kind: str | None = None
    coefficient: Number
    unit: str = Field(min_length=1)


class StatedQuantity(EffectiveRule):
    """A driver quantity per month that no system counts: square metres, seats, hours reserved for a customer."""

    KEY: ClassVar = ("driver_id", "receiver_kind", "receiver_id")
    POINTS_TO: ClassVar = {"driver_id": "drivers"}

    driver_id: Name
    receiver_kind: Literal["pool", "customer"]
    receiver_id: str = Field(min_length=1)
    quantity: Number = Field(ge=0)


class PoolBudget(EffectiveRule):
    """What a pool may cost per month, and at which quantity of its driver; amounts in base currency, cost +.

    variable_amount / quantity is the budgeted variable rate. standard_per_output: driver units that one unit of output
    (output_driver_id) should take.
    """

    KEY: ClassVar = ("pool_id",)
    POINTS_TO: ClassVar = {"pool_id": "pools", "output_driver_id": "drivers"}

    pool_id: Name
    fixed_amount: Number = Decimal(0)
    variable_amount: Number = Decimal(0)
    quantity: PositiveNumber | None = None
    output_driver_id: Name | None = None
    standard_per_output: PositiveNumber | None = None

    @model_validator(mode="after")
    def _complete(self) -> PoolBudget:
        if self.variable_amount and self.quantity is None:
            raise ValueError("quantity is missing: a variable amount is planned for a quantity of the driver")
        if (self.output_driver_id is None) != (self.standard_per_output is None):
            raise ValueError("output_driver_id and standard_per_output belong together: give both or none")
        return self


class PoolTarget(EffectiveRule):
    """What a pool should cost at most; the lower, the better.

    cost: what is booked on it in a month, base currency. rate: cost per driver unit. unused_share: unused / practical
    capacity, 0 to 1. Above the target by no more than warn_share of it (0.05 = 5 %), it is watched and not yet missed.
    """

    KEY: ClassVar = ("pool_id", "measure")
    POINTS_TO: ClassVar = {"pool_id": "pools"}

    pool_id: Name
    measure: Literal["cost", "rate", "unused_share"]
    target: Annotated[Number, Field(ge=0)]
    warn_share: Annotated[Number, Field(ge=0, le=1)] = Decimal("0.05")

    @model_validator(mode="after")
    def _is_a_share(self) -> PoolTarget:
        if self.measure == "unused_share" and self.target > 1:
            raise ValueError("target of unused_share is a share of the capacity, 0 to 1: write 0.15 for 15 %")
        return self


class CustomerLink(EffectiveRule):
    """A person's decision: this key of a source (blank: of any source) stands for this customer."""

    source: str | None = None
    source_customer_key: str = Field(min_length=1)
    key_kind: Literal["id", "code", "name", "tin"]
    customer_id: str = Field(min_length=1)
    decided_by: str = Field(min_length=1)
    reason: str | None = None
