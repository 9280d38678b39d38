"""One company's settings: `company.yml` as a model.

Everything that is one company's own is data in its folder: this file, `dialects/` and `costing/`. Nothing about one
company stands in code.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from assets.yaml_files import read_yaml, validated

RECONCILIATION_CHECKS = (
    "cost_allocation",
    "revenue",
    "cost_of_goods_sold",
    "receivables",
    "ledger_balance",
    "revenue_on_customers",
)
"""The checks of marts.reconciliation a company may set a tolerance or a severity for."""

ALWAYS_BLOCKING = ("cost_allocation", "revenue_on_customers")
"""Checks of Whalecurve's own arithmetic: no company can turn a lost cent into a warning."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(value)):
        raise ValueError("use lower-case letters, digits and underscores, starting with a letter")
    return value


Name = Annotated[str, BeforeValidator(_name)]


class Source(_Strict):
    """One system that delivers files to landing/<source>/<date>/."""

    dialect: Name


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


class Privacy(_Strict):
    """Personal columns of the contract that published tables may hold."""

    publish: tuple[Literal["customer_name"], ...] = ()


class Releases(_Strict):
    """How many releases are kept."""

    keep: int = Field(default=30, ge=2)


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
    privacy: Privacy = Privacy()
    releases: Releases = Releases()

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("is not a time zone of the IANA database, such as Asia/Shanghai") from None
        return value

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
    """Hash of everything the company folder says (settings, dialects, costing rules): part of a release's manifest."""
    digest = hashlib.sha256()
    for path in sorted([folder / "company.yml", *folder.glob("dialects/*.yml"), *folder.glob("costing/*.csv")]):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
