"""Which months of a cost pool cost more, or less, than its own past says: the flexible-budget residual, tested.

Belongs here: what a pool should have cost at the driver quantity it served, and how unusual the difference is. Not here:
budget variances (dbt_project/models/marts/pool_variances.sql), and which driver moves a pool (`cost_drivers`).

Every month is judged with what was known at its end, so a verdict does not change when later months arrive.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr

from assets.analytics.history import month_number

MODIFIED_Z = "modified_z"
XMR_MEDIAN = "xmr_median"
SEASONAL = "seasonal_difference"
BUDGET = "budget_tolerance"
TOO_SHORT = "too_short"

THRESHOLDS = {MODIFIED_Z: 3.5, XMR_MEDIAN: 3.145, SEASONAL: 3.5, BUDGET: 0.10}
"""Score above which a month is unusual. Modified z: Iglewicz and Hoaglin (1993). XmR on the median moving range: 3.145
(Wheeler); on the mean one old outlier would hide every later one. Budget: share of the budget."""

FEWEST_MONTHS = 12
"""With fewer earlier months there is no telling noise from change: only the budget can say something."""

MODIFIED_Z_MONTHS = 24
SEASONAL_MONTHS = 36
SEASON = 12

MOST_MONTHS = 48
"""Older months are another price level."""

FALSE_DISCOVERY_RATE = 0.10
"""Of the months called anomalies at most this share is expected to be none (Benjamini and Hochberg 1995)."""

MATERIALITY_SHARE = 0.005
"""Unless the company says otherwise, money counts from this share of what all pools cost in a month."""

SMALLEST_SCALE = 0.001
"""No spread is taken to be smaller than this share of the expected cost: a rent that was always the same to the cent
would make any other cent infinitely unusual."""

MIX_SIGNIFICANCE = 0.05

NORMAL_MAD = 0.6745
"""Median absolute deviation of a normal distribution of standard deviation 1."""

COLUMNS = (
    "month",
    "as_of_date",
    "pool_id",
    "pool_name",
    "method",
    "months_known",
    "actual_amount",
    "driver_quantity",
    "fixed_amount",
    "variable_rate",
    "expected_amount",
    "residual_amount",
    "score",
    "threshold",
    "p_value",
    "q_value",
    "materiality",
    "is_signal",
    "is_anomaly",
    "money_rank",
    "rate",
    "expected_rate",
    "rate_score",
    "is_rate_anomaly",
    "mix_part",
    "mix_share",
    "expected_mix_share",
    "mix_score",
    "is_mix_anomaly",
    "explanation",
)


class Line(NamedTuple):
    """Cost = fixed + rate * quantity; rate is 0 where nothing is known to move the cost."""

    fixed: float
    rate: float


class Verdict(NamedTuple):
    """How far a value lies from those before it. `centre` is what was expected of it; `p_value` is two-sided."""

    method: str
    score: float
    threshold: float
    p_value: float
    centre: float

    @property
    def is_signal(self) -> bool:
        return self.score > self.threshold


def judge(
    costs: pd.DataFrame,
    as_of: datetime.date,
    *,
    parts: pd.DataFrame | None = None,
    materiality: float | None = None,
) -> pd.DataFrame:
    """One row per pool and complete month up to `as_of`: expected cost, residual and whether it is an anomaly.

    `costs` has one row per pool and month: month (first day), pool_id, pool_name, cost (base currency, cost +),
    driver_id, driver_unit, driver_quantity (driver units; all three None for a pool without driver) and budget_amount
    (None when nothing was budgeted). `parts`, if given, says what the cost is made of: month, pool_id, part (account
    or behaviour), amount. `materiality` is the smallest residual worth a look, in base currency; without it, 0.5 % of
    what all pools cost in a middling month of the last twelve.

    - months_known: earlier months of the pool with the same driver, 48 at most.
    - fixed_amount, variable_rate: line through those months, slope the median of all pairwise slopes (Theil 1950,
      Sen 1968), never below 0, level the median: one old outlier moves neither. Null where only a budget is known.
    - expected_amount, residual_amount: the line at this month's quantity, and actual less expected; + is too much.
    - method, score, threshold: modified z from 24 earlier months on; XmR with median moving range from 12 on; less
      than 12: |residual| / budget against 10 %, or 'too_short' without a budget. From 36 on, where the residuals
      repeat the year before, their difference from it.
    - p_value: Student's t with a quarter of the earlier months as degrees of freedom, which is what a median of so
      few is worth; checked by simulation. q_value: Benjamini-Hochberg over all pools of the month.
    - is_signal: score > threshold. is_anomaly: also residual >= materiality and q_value <= 10 % (a budget knows no q).
    - money_rank: 1 = largest residual of the month, anomalies first.
    - rate..., mix...: the same tests on cost per driver unit, and on the part whose share of the cost moved most. They
      stand beside is_anomaly: a rate moves with volume wherever cost is fixed.

    Raises ValueError when a pool has two rows for a month.
    """
    known = _known(costs, as_of)
    if known.duplicated(["pool_id", "month"]).any():
        twice = known[known.duplicated(["pool_id", "month"])].iloc[0]
        raise ValueError(
            f"pool '{twice['pool_id']}' has two rows for {twice['month']:%Y-%m}; give one cost per pool and month."
        )
    floors = _materiality(known, materiality)
    rows: list[dict[str, Any]] = []
    for pool_id, pool in known.groupby("pool_id", sort=True):
        mix = _Mix(parts, str(pool_id))
        for position in range(len(pool)):
            month = pool.iloc[position]
            rows.append(_judge_month(pool.iloc[: position + 1], floors[month["number"]], mix))
    _compare_pools(rows)
    for row in rows:
        row["as_of_date"] = as_of
        row["explanation"] = _explain(row)
    rows.sort(key=lambda row: (row["month"], row["money_rank"]))
    # Objects, so that what is not known stays None and never becomes NaN.
    return pd.DataFrame([[row[column] for column in COLUMNS] for row in rows], columns=list(COLUMNS), dtype="object")


def robust_line(quantities: np.ndarray, costs: np.ndarray) -> Line:
    """Theil-Sen line through (quantity, cost), n each: the median of the slopes of all pairs, not below 0, and the
    median of what is left. Without two different quantities the slope is 0."""
    first, second = np.triu_indices(len(costs), 1)
    steps = quantities[second] - quantities[first]
    moved = steps != 0
    rate = 0.0
    if moved.any():
        rate = max(0.0, float(np.median((costs[second] - costs[first])[moved] / steps[moved])))
    return Line(float(np.median(costs - rate * quantities)), rate)


def surprise(value: float, earlier: np.ndarray, *, smallest_scale: float, method: str | None = None) -> Verdict:
    """How unusual `value` is after `earlier` (oldest first, 12 or more): modified z from 24 on, else XmR on the median
    moving range, unless `method` says which. `smallest_scale` is the least standard deviation believed in."""
    method = method or (MODIFIED_Z if len(earlier) >= MODIFIED_Z_MONTHS else XMR_MEDIAN)
    threshold = THRESHOLDS[method]
    centre = float(np.median(earlier))
    if method == XMR_MEDIAN:
        moves = np.abs(np.diff(earlier))
        # Half the moves nothing: the mean range still tells something; its limits lie 2.66 of it away.
        limit = threshold * float(np.median(moves)) or 2.66 * float(np.mean(moves))
        deviations = abs(value - centre) / max(limit / 3, smallest_scale)
        score = deviations * threshold / 3
    else:
        distances = np.abs(earlier - centre)
        sigma = float(np.median(distances)) / NORMAL_MAD or float(np.mean(distances)) * 1.2533
        deviations = score = abs(value - centre) / max(sigma, smallest_scale)
    p_value = float(2 * stdtr(len(earlier) / 4, -deviations))
    return Verdict(method, float(score), threshold, p_value, centre)


def benjamini_hochberg(p_values: list[float]) -> list[float]:
    """q-values in the order given: the false discovery rate at which each would just be called an anomaly."""
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index])
    q_values = [0.0] * count
    smallest = 1.0
    for rank in range(count, 0, -1):
        index = order[rank - 1]
        smallest = min(smallest, p_values[index] * count / rank)
        q_values[index] = smallest
    return q_values


def _known(costs: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """Complete months only: half a month is no month with half the cost, whatever its driver says."""
    months = pd.to_datetime(costs["month"]).dt.normalize()
    known = pd.DataFrame(
        {
            "month": months,
            "number": month_number(months),
            "pool_id": costs["pool_id"].astype("str"),
            "pool_name": costs["pool_name"],
            "driver_id": costs["driver_id"],
            "driver_unit": costs["driver_unit"],
            "cost": pd.to_numeric(costs["cost"]).astype("float64"),
            "quantity": pd.to_numeric(costs["driver_quantity"]).astype("float64"),
            "budget": pd.to_numeric(costs["budget_amount"]).astype("float64"),
        }
    )
    complete = months + pd.offsets.MonthEnd(1) <= pd.Timestamp(as_of)
    usable = complete & np.isfinite(known["cost"])
    return known[usable].sort_values(["pool_id", "month"]).reset_index(drop=True)


def _materiality(known: pd.DataFrame, given: float | None) -> dict[int, float]:
    totals = known.groupby("number")["cost"].sum().sort_index()
    if given is not None:
        return dict.fromkeys(totals.index, float(given))
    return {
        number: round(MATERIALITY_SHARE * abs(float(totals[(totals.index > number - 12) & (totals.index <= number)].median())), 2)
        for number in totals.index
    }  # fmt: skip


def _judge_month(pool: pd.DataFrame, materiality: float, mix: _Mix) -> dict[str, Any]:
    """The last month of `pool`, judged by the ones before it."""
    month = pool.iloc[-1]
    same_driver = pool["driver_id"].eq(month["driver_id"]) | (pool["driver_id"].isna() & pd.isna(month["driver_id"]))
    earlier = pool[same_driver].iloc[:-1].tail(MOST_MONTHS)
    has_driver = bool(pd.notna(month["driver_id"]) and np.isfinite(month["quantity"]))
    if has_driver:
        earlier = earlier[np.isfinite(earlier["quantity"])]
    cost, quantity = float(month["cost"]), float(month["quantity"]) if has_driver else 0.0
    row: dict[str, Any] = {
        **dict.fromkeys(COLUMNS),
        "month": month["month"].date(),
        "pool_id": month["pool_id"],
        "pool_name": month["pool_name"],
        "months_known": len(earlier),
        "actual_amount": round(cost, 2),
        "driver_quantity": quantity if has_driver else None,
        "driver_unit": month["driver_unit"] if has_driver else None,
        "materiality": materiality,
        "is_signal": False,
        "is_rate_anomaly": False,
        "is_mix_anomaly": False,
    }
    if len(earlier) < FEWEST_MONTHS:
        return row | _against_budget(cost, float(month["budget"]))

    quantities = earlier["quantity"].to_numpy() if has_driver else np.zeros(len(earlier))
    line = robust_line(quantities, earlier["cost"].to_numpy())
    expected = line.fixed + line.rate * quantity
    residuals = earlier["cost"].to_numpy() - line.fixed - line.rate * quantities
    smallest_scale = max(0.01, SMALLEST_SCALE * abs(expected))
    verdict = _seasonal(earlier["number"].to_numpy(), residuals, int(month["number"]), cost - expected, smallest_scale)
    if verdict is None:
        verdict = surprise(cost - expected, residuals, smallest_scale=smallest_scale)
    row |= {
        "method": verdict.method,
        "fixed_amount": round(line.fixed, 2),
        "variable_rate": line.rate if has_driver else None,
        "expected_amount": round(expected + verdict.centre, 2),
        "residual_amount": round(row["actual_amount"] - round(expected + verdict.centre, 2), 2),
        "score": verdict.score,
        "threshold": verdict.threshold,
        "p_value": verdict.p_value,
        "is_signal": verdict.is_signal,
    }
    if has_driver:
        row |= _rate(earlier, cost, quantity, materiality)
    return row | mix.judged(earlier["number"].to_numpy(), int(month["number"]), materiality)


def _against_budget(cost: float, budget: float) -> dict[str, Any]:
    if not np.isfinite(budget) or budget == 0:
        return {"method": TOO_SHORT}
    score = abs(cost - budget) / abs(budget)
    return {
        "method": BUDGET,
        "expected_amount": round(budget, 2),
        "residual_amount": round(cost - budget, 2),
        "score": score,
        "threshold": THRESHOLDS[BUDGET],
        "is_signal": score > THRESHOLDS[BUDGET],
    }


def _seasonal(
    numbers: np.ndarray, residuals: np.ndarray, number: int, residual: float, smallest_scale: float
) -> Verdict | None:
    """The residual less that of a year ago, where three years say that the years are alike; else None.

    Only then: the difference of two months is noisier than one, and costs half the power where there is no season.
    """
    if len(residuals) < SEASONAL_MONTHS:
        return None
    by_month = dict(zip(numbers.tolist(), residuals.tolist(), strict=True))
    pairs = [(by_month[n - SEASON], by_month[n]) for n in by_month if n - SEASON in by_month]
    if number - SEASON not in by_month or len(pairs) < SEASONAL_MONTHS - SEASON:
        return None
    before, after = (np.array(side) for side in zip(*pairs, strict=True))
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return None
    # Rank correlation at a lag of a year, 1 % one-sided: one outlier makes no season.
    likeness = pd.Series(before).rank().corr(pd.Series(after).rank())
    if likeness * np.sqrt(len(pairs) - 1) < 2.326:
        return None
    verdict = surprise(
        residual - by_month[number - SEASON], after - before, smallest_scale=smallest_scale, method=SEASONAL
    )
    return verdict._replace(centre=verdict.centre + by_month[number - SEASON])


def _rate(earlier: pd.DataFrame, cost: float, quantity: float, materiality: float) -> dict[str, Any]:
    used = earlier[earlier["quantity"] > 0]
    if quantity <= 0 or len(used) < FEWEST_MONTHS:
        return {}
    rates = (used["cost"] / used["quantity"]).to_numpy()
    rate = cost / quantity
    verdict = surprise(rate, rates, smallest_scale=max(1e-9, SMALLEST_SCALE * abs(float(np.median(rates)))))
    return {
        "rate": rate,
        "expected_rate": verdict.centre,
        "rate_score": verdict.score,
        "is_rate_anomaly": verdict.is_signal and abs(rate - verdict.centre) * quantity >= materiality,
    }


class _Mix:
    """What the cost of one pool is made of, month by month: shares of the whole, one column per part."""

    def __init__(self, parts: pd.DataFrame | None, pool_id: str) -> None:
        self.shares = pd.DataFrame()
        self.totals = pd.Series(dtype="float64")
        if parts is None:
            return
        own = parts[parts["pool_id"] == pool_id]
        if own.empty:
            return
        amounts = pd.DataFrame(
            {
                "number": month_number(own["month"]),
                "part": own["part"].astype("str"),
                "amount": pd.to_numeric(own["amount"]).astype("float64"),
            }
        ).pivot_table(index="number", columns="part", values="amount", aggfunc="sum", fill_value=0.0)
        totals = amounts.sum(axis=1)
        self.totals = totals[totals > 0]
        self.shares = amounts.loc[self.totals.index].div(self.totals, axis=0)

    def judged(self, numbers: np.ndarray, number: int, materiality: float) -> dict[str, Any]:
        """The part whose share of the month's cost moved most from what it was; nothing where there is one part.

        It is the largest of k moves: its p-value is taken k-fold (Bonferroni).
        """
        if number not in self.shares.index:
            return {}
        earlier = self.shares[self.shares.index.isin(numbers)].to_numpy()
        now = self.shares.loc[[number]].to_numpy()[0]
        count = int(((earlier != 0).any(axis=0) | (now != 0)).sum()) if len(earlier) else 0
        if len(earlier) < FEWEST_MONTHS or count < 2:
            return {}
        growth = np.round(now - np.median(earlier, axis=0), 9)
        # Of two parts that trade places, the one that grew.
        moved = max(range(len(growth)), key=lambda part: (abs(growth[part]), growth[part]))
        verdict = surprise(float(now[moved]), earlier[:, moved], smallest_scale=SMALLEST_SCALE)
        money = abs(float(now[moved]) - verdict.centre) * float(self.totals[number])
        return {
            "mix_part": str(self.shares.columns[moved]),
            "mix_share": float(now[moved]),
            "expected_mix_share": verdict.centre,
            "mix_score": verdict.score,
            "is_mix_anomaly": bool(
                verdict.is_signal and verdict.p_value * count <= MIX_SIGNIFICANCE and money >= materiality
            ),
        }


def _compare_pools(rows: list[dict[str, Any]]) -> None:
    """What only the other pools of the month can tell: q-values, the verdict, and the rank by money."""
    for month in _by_month(rows):
        tested = [row for row in month if row["p_value"] is not None]
        for row, q_value in zip(tested, benjamini_hochberg([row["p_value"] for row in tested]), strict=True):
            row["q_value"] = q_value
        for row in month:
            row["is_anomaly"] = bool(
                row["is_signal"]
                and abs(row["residual_amount"]) >= row["materiality"]
                and (row["q_value"] is None or row["q_value"] <= FALSE_DISCOVERY_RATE)
            )
            for column in ("score", "p_value", "q_value", "rate", "expected_rate", "rate_score", "mix_score", "mix_share",
                           "expected_mix_share", "variable_rate"):  # fmt: skip
                # Six digits: far below what the data can say, and the same on every machine.
                row[column] = None if row[column] is None else float(f"{row[column]:.6g}")
        ranked = sorted(
            month, key=lambda row: (not row["is_anomaly"], -abs(row["residual_amount"] or 0), row["pool_id"])
        )
        for rank, row in enumerate(ranked, start=1):
            row["money_rank"] = rank


def _by_month(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    months: dict[datetime.date, list[dict[str, Any]]] = {}
    for row in rows:
        months.setdefault(row["month"], []).append(row)
    yield from months.values()


def _explain(row: dict[str, Any]) -> str:
    """What a controller can redo: what was expected and why, what came, and what the test says of the difference."""
    said = f"{row['pool_name']} cost {row['actual_amount']:,.2f} in {row['month']:%Y-%m}"
    if row["method"] == TOO_SHORT:
        return f"{said}; {row['months_known']} earlier months are too few to judge it by, and nothing was budgeted."
    residual = row["residual_amount"]
    direction = f"{abs(residual):,.2f} {'more' if residual >= 0 else 'less'}"
    if row["method"] == BUDGET:
        said += (
            f", {direction} than the budget of {row['expected_amount']:,.2f}: {row['score']:.1%}, with {row['threshold']:.0%} "
            f"tolerated. {row['months_known']} earlier months are too few for a test."
        )
    else:
        basis = f"{row['months_known']} earlier months"
        if row["variable_rate"]:
            basis = (
                f"{row['fixed_amount']:,.2f} + {row['variable_rate']:,.4g} for each of {row['driver_quantity']:,.6g} "
                f"({row['driver_unit']}), by {basis}"
            )
        if row["method"] == SEASONAL:
            basis += ", and by the same month of the year before"
        said += (
            f", {direction} than the expected {row['expected_amount']:,.2f} ({basis}). {row['method']} {row['score']:.2f}, "
            f"unusual above {row['threshold']:g}; q {row['q_value']:.2g}."
        )
    if row["is_anomaly"]:
        said += " An anomaly."
    elif row["is_signal"] and abs(residual) < row["materiality"]:
        said += f" Unusual, but less than the {row['materiality']:,.2f} that matter."
    elif row["is_signal"]:
        said += " Unusual, but among so many pools it may be chance."
    if row["is_mix_anomaly"]:
        said += f" Its mix changed: {row['mix_part']} is {row['mix_share']:.1%} of it, {row['expected_mix_share']:.1%} as a rule."
    return said
