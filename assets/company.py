"""One company's settings: `company.yml` as a model.

Everything that is one company's own is data in its folder: this file, `dialects/`, `costing/` and `customers/`. Nothing
about one company stands in code.
"""

from __future__ import annotations

import datetime
import difflib
import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

from assets.analytics.kpi_catalogue import KPIS
from assets.yaml_files import read_yaml, validated

RECONCILIATION_CHECKS = {
    "cost_allocation": "Cost in the ledger is what is on customers and on residual lines.",
    "revenue": "Revenue in the ledger is net revenue on customers.",
    "cost_of_goods_sold": "Cost of goods sold in the ledger is that of the customers.",
    "receivables": "The ledger's receivables at the end of the month are invoices less payments up to then.",
    "ledger_balance": "Debits and credits of the month cancel.",
    "revenue_on_customers": "Invoice lines delivered are revenue on customers.",
    "voucher_balance": "Debits and credits of each voucher cancel, in the currency of the ledger.",
    "trial_balance": "Each account moves by what the trial balance of the period says.",
    "revenue_is_credit": "The revenue accounts of a source are net credit.",
    "functional_amount": "Where both are in one currency, the functional amount is the transaction amount.",
}
"""The checks of marts.reconciliation a company may set a tolerance or a severity for, and what has to be so."""

ALWAYS_BLOCKING = ("cost_allocation", "revenue_on_customers")
"""Checks of Whalecurve's own arithmetic: no company can turn a lost cent into a warning."""


PUBLISHABLE = ("customer_name", "owner_ref", "je_line_description")
"""The personal columns of the canonical contract that a published table has, so that a company may publish them."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(value)):
        raise ValueError("use lower-case letters, digits and underscores, starting with a letter")
    return value


Name = Annotated[str, BeforeValidator(_name)]


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError("is not a time zone of the IANA database, such as Asia/Shanghai") from None
    return value


def _overlap(value: object) -> object:
    """`90s`, `15min`, `1h` or `2d` as a duration; a plain number stays one."""
    written = re.fullmatch(r"(\d+) ?(s|min|h|d)?", str(value).strip())
    if not written:
        raise ValueError("write a duration such as 15min, 1h or 2d, or a number for a cursor that counts")
    amount = int(written[1])
    unit = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}.get(written[2])
    return datetime.timedelta(**{unit: amount}) if unit else amount


Overlap = Annotated[datetime.timedelta | int, BeforeValidator(_overlap)]
"""How far below the last cursor value the next pull begins, for rows whose transaction was long in committing."""

FileStem = Annotated[str, Field(pattern=r"^[^/\\.~][^/\\]*$")]
"""A name that becomes the name of a file."""


def _listed(value: object) -> object:
    """A list of names, or a mapping where a name without settings may be left empty."""
    if isinstance(value, list):
        return {str(name): {} for name in value}
    return {name: {} if set_ == "" else set_ for name, set_ in value.items()} if isinstance(value, dict) else value


class ObjectPull(_Strict):
    """One Salesforce object: the fields to ask for, by API name; without them, all that the user may read."""

    fields: tuple[Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")], ...] = Field(
        default=(), description="API names of the fields to ask for; none: all that the user may read."
    )


class SalesforcePull(_Strict):
    """Objects of one Salesforce org: what changed since the last pull, deleted records with their mark."""

    connector: Literal["salesforce"] = Field(description="Salesforce's REST API.")
    overlap: Overlap = Field(
        default=datetime.timedelta(hours=1),
        description="How far below the last change the next pull begins: `15min`, `1h`, `2d`.",
    )
    objects: Annotated[
        dict[Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")], ObjectPull], BeforeValidator(_listed)
    ] = Field(min_length=1, description="Objects by API name, as a list, or with the fields of each.")

    @field_validator("overlap")
    @classmethod
    def _a_duration(cls, value: datetime.timedelta | int) -> datetime.timedelta | int:
        if not isinstance(value, datetime.timedelta):
            raise ValueError("write a duration such as 15min, 1h or 2d")
        return value


class TablePull(_Strict):
    """One table: with a cursor (a column that grows with every change) what changed, without one all of it each time."""

    cursor: str | None = Field(
        default=None, description="Column that grows with every change; without one, all of the table each time."
    )
    key: str | None = Field(default=None, description="Column that names a row; the pull is refused where it does not.")
    overlap: Overlap | None = Field(
        default=None,
        description="How far below the last cursor value the next pull begins: a duration, or a number for a cursor that counts.",
    )

    @model_validator(mode="after")
    def _overlap_of_a_cursor(self) -> TablePull:
        if self.overlap is not None and self.cursor is None:
            raise ValueError("an overlap needs a cursor; without one the whole table is pulled each time")
        return self


class DatabasePull(_Strict):
    """Tables and views of one database that SQLAlchemy speaks to; tested are PostgreSQL and SQLite."""

    connector: Literal["sql_database"] = Field(description="A database that SQLAlchemy speaks to.")
    db_schema: str | None = Field(
        default=None, alias="schema", description="Schema the tables are in; without one, the connection's own."
    )
    tables: Annotated[dict[FileStem, TablePull], BeforeValidator(_listed)] = Field(
        min_length=1, description="Tables and views, as a list, or with the cursor of each."
    )


Pull = Annotated[SalesforcePull | DatabasePull, Field(discriminator="connector")]


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Arrival(_Strict):
    """How a source tells that its delivery is complete, and for which days it delivers.

    `complete`: `stable` when its files were the same at two looks, `control` when all that its control file names is there,
    `marker` when a file named `marker` (a pattern) is. `weekdays` are those of the business dates it has a delivery for.
    """

    complete: Literal["stable", "control", "marker"] = Field(
        default="stable",
        description="What says that a delivery is whole: two looks that find the same files, its `control.csv`, or a marker.",
    )
    marker: str = Field(
        default="_SUCCESS",
        min_length=1,
        pattern=r"^[^/\\]+$",
        description="Name of the marker file, or a pattern such as `*.done`.",
    )
    weekdays: tuple[Literal[WEEKDAYS], ...] = Field(  # type: ignore[valid-type]
        default=WEEKDAYS,
        description="Days whose business dates the source delivers for.",
    )

    def expects(self, date: datetime.date) -> bool:
        """Whether the source delivers for this business date."""
        return WEEKDAYS[date.weekday()] in self.weekdays

    @property
    def promise(self) -> str:
        """What is missing of a delivery that has not said that it is complete."""
        return f"no file {self.marker} yet" if self.complete == "marker" else "no control.csv with all its files yet"


class Source(_Strict):
    """One system that delivers files to landing/<source>/<date>/; with `pull`, `whalecurve pull` fetches them from it.

    `timezone` and `currency` are the source's own, where they differ from what its dialect says. `late_after_days` and
    `quiet_after_days`: how old its latest delivery, and the latest business event in what it delivered, may be at the as-of date.
    """

    dialect: Name = Field(description="How its files are read: a file of the company's `dialects/`, or one that ships.")
    arrival: Arrival = Field(default=Arrival(), description="How it tells that a delivery is complete.")
    timezone: Annotated[str, BeforeValidator(_timezone)] | None = Field(
        default=None, description="Zone of its times, where it is another than the dialect says."
    )
    currency: str | None = Field(
        default=None, pattern="^[A-Z]{3}$", description="Currency of amounts without one of their own."
    )
    pull: Pull | None = Field(default=None, description="What `whalecurve pull` fetches from the live system.")
    late_after_days: int | None = Field(
        default=None,
        ge=0,
        le=3650,
        description="Days its latest delivery may be old at the as-of date (check `late_deliveries`); not set: not judged.",
    )
    quiet_after_days: int | None = Field(
        default=None,
        ge=0,
        le=3650,
        description="Days its latest business event may be old (check `quiet_sources`); not set: not judged.",
    )


class Quarantine(_Strict):
    """How much may be unreadable before a load is refused."""

    max_share: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Share of a delivery's rows that may be unreadable; above it the load is refused.",
    )


class ReconciliationPolicy(_Strict):
    """What a difference in one reconciliation check does to the release."""

    severity: Literal["error", "warn"] = Field(
        default="error", description="`error` stops the release, `warn` shows the difference."
    )
    tolerance: float = Field(default=0.0, ge=0, description="Difference in base currency that is allowed in a month.")
    reason: str = Field(default="", description="Why it only warns; printed in the release, and required with `warn`.")


class Value(_Strict):
    """Parameters of customer value: yearly discount rate, months projected, days for 'buys again'."""

    discount_rate: float = Field(
        default=0.10, gt=-1, le=1, description="Yearly rate at which later profit counts less."
    )
    horizon_months: int = Field(
        default=36, ge=1, le=240, description="Months of purchases to come that a customer's value counts."
    )
    churn_horizon_days: int = Field(
        default=90, ge=1, le=1095, description="A customer who buys nothing within so many days has left."
    )


class LossRates(_Strict):
    """The share of a debt of each age, in days overdue, that is never paid."""

    not_due: float = Field(ge=0, le=1, description="Of debt that is not due yet.")
    overdue_1_30: float = Field(ge=0, le=1, description="Of debt 1 to 30 days overdue.")
    overdue_31_60: float = Field(ge=0, le=1, description="Of debt 31 to 60 days overdue.")
    overdue_61_90: float = Field(ge=0, le=1, description="Of debt 61 to 90 days overdue.")
    overdue_over_90: float = Field(ge=0, le=1, description="Of debt more than 90 days overdue.")


class Credit(_Strict):
    """What it costs that customers pay later, and how much of that the company will bear.

    `cost_of_capital` is a yearly rate; a company that names none charges nobody for waiting. `loss_rates` come before the
    company's history; without them history decides as soon as there are three years of it, and until then no loss is
    expected. Money (`equity`, `small_balance`) is in base currency.
    """

    cost_of_capital: float = Field(
        default=0.0, ge=0, le=1, description="Yearly rate that waiting for money costs; 0: nobody is charged for it."
    )
    default_payment_days: int = Field(
        default=30, ge=0, le=365, description="Days to pay where an invoice names no due date."
    )
    loss_rates: LossRates | None = Field(
        default=None, description="Losses by age until the company's own history says better."
    )
    forward_looking_factor: float = Field(
        default=1.0, gt=0, le=10, description="What loss rates are multiplied by for what is expected to change."
    )
    write_off_after_days: int = Field(
        default=365, ge=91, le=3650, description="Days overdue after which a debt counts as lost."
    )
    need_factor: float = Field(
        default=1.2, ge=1, le=10, description="Room of a credit limit above the debt that usual purchases make."
    )
    max_risk_share: float = Field(
        default=0.20,
        gt=0,
        le=1,
        description="Share of a customer's contribution that expected loss and financing may take.",
    )
    equity: float | None = Field(
        default=None, gt=0, description="The company's equity, in base currency, for the cap on one customer's debt."
    )
    max_equity_share: float = Field(default=0.05, gt=0, le=1, description="Share of equity that one customer may owe.")
    prepay_overdue_share: float = Field(
        default=0.20,
        gt=0,
        le=1,
        description="Share of the debt more than 90 days overdue from which on prepayment is advised.",
    )
    prepay_loss_rate: float = Field(
        default=0.10, gt=0, le=1, description="Expected loss rate from which on prepayment is advised."
    )
    late_trend_days: float = Field(
        default=3.0, ge=0, description="Days by which payments may become later before that is a reason."
    )
    punctual_days: float = Field(default=5.0, ge=0, description="Days late up to which a customer counts as punctual.")
    small_balance: float = Field(
        default=100.0, ge=0, description="Amounts below it are no reason for anything, in base currency."
    )


class RelationshipWeights(_Strict):
    """How much each part counts in the strength of a relationship; only their ratios matter."""

    satisfaction: float = Field(default=0.25, ge=0, le=100, description="Answers to surveys.")
    loyalty: float = Field(default=0.20, ge=0, le=100, description="How long and how steadily they buy.")
    complaints: float = Field(default=0.15, ge=0, le=100, description="Complaints per order; fewer is better.")
    service: float = Field(default=0.15, ge=0, le=100, description="How their cases went.")
    engagement: float = Field(default=0.25, ge=0, le=100, description="Visits, calls and answers to campaigns.")

    @model_validator(mode="after")
    def _some_weight(self) -> RelationshipWeights:
        if not any(weight for _, weight in self):
            raise ValueError("are all 0; give at least one part of the relationship a weight")
        return self


class Relationship(_Strict):
    """From which strength (0 to 100) on a relationship is strong, and what the strength is made of."""

    strong_from: float = Field(
        default=60.0, gt=5, le=100, description="Strength (0 to 100) from which on a relationship is strong."
    )
    weights: RelationshipWeights = Field(
        default=RelationshipWeights(), description="How much each part of the strength counts."
    )


class Service(_Strict):
    """Within how many hours a service case should be answered first, and closed; without them no share within target is known."""

    response_hours: float | None = Field(
        default=None, gt=0, le=8760, description="Hours within which a case should have its first answer."
    )
    resolution_hours: float | None = Field(
        default=None, gt=0, le=8760, description="Hours within which a case should be closed."
    )


class Privacy(_Strict):
    """Personal columns that published tables hold in clear. Those not listed are pseudonyms, free text is dropped."""

    publish: tuple[Literal[PUBLISHABLE], ...] = Field(  # type: ignore[valid-type]
        default=(),
        description="Personal columns published in clear; the others are pseudonyms, or withheld without a key.",
    )


SERVICE_METHODS = ("reciprocal", "step_down", "direct")
"""How service pools that serve each other can be charged; all are computed, one is posted."""


class Costing(_Strict):
    """How cost is divided, as far as it is not a rule of costing/*.csv."""

    service_method: Literal[SERVICE_METHODS] = Field(  # type: ignore[valid-type]
        default="reciprocal",
        description="How service pools that serve each other are charged; all three are computed, this one is posted.",
    )


MATCHING_METHODS = ("explicit", "shared_id", "tax_id", "name")
"""By what two records or keys can be known to be one customer, in the order in which most companies trust it."""


class Matching(_Strict):
    """Whose customer is it: the methods that may decide, in order, and from which likeness on a person is asked."""

    order: tuple[Literal[MATCHING_METHODS], ...] = Field(  # type: ignore[valid-type]
        default=MATCHING_METHODS,
        description="Methods that may decide that two are one customer, the most trusted first.",
    )
    suggest_from: float = Field(
        default=0.85, gt=0, le=1, description="Likeness (0 to 1) of names from which on a person is asked."
    )

    @field_validator("order")
    @classmethod
    def _explicit_first(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or value[0] != "explicit":
            raise ValueError("must begin with explicit: what a person has decided comes before every rule")
        if len(set(value)) < len(value):
            raise ValueError(f"names a method twice; use each of {', '.join(MATCHING_METHODS)} at most once")
        return value


class FolderTarget(_Strict):
    """A folder somewhere else, such as a share, that gets every release that becomes current."""

    kind: Literal["folder"] = Field(description="A folder.")
    path: str = Field(min_length=1, description="The folder, such as a mounted share.")
    keep: int = Field(default=30, ge=2, description="Releases kept there.")


class PostgresTarget(_Strict):
    """A schema of a PostgreSQL database; the address is WHALECURVE_TARGET_<NAME>_URL. `readers`: roles that may read it."""

    kind: Literal["postgres"] = Field(description="A PostgreSQL database.")
    db_schema: str = Field(
        default="whalecurve",
        alias="schema",
        pattern="^[a-z][a-z0-9_]{0,50}$",
        description="Schema that is replaced as a whole.",
    )
    readers: tuple[str, ...] = Field(default=(), description="Roles that may read it.")


class ObjectTarget(_Strict):
    """A bucket that speaks S3's protocol; keys are WHALECURVE_TARGET_<NAME>_ACCESS_KEY_ID and _SECRET_ACCESS_KEY."""

    kind: Literal["s3"] = Field(description="A bucket.")
    bucket: str = Field(min_length=3, description="Its name.")
    prefix: str = Field(default="", description="Folder in the bucket.")
    endpoint: str | None = Field(
        default=None, pattern="^https?://", description="Address of the service, where it is not Amazon's."
    )
    region: str | None = Field(default=None, description="Region of the bucket.")
    keep: int = Field(default=30, ge=2, description="Releases kept there.")


Target = FolderTarget | PostgresTarget | ObjectTarget


class SparkConnect(_Strict):
    """A Spark cluster, reached over Spark Connect: the server's address, statements at a time, settings of the session.

    The server, its workers and this machine see the data folder by the same path. A token comes from the environment only.
    """

    remote: str = Field(
        pattern=r"^sc://[^/;\s]+$", description="Address of the Spark Connect server, `sc://host:15002`."
    )
    threads: int = Field(default=2, ge=1, le=64, description="Statements at a time.")
    settings: dict[str, str] = Field(default={}, description="Settings of the session, by Spark's names.")


class GateCheck(_Strict):
    """What a failure of one of the gate's comparisons does: `error` stops the release, `warn` is shown."""

    severity: Literal["error", "warn"] = Field(
        default="warn", description="`error` stops the release, `warn` is shown."
    )


class RowsCheck(GateCheck):
    """By which share rows may become fewer (`drop`) or more (`jump`; 1 = twice as many)."""

    drop: float = Field(ge=0, le=1, description="Share by which rows may become fewer.")
    jump: float = Field(ge=0, description="Share by which rows may become more; 1 = twice as many.")


class MovementCheck(GateCheck):
    """How far a figure may move; what it is a share of, the check says (assets/publish/comparisons.py)."""

    tolerance: float = Field(ge=0, description="How far the figure may move.")


class Gate(_Strict):
    """The gate's comparisons with what came before. All of them only warn unless the company says otherwise: nobody knows
    what is usual in its first weeks."""

    late_deliveries: GateCheck = Field(
        default=GateCheck(),
        description="Is a source's latest delivery older than its `late_after_days` at the as-of date?",
    )
    quiet_sources: GateCheck = Field(
        default=GateCheck(), description="Is its latest business event older than its `quiet_after_days`?"
    )
    usual_rows: RowsCheck = Field(
        default=RowsCheck(drop=0.5, jump=1.0),
        description="Has its latest delivery far fewer or more rows of an entity than any of the 28 before it?",
    )
    delivered_rows: RowsCheck = Field(
        default=RowsCheck(drop=0.05, jump=0.5),
        description="Do the deliveries that the earlier release knew have other rows now?",
    )
    table_rows: RowsCheck = Field(
        default=RowsCheck(drop=0.2, jump=1.0),
        description="Has a published table lost or gained many rows since the earlier release?",
    )
    closed_months_net_revenue: MovementCheck = Field(
        default=MovementCheck(tolerance=0.005),
        description="Has net revenue of a month that was over moved? A share of that month's net revenue.",
    )
    closed_months_operating_profit: MovementCheck = Field(
        default=MovementCheck(tolerance=0.02),
        description="Has operating profit of a month that was over moved? A share of that month's net revenue.",
    )
    active_customers: MovementCheck = Field(
        default=MovementCheck(tolerance=0.1),
        description="Has the number of customers who bought in twelve months moved? A share of that number.",
    )
    tier_shares: MovementCheck = Field(
        default=MovementCheck(tolerance=0.1),
        description="Do customers stand in other tiers? The share of customers that would have to change their tier.",
    )
    profit_distribution: MovementCheck = Field(
        default=MovementCheck(tolerance=0.25),
        description="Is profit spread otherwise over customers? A population stability index.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _over_defaults(cls, value: object, info: ValidationInfo) -> object:
        """What a company leaves out of a check stays as it is for everybody: a severity alone keeps the tolerances."""
        default = cls.model_fields[str(info.field_name)].default
        return {**default.model_dump(), **value} if isinstance(value, dict) else value


class EmbeddedDuckDB(_Strict):
    """What DuckDB in the process may take; it writes to disk, beside the warehouse, what does not fit.

    Default: its own, four fifths of the machine's memory and all of its cores.
    """

    memory_limit: str | None = Field(
        default=None, pattern=r"^[1-9][0-9]*(\.[0-9]+)? ?[KMGT]i?B$", description="Memory at most, such as `6GB`."
    )
    threads: int | None = Field(default=None, ge=1, le=1024, description="Cores at most.")

    def settings(self) -> dict[str, str]:
        """DuckDB's settings by their names, those that are given."""
        return {name: str(value) for name, value in self.model_dump(exclude_none=True).items()}


class DuckLakeCatalog(_Strict):
    """A DuckLake: the tables are Parquet files that a catalog in PostgreSQL lists, for readers on any machine.

    The catalog's address, with user and password, comes from the environment only: WHALECURVE_LAKE_CATALOG.
    """

    data_path: Path | None = Field(
        default=None,
        description="Folder of the tables' files, seen by readers under the same path; default `<data>/lake`. A catalog "
        "belongs to one such folder for good.",
    )
    catalog_schema: str = Field(
        default="whalecurve",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="Schema of the catalog in its database: one for each company and data folder.",
    )
    keep_days: int = Field(
        default=7,
        ge=0,
        description="Days for which readers can go back to how a table was; files only older states need are removed then.",
    )


class Engine(_Strict):
    """What runs the SQL: DuckDB in the process on its warehouse, on a DuckLake with `ducklake`, or a cluster with `spark`."""

    duckdb: EmbeddedDuckDB = Field(default=EmbeddedDuckDB(), description="What DuckDB may take.")
    ducklake: DuckLakeCatalog | None = Field(default=None, description="Where DuckDB keeps the tables instead.")
    spark: SparkConnect | None = Field(default=None, description="The cluster that builds the tables instead.")

    @property
    def elsewhere(self) -> bool:
        """Whether the tables lie outside the warehouse, in a place of their own that belongs to one data folder."""
        return self.spark is not None or self.ducklake is not None

    @model_validator(mode="after")
    def _one_place(self) -> Engine:
        if self.ducklake and self.spark:
            raise ValueError(
                "ducklake and spark are both given, and the tables can be in one place only: keep one of them"
            )
        return self


ALERTS = ("failed_run", "blocked_release", "late_data", "drift")
"""What somebody can be told of: a run that broke off, a release the gate refused, sources that are late, models that drift."""


class _AlertTarget(_Strict):
    on: tuple[Literal[ALERTS], ...] = Field(  # type: ignore[valid-type]
        default=ALERTS,
        min_length=1,
        description="What this target is told of.",
    )
    language: Literal["en", "zh"] = Field(default="en", description="In which language.")


class EmailAlert(_AlertTarget):
    """Mail to people; the server is WHALECURVE_ALERT_<NAME>_URL, smtp://user:password@host:587 or smtps://..."""

    kind: Literal["email"] = Field(description="Mail.")
    sender: str = Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$", description="Address the mail is from.")
    to: tuple[Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")], ...] = Field(
        min_length=1, description="Addresses it goes to."
    )


class WebhookAlert(_AlertTarget):
    """A group's robot; its address is WHALECURVE_ALERT_<NAME>_URL, and _SECRET what DingTalk and Feishu sign with."""

    kind: Literal["slack", "wecom", "dingtalk", "feishu"] = Field(
        description="Whose robot it is: Slack, 企业微信, 钉钉, 飞书."
    )


class Schedule(_Strict):
    """When the business date that has ended is run, in the company's time zone, and what becomes of sources that are late then.

    `late: run` goes on without them, `late: wait` waits for them until `wait_until`; the release names who was late.
    """

    at: datetime.time = Field(
        default=datetime.time.fromisoformat("05:00"),
        description="Time of the daily run, of the business date that has ended.",
    )
    late: Literal["run", "wait"] = Field(default="run", description="What becomes of sources that are late then.")
    wait_until: datetime.time | None = Field(default=None, description="Time up to which late sources are waited for.")

    @model_validator(mode="after")
    def _waits_for_a_time(self) -> Schedule:
        if (self.late == "wait") != (self.wait_until is not None):
            raise ValueError('`late: wait` and `wait_until` go together: say until when to wait, such as "09:00"')
        if self.wait_until is not None and self.wait_until <= self.at:
            raise ValueError("wait_until must lie after `at`, on the same day")
        if any(time and (time.second or time.microsecond or time.tzinfo) for time in (self.at, self.wait_until)):
            raise ValueError('write times as "05:00": hours and minutes, in the company\'s time zone')
        return self


class Releases(_Strict):
    """How many releases are kept, and where they go besides the data folder."""

    keep: int = Field(default=30, ge=2, description="Releases kept in the data folder.")
    targets: dict[Name, Annotated[Target, Field(discriminator="kind")]] = Field(
        default={}, description="Places that get every release that becomes current, by a name of yours."
    )

    @field_validator("targets")
    @classmethod
    def _not_the_release_itself(cls, value: dict[str, Target]) -> dict[str, Target]:
        if "current" in value:
            raise ValueError("a target cannot be called 'current': that is the release in the data folder")
        return value


class Report(_Strict):
    """How the pages people read are written, and under which address people reach the folder of releases, if they do."""

    language: Literal["en", "zh"] = Field(default="en", description="Language of the report and of customer pages.")
    address: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="Under which address people reach the folder of releases: the Dagster UI then links to the report.",
    )

    def link(self, release_id: str) -> str | None:
        """The address of a release's report."""
        return f"{self.address.rstrip('/')}/{release_id}/report.html" if self.address else None


class Company(_Strict):
    """The settings of one company; see companies/demo/company.yml for an example of each."""

    company: Name = Field(description="Short name, for file names and messages.")
    name: str = Field(min_length=1, description="Name for people.")
    base_currency: str = Field(pattern="^[A-Z]{3}$", description="Currency of all published amounts (ISO 4217).")
    timezone: str = Field(default="UTC", description="Zone in which days begin and the schedule runs.")
    first_business_date: datetime.date = Field(description="First date something was delivered for.")
    last_business_date: datetime.date | None = Field(
        default=None, description="Last date there is; not set: up to today."
    )
    sources: dict[Name, Source] = Field(
        min_length=1, description="Systems that deliver, by a name of yours: the folder below `landing/`."
    )
    quarantine: Quarantine = Field(default=Quarantine(), description="How much may be unreadable.")
    reconciliation: dict[str, ReconciliationPolicy] = Field(
        default={}, description="What a difference in a reconciliation check does, by check."
    )
    value: Value = Field(default=Value(), description="How customers' value is reckoned.")
    costing: Costing = Field(default=Costing(), description="How cost is divided, beside `costing/*.csv`.")
    credit: Credit = Field(default=Credit(), description="What it costs that customers pay later.")
    relationship: Relationship = Field(default=Relationship(), description="What makes a relationship strong.")
    service: Service = Field(default=Service(), description="Targets of the service.")
    kpis: dict[str, FiniteFloat] = Field(default={}, description="Targets, by key figure.")
    referral_sources: tuple[str, ...] = Field(
        default=(), description="Lead sources that mean: another customer sent them."
    )
    matching: Matching = Field(default=Matching(), description="When two records are one customer.")
    privacy: Privacy = Field(default=Privacy(), description="What is published of persons.")
    gate: Gate = Field(default=Gate(), description="Limits and severities of the gate's comparisons.")
    report: Report = Field(default=Report(), description="How pages are written.")
    engine: Engine = Field(default=Engine(), description="What runs the SQL.")
    releases: Releases = Field(default=Releases(), description="How many are kept, and where they go.")
    schedule: Schedule = Field(default=Schedule(), description="When the daily run is.")
    alerts: dict[Name, Annotated[EmailAlert | WebhookAlert, Field(discriminator="kind")]] = Field(
        default={}, description="Who is told of what, by a name of yours."
    )

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        return _timezone(value)

    @field_validator("reconciliation")
    @classmethod
    def _known_checks(cls, value: dict[str, ReconciliationPolicy]) -> dict[str, ReconciliationPolicy]:
        for check, policy in value.items():
            if check not in RECONCILIATION_CHECKS:
                raise ValueError(f"'{check}' is not a check; choose from {', '.join(RECONCILIATION_CHECKS)}")
            if policy.severity == "warn" and check in ALWAYS_BLOCKING:
                raise ValueError(f"'{check}' guards Whalecurve's own arithmetic and cannot be a warning")
            if policy.severity == "warn" and not policy.reason:
                raise ValueError(f"'{check}' is a warning without a reason: say why, it is printed in the release")
        return value

    @field_validator("kpis")
    @classmethod
    def _known_kpis(cls, value: dict[str, float]) -> dict[str, float]:
        for name in value:
            if name not in KPIS:
                near = difflib.get_close_matches(name, KPIS, n=1, cutoff=0.0)[0]
                raise ValueError(f"'{name}' is not a key figure; the nearest is '{near}'; all are {', '.join(KPIS)}")
        return value

    @model_validator(mode="after")
    def _dates_in_order(self) -> Company:
        if self.last_business_date and self.last_business_date < self.first_business_date:
            raise ValueError("last_business_date lies before first_business_date")
        return self


def load_company(folder: Path) -> Company:
    """Read `folder`/company.yml. Raises ConfigurationError naming key and reason."""
    path = folder / "company.yml"
    return validated(Company, read_yaml(path), path)


def company_hash(folder: Path) -> str:
    """Hash of all the company folder says (settings, playbook, dialects, costing rules, links): part of a release's manifest."""
    digest = hashlib.sha256()
    for path in company_files(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def company_hashes(folder: Path) -> dict[str, str]:
    """{"company": hash of the whole folder} and the hash of each of its files: what changed can be named."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in company_files(folder)
    }
    return {"company": company_hash(folder), **files}


def company_files(folder: Path) -> list[Path]:
    """The files a company is made of: what else lies in its folder is read by nobody."""
    parts = ("playbook.yml", "rfm.yml", "dialects/*.yml", "costing/*.csv", "customers/*.csv")
    return sorted([folder / "company.yml", *(path for part in parts for path in folder.glob(part))])
