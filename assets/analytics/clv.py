"""Customer lifetime value: what a customer has earned, and what it is worth over a stated horizon.

Belongs here: four values side by side (the customary formula, profit so far, the discounted cash flow, the prediction), which
of them to decide on, and the tiers of value. Not here: the models of purchases and of profit per purchase
(`assets.analytics.models`), their intervals (`intervals`), whether a model is good enough (the backtest and its gates
say), and any value on revenue: profit is revenue less every cost traced to the customer, and it may be negative.

Money columns are floats rounded to four decimals; the warehouse stores them as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd

from assets.analytics import intervals
from assets.analytics.history import MONEY_SCALE, as_of_column, known_orders, money, month_number
from assets.analytics.models import bg_nbd, margins, mbg_nbd, pareto_nbd
from assets.analytics.models.estimation import Fitted
from assets.analytics.models.summaries import DAYS_PER_WEEK, Compressed, compress, summarise

MONTHS_PER_YEAR = 12

DAYS_PER_MONTH = 365.25 / MONTHS_PER_YEAR
"""Models count weeks, values are discounted by months: an average month serves both."""

SHORTEST_AVERAGE_MONTHS = 3
"""A first order is not a monthly rate: a customer seen for less than a quarter is averaged over a quarter."""

HIGHEST_ANNUAL_RETENTION = 0.95
"""Caps the lifespan at 20 years. A retention measured over two years says nothing about longer times, and the
formula's lifespan 1 / (1 - retention) goes to infinity as retention goes to 1."""

MODELS: Mapping[str, ModuleType] = {module.NAME: module for module in (pareto_nbd, bg_nbd, mbg_nbd)}
DEFAULT_MODEL = "pareto_nbd"
NEXT_MODEL = "bg_nbd"
"""Tried when the fit of the model asked for fails."""

HISTORIC_RATE = "historic_rate"
CARRIED_FORWARD = "carried_forward"

FEWEST_CUSTOMERS = 30
"""Below this many customers with a purchase, or without a single repeat purchase among them, no purchase model is fitted."""

TIER_CUTS = (0.80, 0.95)
"""Shares of all positive value: the best customers who together make the first 80 % are of high value, those who bring it
to 95 % of medium value, all others of low value."""

TIERS = ("high", "medium", "low")

NO_ORDERS = pd.DataFrame({"customer_id": [], "order_date": [], "net_revenue": []})

_MONEY = "DECIMAL(22,4)"

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "clv": _MONEY,
    "value_tier": "VARCHAR",
    "clv_predictive": _MONEY,
    "clv_low": _MONEY,
    "clv_high": _MONEY,
    "clv_model": "VARCHAR",
    "expected_orders": "DOUBLE",
    "expected_profit_per_order": _MONEY,
    "profit_model": "VARCHAR",
    "clv_historic": _MONEY,
    "clv_formula": _MONEY,
    "clv_discounted": _MONEY,
    "bias_predictive": "DOUBLE",
    "bias_formula": "DOUBLE",
    "bias_discounted": "DOUBLE",
    "months_observed": "BIGINT",
    "average_annual_profit": _MONEY,
    "expected_lifespan_years": "DOUBLE",
    "monthly_retention": "DOUBLE",
    "expected_monthly_profit": _MONEY,
    "horizon_months": "INTEGER",
    "discount_rate": "DOUBLE",
}
"""Columns of analytics.customer_clv."""

COLUMNS = tuple(TYPES)


@dataclass(frozen=True)
class Measured:
    """What the backtest found out about these values; everything is optional, and without it nothing is claimed.

    - bias_formula, bias_discounted, bias_predictive: predicted / actual - 1 of the total, +2.07 = 207 % too much.
    - purchases_factor: actual / predicted number of purchases, by which a biased model is set right; 1 = as it is.
    - widening: by how much intervals must be widened (`intervals.learn` on held-out profit).
    """

    bias_formula: float | None = None
    bias_discounted: float | None = None
    bias_predictive: float | None = None
    purchases_factor: float = 1.0
    widening: intervals.Widening | None = None


class Prediction(NamedTuple):
    """Per customer with a purchase: discounted purchases, the moments of their number, and which model says so."""

    present: np.ndarray
    moments: intervals.Purchases
    model: str


def value(
    monthly: pd.DataFrame,
    as_of: datetime.date,
    *,
    discount_rate: float,
    horizon_months: int,
    orders: pd.DataFrame | None = None,
    model: str = DEFAULT_MODEL,
    profit_method: str = margins.DEFAULT,
    fit_as_of: datetime.date | None = None,
    fitted: Fitted | None = None,
    measured: Measured | None = None,
    tier_cuts: tuple[float, float] = TIER_CUTS,
) -> pd.DataFrame:
    """One row per customer with revenue, cost or a purchase on or before `as_of`; what is later is not seen.

    - monthly: one row per customer and month (its first day): customer_id, month, net_revenue (revenue +) and cost (every
      cost traced to the customer, cost +), in base currency; the as-of month counts as far as it is known. Profit =
      net_revenue - cost, loss-makers included: a customer with a negative value is a result, not an error.
    - orders: one row per order (see `history.known_orders`): customer_id, order_date, net_revenue. Without it nobody is
      known to have purchased, and every value is carried forward.
    - model: the purchase model: 'pareto_nbd', 'bg_nbd', 'mbg_nbd', or 'historic_rate' where the gates say so.
    - fit_as_of: the model is fitted to what was known then, `as_of` if not given; `fitted`: an earlier fit of `model`, and
      nothing is fitted.
    - measured: what the backtest found out.

    Four values, none of them hidden behind another:

    - clv_historic: all profit so far. What was, not what will be.
    - clv_formula: average_annual_profit * expected_lifespan_years, the formula customary in business documents. **It
      overstates**: it carries past profit forward undiscounted, also that of customers who have stopped buying
      (+207 % measured on one shop); bias_formula says by how much here. Published because people compute it by hand.
    - clv_discounted: sum over t = 1 .. horizon_months of expected_monthly_profit * monthly_retention ** t
      / (1 + discount_rate) ** (t / 12). Known drawback: every customer survives at the company's rate.
    - clv_predictive: sum over t of the purchases expected in month t * expected_profit_per_order
      / (1 + discount_rate) ** (t / 12), with the interval clv_low to clv_high that holds 80 % of customers.
    - clv: the one to decide on, clv_predictive.

    The rest explains them:

    - expected_orders: purchases (days with an order) in the horizon; expected_profit_per_order and profit_model: see
      `models.margins.estimate`. Costs without an order are in it: profit is divided by purchases after every cost.
    - clv_model: what scored this customer. 'historic_rate': purchases of the last 12 months (of those observed, at least 3)
      go on, fading at monthly_retention; also when there are fewer than 30 customers, no repeat purchase, or no model can
      be fitted. 'carried_forward': the customer never purchased, so there is no profit per order: its profit or cost
      of the last 12 months goes on as in clv_discounted (nothing, where there was none), expected_orders is 0, and the
      interval reaches from its stopping now to its going on unabated.
    - bias_predictive, bias_formula, bias_discounted: from the backtest, null (NaN) where not measured.
    - value_tier: 'high', 'medium' or 'low', see `value_tiers`.
    - months_observed: calendar months from the first revenue, cost or purchase to the as-of month, both included.
    - average_annual_profit: clv_historic / months_observed * 12.
    - monthly_retention: see `monthly_retention`; one rate for the whole company.
    - expected_lifespan_years: 1 / (1 - annual retention), at most 20.
    - expected_monthly_profit: average of the last 12 months (of those observed, and at least 3). A customer who
      stopped buying more than a year ago expects no revenue.
    - horizon_months, discount_rate (per year, 0.10 = 10 %): as given.
    """
    if discount_rate <= -1:
        raise ValueError(f"discount_rate is {discount_rate}; give a yearly rate above -1, such as 0.10 for 10 %.")
    if horizon_months < 0:
        raise ValueError(f"horizon_months is {horizon_months}; give a whole number of months, 0 or more.")
    if model != HISTORIC_RATE and model not in MODELS:
        raise ValueError(f"model is {model!r}; give one of {', '.join((*MODELS, HISTORIC_RATE))}.")
    measured = measured or Measured()
    this_month = as_of.year * 12 + as_of.month
    purchases = known_orders(NO_ORDERS if orders is None else orders, as_of)
    summary = summarise(purchases, as_of)
    flows = _cash_flows(monthly, this_month, summary, as_of)
    retention = flows.retention
    discounts = (1 + discount_rate) ** (-np.arange(1, horizon_months + 1) / MONTHS_PER_YEAR)
    survival = retention ** np.arange(1, horizon_months + 1)

    average_annual = np.round(flows.historic / flows.months * MONTHS_PER_YEAR, 4)
    observed = np.clip(flows.months, SHORTEST_AVERAGE_MONTHS, MONTHS_PER_YEAR)
    expected_monthly = np.round(flows.recent / observed, 4)
    lifespan = 1 / (1 - retention**MONTHS_PER_YEAR)
    discounted = np.round(expected_monthly * float(np.sum(survival * discounts)), 4)

    # Who never purchased: the cash flow, from its end today to its going on for ever.
    unabated = np.round(expected_monthly * float(np.sum(discounts)), 4)
    predictive, low, high = discounted.copy(), np.minimum(unabated, 0.0), np.maximum(unabated, 0.0)
    rows = len(flows.customers)
    expected_orders, per_order = np.zeros(rows), np.zeros(rows)
    clv_model, profit_model = np.full(rows, CARRIED_FORWARD, dtype=object), np.full(rows, CARRIED_FORWARD, dtype=object)
    if len(summary):
        bought = flows.customers.get_indexer(summary.index)
        training = summary if fit_as_of is None else summarise(purchases, min(fit_as_of, as_of))
        prediction = _predict(summary, training, model, fitted, discounts)
        if prediction is None:
            recent = _purchases_of_last_year(purchases, this_month, summary.index) / observed[bought]
            present, mean = recent * float(np.dot(survival, discounts)), recent * float(survival.sum())
            prediction = Prediction(present, intervals.without_model(mean), HISTORIC_RATE)
        profit = margins.estimate(
            summary, flows.historic[bought] * MONEY_SCALE, method=profit_method, noise=flows.noise
        )
        each = profit.expected / MONEY_SCALE
        moments = intervals.scaled(prediction.moments, measured.purchases_factor)
        spreads = profit.spread / MONEY_SCALE, profit.purchase_spread / MONEY_SCALE
        stated = intervals.of_profit(moments, each, *spreads)
        ends = intervals.widen(moments.mean * each, stated, moments.none, measured.widening)
        present = prediction.present * measured.purchases_factor
        # A purchase is worth less the later it comes: the interval shrinks as its middle does.
        worth = np.divide(present, moments.mean, out=np.zeros(len(present)), where=moments.mean > 0)
        predictive[bought] = np.round(present * each, 4)
        low[bought] = np.minimum(np.round(ends[0] * worth, 4), predictive[bought])
        high[bought] = np.maximum(np.round(ends[1] * worth, 4), predictive[bought])
        expected_orders[bought] = np.round(moments.mean, 6)
        per_order[bought] = np.round(each, 4)
        clv_model[bought], profit_model[bought] = prediction.model, profit.method

    def unknown_or(bias: float | None) -> np.ndarray:
        return np.full(rows, np.nan if bias is None else round(bias, 6))

    # Adding 0.0 turns a rounded -0.0 into 0.0.
    columns: dict[str, object] = {
        "customer_id": pd.Series(flows.customers, dtype="str"),
        "as_of_date": as_of_column(as_of, rows),
        "clv": predictive + 0.0,
        "value_tier": pd.Series(value_tiers(predictive, tier_cuts), dtype="str"),
        "clv_predictive": predictive + 0.0,
        "clv_low": low + 0.0,
        "clv_high": high + 0.0,
        "clv_model": pd.Series(clv_model, dtype="str"),
        "expected_orders": expected_orders,
        "expected_profit_per_order": per_order + 0.0,
        "profit_model": pd.Series(profit_model, dtype="str"),
        "clv_historic": flows.historic,
        "clv_formula": np.round(average_annual * lifespan, 4),
        "clv_discounted": discounted + 0.0,
        "bias_predictive": unknown_or(measured.bias_predictive),
        "bias_formula": unknown_or(measured.bias_formula),
        "bias_discounted": unknown_or(measured.bias_discounted),
        "months_observed": flows.months.astype("int64"),
        "average_annual_profit": average_annual,
        "expected_lifespan_years": np.full(rows, lifespan),
        "monthly_retention": np.full(rows, retention),
        "expected_monthly_profit": expected_monthly,
        "horizon_months": np.full(rows, horizon_months, dtype="int64"),
        "discount_rate": np.full(rows, discount_rate, dtype="float64"),
    }
    return pd.DataFrame(columns, columns=list(COLUMNS))


def value_tiers(values: np.ndarray, cuts: tuple[float, float] = TIER_CUTS) -> np.ndarray:
    """'high', 'medium' or 'low' per customer, by shares of all positive value (`cuts`, 0.80 and 0.95 = 80 % and 95 %).

    Ranked from the best: while those before a customer make up less than the first cut of all positive value, it is of
    high value; less than the second, of medium value; all others, and all with no or a negative value, of low value.
    Customers of equal value are of one tier. Raises ValueError unless 0 < first cut <= second cut <= 1.
    """
    if not 0 < cuts[0] <= cuts[1] <= 1:
        raise ValueError(f"the cuts of value tiers are {cuts}; give two rising shares above 0, such as (0.80, 0.95).")
    values = np.asarray(values, dtype="float64")
    tiers = np.full(len(values), TIERS[2], dtype=object)
    positive = np.sort(values[values > 0])[::-1]
    if len(positive) == 0:
        return tiers
    before = np.concatenate([[0.0], np.cumsum(positive)])
    # The first customer with the same value decides, so that none is split from its equals.
    place = np.searchsorted(-positive, -values, side="left")
    share = before[np.minimum(place, len(positive))] / before[-1]
    tiers[(values > 0) & (share < cuts[1])] = TIERS[1]
    tiers[(values > 0) & (share < cuts[0])] = TIERS[0]
    return tiers


def measure(
    monthly: pd.DataFrame, valued: pd.DataFrame, origin: datetime.date, as_of: datetime.date, *, discount_rate: float
) -> dict[str, float | None]:
    """bias_formula, bias_discounted and bias_predictive of values given at `origin`, judged on what happened until `as_of`.

    `valued` is `value(..., origin, horizon_months=the months between)`. What they promised in total / the profit those
    customers brought in the months after the origin's, up to the as-of month, discounted as they were, - 1. None where
    nothing was earned, or where less than a month has passed. The formula promises a lifetime and is judged by the
    months at hand: over a short time that is hard on it, and it is how it is used.
    """
    first, last = (date.year * 12 + date.month for date in (origin, as_of))
    months = month_number(monthly["month"])
    later = monthly["customer_id"].isin(valued["customer_id"]) & (months > first) & (months <= last)
    profit = (money(monthly["net_revenue"]) - money(monthly["cost"]))[later] / MONEY_SCALE
    by_month = profit.groupby(months[later]).sum()
    worth = (1 + discount_rate) ** (-(by_month.index.to_numpy(dtype="float64") - first) / MONTHS_PER_YEAR)
    actual = float(np.dot(by_month.to_numpy(dtype="float64"), worth))
    names = ("formula", "discounted", "predictive")
    if actual <= 0:
        return {f"bias_{name}": None for name in names}
    return {f"bias_{name}": round(float(valued[f"clv_{name}"].sum()) / actual - 1, 6) for name in names}


def monthly_retention(monthly: pd.DataFrame, as_of: datetime.date) -> float:
    """The share of customers kept from one month to the next, between 0 and 1, as of one date.

    Retention is the share of the customers active (net revenue above 0) in the 12 months before the last 12 who are
    active again in the last 12: active customers kept / active customers at risk, as marketing metrics define it
    (Farris et al., Marketing Metrics, chapter 5). With less than 24 months of history both windows shrink to half of
    what there is. The share is Laplace's (kept + 1) / (at risk + 2), so that three customers cannot claim certainty,
    capped at 0.95 a year, and its root by the months of the window is the monthly rate. Known drawback: over windows
    shorter than the customers' own rhythm, who is silent counts as lost, and retention comes out too low.
    """
    named = monthly["customer_id"].notna()
    codes, customers = pd.factorize(monthly.loc[named, "customer_id"])
    revenue = money(monthly.loc[named, "net_revenue"]).to_numpy()
    months = month_number(monthly.loc[named, "month"]).to_numpy()
    return _retention(codes, months, revenue, len(customers), as_of.year * 12 + as_of.month)


class _CashFlows(NamedTuple):
    """Per customer, sorted: all profit and that of the last 12 months (base currency), calendar months since the first
    trace of the customer; the company's monthly retention; and the noise of margins (`margins.noise_of_months`, in
    ten-thousandths)."""

    customers: pd.Index
    historic: np.ndarray
    recent: np.ndarray
    months: np.ndarray
    retention: float
    noise: float | None


def _cash_flows(monthly: pd.DataFrame, this_month: int, summary: pd.DataFrame, as_of: datetime.date) -> _CashFlows:
    months = month_number(monthly["month"])
    known = (monthly["customer_id"].notna() & (months <= this_month)).to_numpy(dtype=bool)
    revenue = money(monthly["net_revenue"])[known].to_numpy(dtype="int64")
    profit = revenue - money(monthly["cost"])[known].to_numpy(dtype="int64")
    month = months[known].to_numpy(dtype="int64")
    named, of_rows = pd.factorize(monthly["customer_id"][known].astype("str"))
    customers = pd.Index(of_rows, dtype="str").union(pd.Index(summary.index, dtype="str"), sort=True)
    codes = customers.get_indexer(pd.Index(of_rows, dtype="str"))[named]

    historic, recent = np.zeros(len(customers), dtype="int64"), np.zeros(len(customers), dtype="int64")
    first = np.full(len(customers), this_month, dtype="int64")
    is_recent = month > this_month - MONTHS_PER_YEAR
    # In whole numbers: a sum of floats depends on the order of its rows.
    np.add.at(historic, codes, profit)
    np.add.at(recent, codes[is_recent], profit[is_recent])
    np.minimum.at(first, codes, month)
    began = pd.Timestamp(as_of) - pd.to_timedelta(summary["customer_age_days"], unit="D")
    np.minimum.at(first, customers.get_indexer(summary.index), month_number(began).to_numpy(dtype="int64"))
    return _CashFlows(
        customers,
        historic / MONEY_SCALE,
        recent / MONEY_SCALE,
        this_month - first + 1,
        _retention(codes, month, revenue, len(customers), this_month),
        margins.noise_of_months(codes, revenue, profit),
    )


def _retention(codes: np.ndarray, months: np.ndarray, revenue: np.ndarray, customers: int, this_month: int) -> float:
    is_active = (revenue > 0) & (months <= this_month)
    codes, months = codes[is_active], months[is_active]
    history_months = int(this_month - months.min() + 1) if len(months) else 0
    window = min(MONTHS_PER_YEAR, history_months // 2) or MONTHS_PER_YEAR
    in_last = months > this_month - window
    in_previous = (months > this_month - 2 * window) & ~in_last
    at_risk, back = np.zeros(customers, dtype=bool), np.zeros(customers, dtype=bool)
    at_risk[codes[in_previous]] = True
    back[codes[in_last]] = True
    share = (np.count_nonzero(at_risk & back) + 1) / (np.count_nonzero(at_risk) + 2)
    highest = HIGHEST_ANNUAL_RETENTION ** (1 / MONTHS_PER_YEAR)
    return float(min(share ** (1 / window), highest))


def _predict(
    summary: pd.DataFrame, training: pd.DataFrame, model: str, fitted: Fitted | None, discounts: np.ndarray
) -> Prediction | None:
    """Discounted purchases by the first model that can be fitted to `training`; None where there is none."""
    if model == HISTORIC_RATE or len(summary) < FEWEST_CUSTOMERS:
        return None
    rows = _rows(summary)
    for name in dict.fromkeys((model, NEXT_MODEL)):
        is_given = fitted is not None and fitted.model == name
        fit = fitted if is_given else _fit(MODELS[name], _rows(training))
        if fit is not None and _is_usable(fit):
            present, moments = _expect(MODELS[name], fit.parameters, rows, discounts)
            if np.all(np.isfinite(present)) and all(np.all(np.isfinite(part)) for part in moments):
                of_customers = intervals.Purchases(*(part[rows.inverse] for part in moments))
                return Prediction(present[rows.inverse], of_customers, name)
    return None


def _rows(summary: pd.DataFrame) -> Compressed:
    return compress(
        summary["repeat_purchases"].to_numpy(dtype="float64"),
        summary["active_span_days"].to_numpy(dtype="float64") / DAYS_PER_WEEK,
        summary["customer_age_days"].to_numpy(dtype="float64") / DAYS_PER_WEEK,
    )


def _fit(module: ModuleType, rows: Compressed) -> Fitted | None:
    if rows.customers < FEWEST_CUSTOMERS or not np.any(rows.x > 0):
        return None
    fit: Fitted = module.fit(rows)
    return fit


def _is_usable(fit: Fitted) -> bool:
    """Degenerate fits are: that nobody seems to leave spoils P(alive), not the purchases expected; their bias is measured."""
    values = np.array(list(fit.parameters.values()), dtype="float64")
    return fit.converged and bool(np.all(np.isfinite(values)) and np.all(values > 0))


def _expect(
    module: ModuleType, parameters: Mapping[str, float], rows: Compressed, discounts: np.ndarray
) -> tuple[np.ndarray, intervals.Purchases]:
    """Discounted purchases and the moments of their number, per distinct row."""
    if len(discounts) == 0:
        nothing = np.zeros(len(rows.x))
        return nothing, intervals.Purchases(nothing, nothing, np.ones(len(rows.x)))
    weeks = np.arange(1, len(discounts) + 1) * DAYS_PER_MONTH / DAYS_PER_WEEK
    middles = weeks - 0.5 * DAYS_PER_MONTH / DAYS_PER_WEEK
    history = rows.x, rows.t_x, rows.T
    present, mean, delayed = (
        np.asarray(module.discounted_purchases(parameters, *history, weeks, factors), dtype="float64")
        for factors in (discounts, np.ones(len(weeks)), middles)
    )
    none = 1 - np.asarray(module.probability_of_purchase(parameters, *history, float(weeks[-1])), dtype="float64")
    return present, intervals.moments(parameters, rows.x, rows.T, mean, delayed, none)


def _purchases_of_last_year(purchases: pd.DataFrame, this_month: int, customers: pd.Index) -> np.ndarray:
    """Purchase days in the as-of month and the eleven before it."""
    is_recent = purchases["is_purchase"] & (month_number(purchases["order_date"]) > this_month - MONTHS_PER_YEAR)
    recent = purchases[is_recent.to_numpy(dtype=bool)]
    days = recent["order_date"].to_numpy(dtype="datetime64[D]").astype("int64")
    codes = customers.get_indexer(pd.Index(recent["customer_id"], dtype="str")).astype("int64")
    earliest, latest = (days.min(), days.max()) if len(days) else (0, 0)
    span = int(latest - earliest) + 1
    distinct = np.unique(codes * span + (days - earliest))
    return np.bincount(distinct // span, minlength=len(customers)).astype("float64")
