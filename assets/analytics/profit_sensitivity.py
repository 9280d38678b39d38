"""How sure a customer's profit is: under each way to charge service pools, and when the rates of pools are wrong.

Belongs here: the profits side by side, and the probability of a loss under errors of rates. Not here: the methods
themselves (`assets/costing`), nor errors of revenue or of driver quantities, which are counted and not estimated.

Money columns are floats rounded to four decimals; the warehouse stores them as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime
import math
import zlib

import numpy as np
import pandas as pd

from assets.analytics.history import as_of_column

NOT_A_CUSTOMER = "UNMATCHED"

METHODS = ("direct", "step_down", "reciprocal")
"""How service pools can be charged; the columns cost_<method> of `PROFITS`."""

PROFITS = f"""
    with posted as (
        select
            profits.customer_id,
            sum(profits.operating_profit) as profit,
            sum(
                profits.direct_cost_to_serve + profits.activity_cost_variable + profits.activity_cost_step_fixed
                + profits.activity_cost_fixed + profits.allocated_sustaining
            ) as posted_cost
        from marts.customer_profitability as profits
        inner join facts.as_of as as_of
            on profits.month > as_of.as_of_month - interval 12 month and profits.month <= as_of.as_of_month
        where profits.customer_id <> '{NOT_A_CUSTOMER}'
        group by profits.customer_id
    ),

    by_method as (
        select
            costs.customer_id,
            sum(costs.amount_cents) filter (where costs.method = 'direct') as direct_cents,
            sum(costs.amount_cents) filter (where costs.method = 'step_down') as step_down_cents,
            sum(costs.amount_cents) filter (where costs.method = 'reciprocal') as reciprocal_cents
        from costing.method_costs as costs
        inner join facts.as_of as as_of
            on costs.month > as_of.as_of_month - interval 12 month and costs.month <= as_of.as_of_month
        group by costs.customer_id
    )

    select
        posted.customer_id,
        cast(posted.profit as double) as profit,
        cast(posted.posted_cost as double) as posted_cost,
        cast(by_method.direct_cents as double) / 100 as cost_direct,
        cast(by_method.step_down_cents as double) / 100 as cost_step_down,
        cast(by_method.reciprocal_cents as double) / 100 as cost_reciprocal
    from posted
    left join by_method on posted.customer_id = by_method.customer_id
    order by posted.customer_id
"""
"""One row per customer with sales or cost in the last 12 months as of: profit, the cost that is posted, and the same cost under
each method, base currency."""

RATED_COSTS = f"""
    pivot (
        select lines.customer_id, lines.pool_id, cast(lines.amount as double) as amount
        from marts.customer_cost_lines as lines
        inner join facts.as_of as as_of
            on lines.month > as_of.as_of_month - interval 12 month and lines.month <= as_of.as_of_month
        where lines.driver_id is not null and lines.customer_id <> '{NOT_A_CUSTOMER}'
    )
    on pool_id
    using sum(amount)
    group by customer_id
    order by customer_id
"""
"""One row per customer and one column per pool that is divided by a driver: its cost on the customer in the last 12 months."""

RATE_ERRORS = (0.25, 0.50)

DRAWS = 10_000

SEED = 20_041_101
"""Any number would do; it never changes, so that a rerun says the same."""

_CELLS_AT_ONCE = 8_000_000
"""Profits held in memory at a time: 64 MB."""

_NOTHING = 0.00005
"""Half of the last decimal of money: what sums of floats are off is no loss."""

MONEY = "DECIMAL(22,4)"

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "profit": MONEY,
    "profit_direct": MONEY,
    "profit_step_down": MONEY,
    "profit_reciprocal": MONEY,
    "lowest_profit": MONEY,
    "highest_profit": MONEY,
    "is_sign_stable": "BOOLEAN",
    "rated_cost": MONEY,
    "loss_probability_25": "DOUBLE",
    "loss_probability_25_error": "DOUBLE",
    "loss_probability_50": "DOUBLE",
    "loss_probability_50_error": "DOUBLE",
    "draws": "INTEGER",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)


def assess(
    profits: pd.DataFrame, rated_costs: pd.DataFrame, as_of: datetime.date, *, draws: int = DRAWS, seed: int = SEED
) -> pd.DataFrame:
    """One row per customer of `profits`, ordered by customer.

    `profits` has one row per customer, sums of 12 months in base currency: customer_id, profit, posted_cost, and cost_direct,
    cost_step_down, cost_reciprocal (what the customer would bear of the same cost under each method; a method without any
    amount was not computed and stands as posted). `rated_costs` has one row per customer and, beside customer_id, one column
    per pool: the part of posted_cost that is a rate times a driver quantity; missing = 0, and so are missing customers.

    - profit_<method>: profit + posted_cost - cost_<method>.
    - lowest_profit, highest_profit: of the profit as posted and under the three methods.
    - is_sign_stable: whether all of them are losses, or none is.
    - rated_cost: what the errors apply to.
    - loss_probability_25, _50: see `loss_probability`, with errors of 0.25 and 0.50; _error: its standard error.
    - draws: the draws it was made of.

    Raises ValueError when `draws` is below 1.
    """
    profits = profits[profits["customer_id"].notna()].sort_values("customer_id").reset_index(drop=True)
    posted_profit, posted_cost = _amounts(profits["profit"]), _amounts(profits["posted_cost"])
    by_method = {}
    for method in METHODS:
        known = profits[f"cost_{method}"].notna().any()
        cost = _amounts(profits[f"cost_{method}"]) if known else posted_cost
        by_method[method] = (posted_profit + posted_cost - cost).round(4)
    all_profits = np.column_stack([posted_profit.round(4), *by_method.values()])
    losses = (all_profits < 0).sum(axis=1)

    pools = sorted(name for name in rated_costs.columns if name != "customer_id")
    costs = rated_costs.set_index("customer_id")[pools].reindex(profits["customer_id"])
    matrix = np.nan_to_num(costs.to_numpy(dtype="float64"), nan=0.0, posinf=0.0, neginf=0.0)
    probability = {
        error: loss_probability(posted_profit, matrix, pools, rate_error=error, draws=draws, seed=seed)
        for error in RATE_ERRORS
    }
    rows = len(profits)
    return pd.DataFrame(
        {
            "customer_id": profits["customer_id"].astype("str"),
            "as_of_date": as_of_column(as_of, rows),
            "profit": all_profits[:, 0],
            **{f"profit_{method}": amounts for method, amounts in by_method.items()},
            "lowest_profit": all_profits.min(axis=1),
            "highest_profit": all_profits.max(axis=1),
            "is_sign_stable": (losses == 0) | (losses == all_profits.shape[1]),
            "rated_cost": matrix.sum(axis=1).round(4),
            "loss_probability_25": probability[0.25],
            "loss_probability_25_error": standard_error(probability[0.25], draws),
            "loss_probability_50": probability[0.50],
            "loss_probability_50_error": standard_error(probability[0.50], draws),
            "draws": np.full(rows, draws, dtype="int64"),
        },
        columns=list(COLUMNS),
    )


def loss_probability(
    profit: np.ndarray, costs: np.ndarray, pools: list[str], *, rate_error: float, draws: int = DRAWS, seed: int = SEED
) -> np.ndarray:
    """Probability, 0 to 1, that each customer's profit is below zero when the rates of pools are wrong; Monte Carlo.

    `profit` (customers) as posted and `costs` (customers x pools) are in base currency, `pools` names the columns. In each draw
    one factor per pool multiplies its cost on every customer, since customers share the rate: a rate that is too high for one is
    too high for all. Factors are independent between pools and log-normal with mean 1, so that no rate becomes negative and
    expected profit stays what is posted; `rate_error` is the standard deviation of their logarithm, which for small errors is
    the relative error (0.25: coefficient of variation 25.4 %; 0.50: 53.3 %). Read so, five customers of a textbook come out
    as published: an error of 0.25 makes 0.1 % and 100 %, of 0.50 4 %, 2.9 % and 98.5 % (see the tests).

    A pool's factors depend on the seed and its name only, so that another pool or another order of pools changes nothing.
    Memory: customers x pools, and about 100 MB more whatever their number.

    Raises ValueError when `draws` is below 1 or `rate_error` is below 0 or not finite.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; give a whole number from 1.")
    if not (math.isfinite(rate_error) and rate_error >= 0):
        raise ValueError(f"rate_error is {rate_error}; give a share of 0 or more, such as 0.25 for 25 %.")
    factors = np.empty((len(pools), draws))
    for number, pool in enumerate(pools):
        generator = np.random.default_rng([seed, zlib.crc32(pool.encode())])
        factors[number] = np.exp(rate_error * generator.standard_normal(draws) - rate_error**2 / 2)
    before = profit + costs.sum(axis=1)
    lowest, highest = factors.min(axis=1, initial=np.inf), factors.max(axis=1, initial=0)
    # Who loses, or earns, even in the best, or worst, draw of every pool needs no draws: most customers.
    costs_above, costs_below = np.maximum(costs, 0), np.minimum(costs, 0)
    best = before - costs_above @ lowest - costs_below @ highest
    worst = before - costs_above @ highest - costs_below @ lowest
    probability = np.where(best < -_NOTHING, 1.0, 0.0)
    open_ = np.flatnonzero((best >= -_NOTHING) & (worst < -_NOTHING))
    at_once = max(1, _CELLS_AT_ONCE // draws)
    for start in range(0, len(open_), at_once):
        chunk = open_[start : start + at_once]
        probability[chunk] = (costs[chunk] @ factors > before[chunk, None] + _NOTHING).mean(axis=1)
    return probability


def standard_error(probability: np.ndarray, draws: int) -> np.ndarray:
    """Standard error of a share of so many draws, as Laplace's (k + 1) / (n + 2): no share of draws is certain."""
    shrunk = (probability * draws + 1) / (draws + 2)
    return np.sqrt(shrunk * (1 - shrunk) / draws)


def _amounts(column: pd.Series) -> np.ndarray:
    amounts = pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    return np.where(np.isfinite(amounts), amounts, 0.0)
