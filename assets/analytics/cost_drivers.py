"""Which driver moves a cost pool: a straight line through its months for every driver the company counts.

Belongs here: regression of cost on driver quantity, and what behaviour it suggests. Not here: applying it. A suggestion is
shown with its R2 and its interval, and a person writes the rule (costing/pools.csv, costing/behaviours.csv).
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from assets.analytics.history import month_number

FEWEST_MONTHS = 12
"""With fewer months no behaviour is suggested, and no driver is ranked."""

CONFIDENCE = 0.95

ALL_VARIABLE = 0.90
"""From this share of the cost on, a pool whose fixed part could be nothing is called variable."""

LINE = "line"
FEW_MONTHS = "few_months"
CONSTANT_DRIVER = "constant_driver"
CONSTANT_COST = "constant_cost"

COLUMNS = (
    "pool_id",
    "pool_name",
    "driver_id",
    "driver_unit",
    "as_of_date",
    "is_declared",
    "status",
    "months",
    "fixed_amount",
    "variable_rate",
    "rate_low",
    "rate_high",
    "r_squared",
    "correlation",
    "p_value",
    "driver_rank",
    "best_driver_id",
    "is_declared_best",
    "declared_behaviour",
    "suggested_behaviour",
    "explanation",
)


class Regression(NamedTuple):
    """cost = intercept + slope * quantity by least squares over `months` months; bounds of the slope at 95 %."""

    months: int
    intercept: float
    slope: float
    low: float
    high: float
    correlation: float
    p_value: float
    intercept_low: float
    intercept_high: float

    @property
    def r_squared(self) -> float:
        return self.correlation**2


def analyse(costs: pd.DataFrame, quantities: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """One row per pool and candidate driver, over the complete months up to `as_of`.

    `costs` has one row per pool and month: month, pool_id, pool_name, behaviour, driver_id (the declared ones; None for a
    pool without driver), cost (base currency, cost +). `quantities` has one row per driver and month: month, driver_id,
    driver_unit, quantity (driver units). A month without a row after a driver's first one has quantity 0; months before
    it are not known, and left out.

    - status: 'line', or why there is none: 'few_months' (less than 12), 'constant_driver', 'constant_cost'.
    - fixed_amount, variable_rate: intercept and slope by ordinary least squares, base currency per month and per driver
      unit; rate_low, rate_high: 95 % interval of the slope (Student's t); p_value of the slope, two-sided.
    - r_squared: share of the ups and downs of the cost that the driver explains; correlation: with its sign.
    - driver_rank: 1 = largest R2 among the drivers of the pool with a line that rises; falling ones come last.
    - is_declared: the driver the rules divide the pool by; is_declared_best: whether that one has rank 1, null where the
      pool declares none or cannot be ranked.
    - suggested_behaviour: of the best driver's row and of the declared one's. 'fixed' where the slope may be 0;
      'variable' where the fixed part may be 0 and is less than 10 % of the cost; else 'mixed': fixed_amount is what
      behaviours.csv may call fixed. Null for less than 12 months. Never applied by itself.

    What moves together in time (growth, seasons) correlates without causing: a rank is a question, not an answer.
    """
    months = pd.to_datetime(costs["month"]).dt.normalize()
    complete = (months + pd.offsets.MonthEnd(1) <= pd.Timestamp(as_of)).to_numpy()
    known = costs.assign(
        number=month_number(months), amount=pd.to_numeric(costs["cost"]).astype("float64"), pool_id=costs["pool_id"]
    )[complete]
    known = known[np.isfinite(known["amount"])].sort_values(["pool_id", "number"])
    counted = _counted(quantities, known["number"].max() if len(known) else 0)
    rows: list[dict[str, Any]] = []
    for _, pool in known.groupby("pool_id", sort=True):
        rows += _analyse_pool(pool, counted, as_of)
    return pd.DataFrame([[row[column] for column in COLUMNS] for row in rows], columns=list(COLUMNS), dtype="object")


def regress(quantities: np.ndarray, costs: np.ndarray) -> Regression:
    """Ordinary least squares of cost on quantity, n >= 3 each, neither of them constant.

    Raises ValueError for fewer points or a constant.
    """
    count = len(costs)
    if count < 3 or np.ptp(quantities) == 0 or np.ptp(costs) == 0:
        raise ValueError("a line needs three points, and neither its quantities nor its costs may be all alike.")
    x, y = quantities - quantities.mean(), costs - costs.mean()
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    slope = xy / xx
    intercept = float(costs.mean() - slope * quantities.mean())
    correlation = float(np.clip(xy / np.sqrt(xx * yy), -1.0, 1.0))
    error = np.sqrt(max(0.0, yy * (1 - correlation**2)) / (count - 2))
    width = float(stdtrit(count - 2, (1 + CONFIDENCE) / 2))
    slope_error = error / np.sqrt(xx)
    intercept_error = error * np.sqrt(1 / count + float(quantities.mean()) ** 2 / xx)
    p_value = float(2 * stdtr(count - 2, -abs(slope) / slope_error)) if slope_error > 0 else 0.0
    return Regression(
        count,
        intercept,
        slope,
        float(slope - width * slope_error),
        float(slope + width * slope_error),
        correlation,
        p_value,
        float(intercept - width * intercept_error),
        float(intercept + width * intercept_error),
    )


def _counted(quantities: pd.DataFrame, last_month: int) -> dict[str, tuple[str, pd.Series]]:
    """Driver -> unit and quantity by month number, from the driver's first month to `last_month` without gaps."""
    counted = {}
    for driver_id, rows in quantities.groupby("driver_id", sort=True):
        by_month = (
            pd.to_numeric(rows["quantity"])
            .astype("float64")
            .groupby(month_number(rows["month"]).to_numpy())
            .sum()
        )  # fmt: skip
        first = int(by_month.index.min())
        filled = by_month.reindex(range(first, max(first, int(last_month)) + 1), fill_value=0.0)
        counted[str(driver_id)] = (str(rows["driver_unit"].iloc[0]), filled)
    return counted


def _analyse_pool(
    pool: pd.DataFrame, counted: dict[str, tuple[str, pd.Series]], as_of: datetime.date
) -> list[dict[str, Any]]:
    latest = pool.iloc[-1]
    declared = str(latest["driver_id"]) if pd.notna(latest["driver_id"]) else None
    costs = pool.groupby("number")["amount"].sum()
    rows = []
    lines: dict[str, Regression] = {}
    for driver_id, (unit, quantities) in counted.items():
        both = costs.index.intersection(quantities.index)
        x, y = quantities.loc[both].to_numpy(), costs.loc[both].to_numpy()
        row: dict[str, Any] = {
            **dict.fromkeys(COLUMNS),
            "pool_id": latest["pool_id"],
            "pool_name": latest["pool_name"],
            "driver_id": driver_id,
            "driver_unit": unit,
            "as_of_date": as_of,
            "is_declared": driver_id == declared,
            "status": LINE,
            "months": len(both),
            "declared_behaviour": latest["behaviour"] if pd.notna(latest["behaviour"]) else None,
        }
        if len(both) < FEWEST_MONTHS:
            row["status"] = FEW_MONTHS
        elif np.ptp(y) == 0:
            # What never changed is fixed, whatever the driver did.
            row |= {"status": CONSTANT_COST, "fixed_amount": round(float(y[0]), 2), "suggested_behaviour": "fixed"}
        elif np.ptp(x) == 0:
            row["status"] = CONSTANT_DRIVER
        else:
            line = lines[driver_id] = regress(x, y)
            row |= {
                "fixed_amount": round(line.intercept, 2),
                "variable_rate": _six_digits(line.slope),
                "rate_low": _six_digits(line.low),
                "rate_high": _six_digits(line.high),
                "r_squared": round(line.r_squared, 6),
                "correlation": round(line.correlation, 6),
                "p_value": _six_digits(line.p_value),
            }
        rows.append(row)
    ranked = sorted(lines, key=lambda name: (lines[name].slope <= 0, -round(lines[name].r_squared, 6), name))
    best = ranked[0] if ranked else None
    average = float(costs.mean())
    for row in rows:
        if row["driver_id"] in lines:
            row["driver_rank"] = ranked.index(row["driver_id"]) + 1
            if row["driver_id"] in (best, declared):
                row["suggested_behaviour"] = _behaviour(lines[row["driver_id"]], average)
        row["best_driver_id"] = best
        row["is_declared_best"] = None if best is None or declared is None else best == declared
        row["explanation"] = _explain(row, len(ranked))
    return rows


def _behaviour(line: Regression, average: float) -> str:
    if line.low <= 0:
        return "fixed"
    if line.intercept_low <= 0 and line.intercept <= (1 - ALL_VARIABLE) * abs(average):
        return "variable"
    return "mixed"


def _six_digits(value: float) -> float:
    """Far below what the data can say, and the same on every machine."""
    return float(f"{value:.6g}")


def _explain(row: dict[str, Any], ranked: int) -> str:
    name = row["pool_name"]
    if row["status"] == FEW_MONTHS:
        return (
            f"{name}: {row['months']} months with {row['driver_id']} known; {FEWEST_MONTHS} are needed to say anything."
        )
    if row["status"] == CONSTANT_COST:
        return f"{name} cost {row['fixed_amount']:,.2f} in each of {row['months']} months: fixed, whatever the driver."
    if row["status"] == CONSTANT_DRIVER:
        return f"{name}: {row['driver_id']} was the same in all {row['months']} months, so it cannot explain what the pool cost."
    said = (
        f"{row['driver_id']} explains {row['r_squared']:.0%} of the ups and downs of {name} in {row['months']} months: "
        f"{row['fixed_amount']:,.2f} a month and {row['variable_rate']:,.4g} per {row['driver_unit']} "
        f"(95 %: {row['rate_low']:,.4g} to {row['rate_high']:,.4g}). Rank {row['driver_rank']} of {ranked}"
    )
    if row["is_declared"]:
        said += (
            ", the declared driver"
            if row["is_declared_best"]
            else f", the declared driver; {row['best_driver_id']} fits better"
        )
    said += "."
    suggested = row["suggested_behaviour"]
    if suggested == "mixed":
        said += f" Part fixed, part variable: {row['fixed_amount']:,.2f} a month may be called fixed in behaviours.csv."
    elif suggested == "fixed":
        fell = row["rate_high"] < 0
        said += " Cost fell as the driver rose, which no driver causes" if fell else " The slope may be nothing"
        said += ": fixed."
    elif suggested == "variable":
        said += " The fixed part may be nothing: variable."
    return said
