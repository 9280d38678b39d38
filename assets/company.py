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

RECONCILIATION_CHECKS = (
    "cost_allocation",
    "revenue",
    "cost_of_goods_sold",
    "receivables",
    "ledger_balance",
    "revenue_on_customers",
    "voucher_balance",
    "trial_balance",
    "revenue_is_credit",
    "functional_amount",
)
"""The checks of marts.reconciliation a company may set a tolerance or a severity for."""

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

    fields: tuple[Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")], ...] = ()


class SalesforcePull(_Strict):
    """Objects of one Salesforce org: what changed since the last pull, deleted records with their mark."""

    connector: Literal["salesforce"]
    overlap: Overlap = datetime.timedelta(hours=1)
    objects: Annotated[
        dict[Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")], ObjectPull], BeforeValidator(_listed)
    ] = Field(min_length=1)

    @field_validator("overlap")
    @classmethod
    def _a_duration(cls, value: datetime.timedelta | int) -> datetime.timedelta | int:
        if not isinstance(value, datetime.timedelta):
            raise ValueError("write a duration such as 15min, 1h or 2d")
        return value


class TablePull(_Strict):
    """One table: with a cursor (a column that grows with every change) what changed, without one all of it each time."""

    cursor: str | None = None
    key: str | None = None
    overlap: Overlap | None = None

    @model_validator(mode="after")
    def _overlap_of_a_cursor(self) -> TablePull:
        if self.overlap is not None and self.cursor is None:
            raise ValueError("an overlap needs a cursor; without one the whole table is pulled each time")
        return self


class DatabasePull(_Strict):
    """Tables and views of one database that SQLAlchemy speaks to; tested are PostgreSQL and SQLite."""

    connector: Literal["sql_database"]
    db_schema: str | None = Field(default=None, alias="schema")
    tables: Annotated[dict[FileStem, TablePull], BeforeValidator(_listed)] = Field(min_length=1)


Pull = Annotated[SalesforcePull | DatabasePull, Field(discriminator="connector")]


WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Arrival(_Strict):
    """How a source tells that its delivery is complete, and for which days it delivers.

    `complete`: `stable` when its files were the same at two looks, `control` when all that its control file names is there,
    `marker` when a file named `marker` (a pattern) is. `weekdays` are those of the business dates it has a delivery for.
    """

    complete: Literal["stable", "control", "marker"] = "stable"
    marker: str = Field(default="_SUCCESS", min_length=1, pattern=r"^[^/\\]+$")
    weekdays: tuple[Literal[WEEKDAYS], ...] = WEEKDAYS  # type: ignore[valid-type]

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

    dialect: Name
    arrival: Arrival = Arrival()
    timezone: Annotated[str, BeforeValidator(_timezone)] | None = None
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    pull: Pull | None = None
    late_after_days: int | None = Field(default=None, ge=0, le=3650)
    quiet_after_days: int | None = Field(default=None, ge=0, le=3650)


class Quarantine(_Strict):
    """How much may be unreadable before a load is refused."""

    max_share: float = Field(default=0.02, ge=0, le=1)


class ReconciliationPolicy(_Strict):
    """What a difference in one reconciliation check does to the release."""

    severity: Literal["error", "warn"] = "error"
    tolerance: float = Field(default=0.0, ge=0)
    reason: str = ""


class Value(_Strict):
    """Parameters of customer value: yearly discount rate, months projected, days for 'buys again'."""

    discount_rate: float = Field(default=0.10, gt=-1, le=1)
    horizon_months: int = Field(default=36, ge=1, le=240)
    churn_horizon_days: int = Field(default=90, ge=1, le=1095)


class LossRates(_Strict):
    """The share of a debt of each age, in days overdue, that is never paid."""

    not_due: float = Field(ge=0, le=1)
    overdue_1_30: float = Field(ge=0, le=1)
    overdue_31_60: float = Field(ge=0, le=1)
    overdue_61_90: float = Field(ge=0, le=1)
    overdue_over_90: float = Field(ge=0, le=1)


class Credit(_Strict):
    """What it costs that customers pay later, and how much of that the company will bear.

    `cost_of_capital` is a yearly rate; a company that names none charges nobody for waiting. `loss_rates` come before the
    company's history; without them history decides as soon as there are three years of it, and until then no loss is
    expected. Money (`equity`, `small_balance`) is in base currency.
    """

    cost_of_capital: float = Field(default=0.0, ge=0, le=1)
    default_payment_days: int = Field(default=30, ge=0, le=365)
    loss_rates: LossRates | None = None
    forward_looking_factor: float = Field(default=1.0, gt=0, le=10)
    write_off_after_days: int = Field(default=365, ge=91, le=3650)
    need_factor: float = Field(default=1.2, ge=1, le=10)
    max_risk_share: float = Field(default=0.20, gt=0, le=1)
    equity: float | None = Field(default=None, gt=0)
    max_equity_share: float = Field(default=0.05, gt=0, le=1)
    prepay_overdue_share: float = Field(default=0.20, gt=0, le=1)
    prepay_loss_rate: float = Field(default=0.10, gt=0, le=1)
    late_trend_days: float = Field(default=3.0, ge=0)
    punctual_days: float = Field(default=5.0, ge=0)
    small_balance: float = Field(default=100.0, ge=0)


class RelationshipWeights(_Strict):
    """How much each part counts in the strength of a relationship; only their ratios matter."""

    satisfaction: float = Field(default=0.25, ge=0, le=100)
    loyalty: float = Field(default=0.20, ge=0, le=100)
    complaints: float = Field(default=0.15, ge=0, le=100)
    service: float = Field(default=0.15, ge=0, le=100)
    engagement: float = Field(default=0.25, ge=0, le=100)

    @model_validator(mode="after")
    def _some_weight(self) -> RelationshipWeights:
        if not any(weight for _, weight in self):
            raise ValueError("are all 0; give at least one part of the relationship a weight")
        return self


class Relationship(_Strict):
    """From which strength (0 to 100) on a relationship is strong, and what the strength is made of."""

    strong_from: float = Field(default=60.0, gt=5, le=100)
    weights: RelationshipWeights = RelationshipWeights()


class Service(_Strict):
    """Within how many hours a service case should be answered first, and closed; without them no share within target is known."""

    response_hours: float | None = Field(default=None, gt=0, le=8760)
    resolution_hours: float | None = Field(default=None, gt=0, le=8760)


class Privacy(_Strict):
    """Personal columns that published tables hold in clear. Those not listed are pseudonyms, free text is dropped."""

    publish: tuple[Literal[PUBLISHABLE], ...] = ()  # type: ignore[valid-type]


SERVICE_METHODS = ("reciprocal", "step_down", "direct")
"""How service pools that serve each other can be charged; all are computed, one is posted."""


class Costing(_Strict):
    """How cost is divided, as far as it is not a rule of costing/*.csv."""

    service_method: Literal[SERVICE_METHODS] = "reciprocal"  # type: ignore[valid-type]


MATCHING_METHODS = ("explicit", "shared_id", "tax_id", "name")
"""By what two records or keys can be known to be one customer, in the order in which most companies trust it."""


class Matching(_Strict):
    """Whose customer is it: the methods that may decide, in order, and from which likeness on a person is asked."""

    order: tuple[Literal[MATCHING_METHODS], ...] = MATCHING_METHODS  # type: ignore[valid-type]
    suggest_from: float = Field(default=0.85, gt=0, le=1)

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

    kind: Literal["folder"]
    path: str = Field(min_length=1)
    keep: int = Field(default=30, ge=2)


class PostgresTarget(_Strict):
    """A schema of a PostgreSQL database; the address is WHALECURVE_TARGET_<NAME>_URL. `readers`: roles that may read it."""

    kind: Literal["postgres"]
    db_schema: str = Field(default="whalecurve", alias="schema", pattern="^[a-z][a-z0-9_]{0,50}$")
    readers: tuple[str, ...] = ()


class ObjectTarget(_Strict):
    """A bucket that speaks S3's protocol; keys are WHALECURVE_TARGET_<NAME>_ACCESS_KEY_ID and _SECRET_ACCESS_KEY."""

    kind: Literal["s3"]
    bucket: str = Field(min_length=3)
    prefix: str = ""
    endpoint: str | None = Field(default=None, pattern="^https?://")
    region: str | None = None
    keep: int = Field(default=30, ge=2)


Target = FolderTarget | PostgresTarget | ObjectTarget


class SparkConnect(_Strict):
    """A Spark cluster, reached over Spark Connect: the server's address, statements at a time, settings of the session.

    The server, its workers and this machine see the data folder by the same path. A token comes from the environment only.
    """

    remote: str = Field(pattern=r"^sc://[^/;\s]+$")
    threads: int = Field(default=2, ge=1, le=64)
    settings: dict[str, str] = {}


class GateCheck(_Strict):
    """What a failure of one of the gate's comparisons does: `error` stops the release, `warn` is shown."""

    severity: Literal["error", "warn"] = "warn"


class RowsCheck(GateCheck):
    """By which share rows may become fewer (`drop`) or more (`jump`; 1 = twice as many)."""

    drop: float = Field(ge=0, le=1)
    jump: float = Field(ge=0)


class MovementCheck(GateCheck):
    """How far a figure may move; what it is a share of, the check says (assets/publish/comparisons.py)."""

    tolerance: float = Field(ge=0)


class Gate(_Strict):
    """The gate's comparisons with what came before. All of them only warn unless the company says otherwise: nobody knows
    what is usual in its first weeks."""

    late_deliveries: GateCheck = GateCheck()
    quiet_sources: GateCheck = GateCheck()
    usual_rows: RowsCheck = RowsCheck(drop=0.5, jump=1.0)
    delivered_rows: RowsCheck = RowsCheck(drop=0.05, jump=0.5)
    table_rows: RowsCheck = RowsCheck(drop=0.2, jump=1.0)
    closed_months_net_revenue: MovementCheck = MovementCheck(tolerance=0.005)
    closed_months_operating_profit: MovementCheck = MovementCheck(tolerance=0.02)
    active_customers: MovementCheck = MovementCheck(tolerance=0.1)
    tier_shares: MovementCheck = MovementCheck(tolerance=0.1)
    profit_distribution: MovementCheck = MovementCheck(tolerance=0.25)

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

    memory_limit: str | None = Field(default=None, pattern=r"^[1-9][0-9]*(\.[0-9]+)? ?[KMGT]i?B$")
    threads: int | None = Field(default=None, ge=1, le=1024)

    def settings(self) -> dict[str, str]:
        """DuckDB's settings by their names, those that are given."""
        return {name: str(value) for name, value in self.model_dump(exclude_none=True).items()}


class Engine(_Strict):
    """What runs the SQL: DuckDB in the process, unless `spark` names a cluster."""

    duckdb: EmbeddedDuckDB = EmbeddedDuckDB()
    spark: SparkConnect | None = None


ALERTS = ("failed_run", "blocked_release", "late_data", "drift")
"""What somebody can be told of: a run that broke off, a release the gate refused, sources that are late, models that drift."""


class _AlertTarget(_Strict):
    on: tuple[Literal[ALERTS], ...] = Field(default=ALERTS, min_length=1)  # type: ignore[valid-type]
    language: Literal["en", "zh"] = "en"


class EmailAlert(_AlertTarget):
    """Mail to people; the server is WHALECURVE_ALERT_<NAME>_URL, smtp://user:password@host:587 or smtps://..."""

    kind: Literal["email"]
    sender: str = Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")
    to: tuple[Annotated[str, Field(pattern=r"^[^\s@<>,]+@[^\s@<>,]+$")], ...] = Field(min_length=1)


class WebhookAlert(_AlertTarget):
    """A group's robot; its address is WHALECURVE_ALERT_<NAME>_URL, and _SECRET what DingTalk and Feishu sign with."""

    kind: Literal["slack", "wecom", "dingtalk", "feishu"]


class Schedule(_Strict):
    """When the business date that has ended is run, in the company's time zone, and what becomes of sources that are late then.

    `late: run` goes on without them, `late: wait` waits for them until `wait_until`; the release names who was late.
    """

    at: datetime.time = datetime.time.fromisoformat("05:00")
    late: Literal["run", "wait"] = "run"
    wait_until: datetime.time | None = None

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

    keep: int = Field(default=30, ge=2)
    targets: dict[Name, Annotated[Target, Field(discriminator="kind")]] = {}

    @field_validator("targets")
    @classmethod
    def _not_the_release_itself(cls, value: dict[str, Target]) -> dict[str, Target]:
        if "current" in value:
            raise ValueError("a target cannot be called 'current': that is the release in the data folder")
        return value


class Report(_Strict):
    """How the pages people read are written."""

    language: Literal["en", "zh"] = "en"


class Company(_Strict):
    """The settings of one company; see companies/demo/company.yml for an example of each."""

    company: Name
    name: str = Field(min_length=1)
    base_currency: str = Field(pattern="^[A-Z]{3}$")
    timezone: str = "UTC"
    first_business_date: datetime.date
    last_business_date: datetime.date | None = None
    sources: dict[Name, Source] = Field(min_length=1)
    quarantine: Quarantine = Quarantine()
    reconciliation: dict[str, ReconciliationPolicy] = {}
    value: Value = Value()
    costing: Costing = Costing()
    credit: Credit = Credit()
    relationship: Relationship = Relationship()
    service: Service = Service()
    kpis: dict[str, FiniteFloat] = {}
    referral_sources: tuple[str, ...] = ()
    matching: Matching = Matching()
    privacy: Privacy = Privacy()
    gate: Gate = Gate()
    report: Report = Report()
    engine: Engine = Engine()
    releases: Releases = Releases()
    schedule: Schedule = Schedule()
    alerts: dict[Name, Annotated[EmailAlert | WebhookAlert, Field(discriminator="kind")]] = {}

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
    for path in _company_files(folder):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def company_hashes(folder: Path) -> dict[str, str]:
    """{"company": hash of the whole folder} and the hash of each of its files: what changed can be named."""
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _company_files(folder)
    }
    return {"company": company_hash(folder), **files}


def _company_files(folder: Path) -> list[Path]:
    parts = ("playbook.yml", "rfm.yml", "dialects/*.yml", "costing/*.csv", "customers/*.csv")
    return sorted([folder / "company.yml", *(path for part in parts for path in folder.glob(part))])
