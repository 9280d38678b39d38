"""Price sensitivity: how much less a customer bought of a product when its price was higher, where that can be told.

Belongs here: the own-price elasticity of quantity per customer and of the whole company, with its interval, or the reason
why there is none. Not here: what a change of price would earn (`break_even` says how much volume it may cost), and which
price to ask.

**What the figure is.** ln(quantity) on ln(net unit price) over a customer's products and complete months, both measured
against the product's own mean with this customer and against what the peers did with the same product in the same month:
season, fashion, shortages and changes of the list price that reach everybody drop out. What is left is a price that was
higher than usual for this customer, compared with a quantity that was lower than usual for this customer.

**What it is not: an effect.** Nobody set these prices at random. Known biases, none of which the data can remove:

- Volume discounts: a large order is cheaper per unit. The customer then looks more sensitive than it is. `discount_share`
  says how much of the variation came from discounts and not from list prices.
- Prices that follow demand: who asks for much may be asked for more, or given more. Either direction.
- Forward buying: a customer who stocks up in a cheap month looks more sensitive than over a year.
- Months without a purchase are not in a logarithm: who answers a higher price by buying nothing, or elsewhere, looks less
  sensitive than it is.
- Peers who answered the same prices are part of the comparison; changes that reach everybody tell nothing here.

Method: fixed effects by alternating projections; jackknife of the deviations over clusters (CV3: MacKinnon, Nielsen and
Webb 2023, "Cluster-robust inference: a guide to empirical practice", Journal of Econometrics 232), Student's t with
clusters - 1 degrees.
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from assets.analytics.history import as_of_column, money

NOT_A_CUSTOMER = "UNMATCHED"

MONTHS = 24
"""Complete calendar months up to the as-of date: long enough for prices to move, short enough to be today's customer."""

PRICES = f"""
    with period as (
        -- Of a month that has not ended, quantities are too low.
        select
            cast(date_trunc('month', as_of_date + interval 1 day) - interval 1 month as date) as last_month,
            cast(date_trunc('month', as_of_date + interval 1 day) - interval {MONTHS} month as date) as first_month
        from facts.as_of
    )

    select
        lines.customer_id,
        lines.month,
        lines.product_id,
        cast(sum(lines.quantity) as double) as quantity,
        cast(sum(lines.net_amount) as double) as net_amount,
        cast(sum(lines.list_amount) as double) as list_amount
    from facts.fct_invoice_lines as lines
    inner join period on lines.month between period.first_month and period.last_month
    where
        lines.document_type = 'invoice'
        and lines.product_id is not null
        and lines.customer_id <> '{NOT_A_CUSTOMER}'
    group by lines.customer_id, lines.month, lines.product_id
    order by lines.customer_id, lines.month, lines.product_id
"""
"""One row per customer, month and product: what was invoiced in the last 24 complete months, base currency. Credit notes are left
out: what is sent back later says nothing about the price at which it was bought."""

FEWEST_MONTHS = 8
"""Months with a comparable price, and customers for the whole company: a jackknife over fewer clusters is a guess."""

FEWEST_FREE_OBSERVATIONS = 10
"""Observations beyond one for each product of the customer."""

FEWEST_PEERS = 3
"""Who else bought the product in the month; with fewer, the peers of all products in that month stand in."""

SMALLEST_PRICE_VARIATION = 0.005
"""Standard deviation of the price relative to its usual level, as a share: below half a percent it is rounding."""

LARGEST_MONTH = 2 / 3
"""Share of the squared price variation that one month may have: a single offer is an anecdote."""

WIDEST_INTERVAL = 2.0
"""From -2 to 0 a customer may be anything from very sensitive to indifferent: a wider interval says nothing. A convention."""

COVERAGE = 0.80

MOSTLY_DISCOUNTS = 0.5
"""Share of the price variation from which the sentence warns of volume discounts."""

SMALLEST_QUANTITY = 1e-6
"""Of quantities in the facts."""

MOST_PASSES = 100
SETTLED = 1e-9
"""Alternating projections end when no effect moves by more; they converge geometrically."""

STATUSES = ("estimable", "not_estimable")

REASONS = (
    "too_few_priced_months",
    "too_few_observations",
    "no_price_variation",
    "price_varied_once",
    "interval_too_wide",
)
"""Why there is no elasticity, in the order in which they are asked."""

READINGS = ("elastic", "inelastic", "unclear", "rises_with_price")
"""Of the interval: all below -1, all above -1, on both sides of -1; and all above 0."""

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "status": "VARCHAR",
    "why_not": "VARCHAR",
    "elasticity": "DOUBLE",
    "elasticity_low": "DOUBLE",
    "elasticity_high": "DOUBLE",
    "standard_error": "DOUBLE",
    "reading": "VARCHAR",
    "month_count": "INTEGER",
    "product_count": "INTEGER",
    "observation_count": "INTEGER",
    "price_variation": "DOUBLE",
    "discount_share": "DOUBLE",
    "peer_elasticity": "DOUBLE",
    "peer_elasticity_low": "DOUBLE",
    "peer_elasticity_high": "DOUBLE",
    "sentence": "VARCHAR",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)


class _Observations(NamedTuple):
    """Logarithms of one customer, product and month each, sorted by these three; numbers of groups instead of names.

    `series` numbers pairs of customer and product, `market` pairs of product and month, `customer_month` the rest.
    """

    customer: np.ndarray
    month: np.ndarray
    series: np.ndarray
    market: np.ndarray
    customer_month: np.ndarray
    quantity: np.ndarray
    net_price: np.ndarray
    list_price: np.ndarray


class _Slopes(NamedTuple):
    """One slope per group: of quantity on price, its standard error, and the clusters this rests on."""

    value: np.ndarray
    error: np.ndarray
    clusters: np.ndarray


def estimate(prices: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    """One row per customer who bought in the last 24 complete months as of, ordered by customer.

    `prices` has the columns of `PRICES`: customer_id, month (first day), product_id, quantity, net_amount, list_amount, one
    or more rows per customer, month and product. Months after the last complete one are ignored, so are products that were
    free or taken back whole.

    - status, why_not: whether there is an elasticity, else the first of REASONS that applies.
    - elasticity: percent by which quantity differed where the price was 1 % higher; null unless estimable. _low, _high: 80 %
      interval, also where it is too wide; standard_error: the larger of those by month and by product.
    - reading: the interval in one word of READINGS.
    - month_count, product_count, observation_count: comparable ones, a product counting from its second month on.
    - price_variation: standard deviation of ln(price) against its usual level and the peers'.
    - discount_share: share of that variation that came from discounts, 0 to 1; the rest are list prices.
    - peer_elasticity, _low, _high: the same over all customers together, equal in all rows; null where not estimable.
    - sentence: the row in words.
    """
    names, observations = _observations(prices, as_of)
    count = len(names)
    effects = _effects(observations)
    relative_quantity = _against_peers(observations, observations.quantity, effects[0], count)
    relative_price = _against_peers(observations, observations.net_price, effects[1], count)
    relative_list = _against_peers(observations, observations.list_price, effects[2], count)

    customer = observations.customer
    seen = np.bincount(customer, minlength=count)
    months = _groups_of(customer, observations.customer_month, count)
    products = _groups_of(customer, observations.series, count)
    slopes = _slopes(
        relative_price, relative_quantity, customer, count, observations.customer_month, observations.series
    )
    squares = np.bincount(customer, weights=relative_price**2, minlength=count)
    free = seen - products
    variation = np.sqrt(_divided(squares, free, otherwise=0.0))
    by_discount = np.bincount(customer, weights=relative_price * (relative_price - relative_list), minlength=count)
    varies = variation >= SMALLEST_PRICE_VARIATION
    of_month = np.bincount(observations.customer_month, weights=relative_price**2)
    largest = np.zeros(count)
    np.maximum.at(largest, _owner(customer, observations.customer_month), of_month)
    varied_once = (largest > LARGEST_MONTH * squares) | ~np.isfinite(slopes.error)
    measured = varies & ~varied_once & (months >= FEWEST_MONTHS) & (free >= FEWEST_FREE_OBSERVATIONS)
    low, high = _interval(slopes)
    low, high = (np.where(measured, end, np.nan).round(4) for end in (low, high))
    refusals = (
        months < FEWEST_MONTHS,
        free < FEWEST_FREE_OBSERVATIONS,
        ~varies,
        varied_once,
        measured & (high - low > WIDEST_INTERVAL),
    )
    why = np.full(count, None, dtype=object)
    for reason, refused in reversed(list(zip(REASONS, refusals, strict=True))):
        why = np.where(refused, reason, why)
    estimable = ~np.any(refusals, axis=0)
    result = pd.DataFrame(
        {
            "customer_id": names,
            "as_of_date": as_of_column(as_of, count),
            "status": np.where(estimable, STATUSES[0], STATUSES[1]),
            "why_not": why,
            "elasticity": np.where(estimable, slopes.value, np.nan).round(4) + 0.0,
            "elasticity_low": low + 0.0,
            "elasticity_high": high + 0.0,
            "standard_error": np.where(measured, slopes.error, np.nan).round(4),
            "reading": np.where(estimable, _reading(low, high), np.full(count, None, dtype=object)),
            "month_count": months,
            "product_count": products,
            "observation_count": seen,
            "price_variation": variation.round(4),
            "discount_share": np.where(varies, np.clip(_divided(by_discount, squares), 0.0, 1.0), np.nan).round(4),
        }
    )
    peer, peer_low, peer_high = _of_all(observations, effects)
    result["peer_elasticity"], result["peer_elasticity_low"], result["peer_elasticity_high"] = peer, peer_low, peer_high
    result["sentence"] = _sentences(result)
    return result[list(COLUMNS)]


def _observations(prices: pd.DataFrame, as_of: datetime.date) -> tuple[list[str], _Observations]:
    """All customers in the period in sorted order, and the rows that can be compared with another month of the same series."""
    last_month = pd.Timestamp(as_of + datetime.timedelta(days=1)).replace(day=1) - pd.DateOffset(months=1)
    first_month = last_month - pd.DateOffset(months=MONTHS - 1)
    day = pd.to_datetime(prices["month"]).dt.normalize()
    known = prices["customer_id"].notna() & prices["product_id"].notna() & (day >= first_month)
    known &= day < last_month + pd.DateOffset(months=1)
    rows = prices[known]
    customer, names = pd.factorize(rows["customer_id"].astype("str"), sort=True)
    product, _ = pd.factorize(rows["product_id"].astype("str"), sort=True)
    month = (day[known].dt.year * 12 + day[known].dt.month).to_numpy(dtype="int64")

    # Whole numbers, whose sums do not depend on the order of the rows.
    units = (rows["quantity"].astype("float64").fillna(0.0) / SMALLEST_QUANTITY).round().to_numpy(dtype="int64")
    sums = pd.DataFrame(
        {
            "customer": customer,
            "product": product,
            "month": month,
            "units": units,
            "net": money(rows["net_amount"]).to_numpy(),
            "list": money(rows["list_amount"]).to_numpy(),
        }
    )
    sums = sums.groupby(["customer", "product", "month"], sort=True).sum().reset_index()
    sums = sums[(sums["units"] > 0) & (sums["net"] > 0)]
    sums = sums[sums.groupby(["customer", "product"])["month"].transform("size") > 1]
    units = sums["units"].to_numpy() * SMALLEST_QUANTITY
    net = sums["net"].to_numpy(dtype="float64")
    # Without a list price the net price stands in: no discount is known.
    listed = np.where(sums["list"] > 0, sums["list"], net)
    return list(names), _Observations(
        customer=sums["customer"].to_numpy(dtype="int64"),
        month=sums["month"].to_numpy(dtype="int64") - (month.min() if len(month) else 0),
        series=_numbered(sums, "customer", "product"),
        market=_numbered(sums, "product", "month"),
        customer_month=_numbered(sums, "customer", "month"),
        quantity=np.log(units),
        net_price=np.log(net / units),
        list_price=np.log(listed / units),
    )


def _numbered(rows: pd.DataFrame, *columns: str) -> np.ndarray:
    return rows.groupby(list(columns), sort=True).ngroup().to_numpy(dtype="int64")


def _groups_of(customer: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """How many groups each customer has; every group is of one customer."""
    return np.bincount(_owner(customer, group), minlength=count)


def _owner(customer: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The customer of each group."""
    owner = np.zeros(int(group.max()) + 1 if len(group) else 0, dtype="int64")
    owner[group] = customer
    return owner


def _effects(observations: _Observations) -> list[np.ndarray]:
    """Of quantity, net price and list price: each observation's usual level, that is the effect of its series when every
    product and month has an effect of its own too."""
    series, market = observations.series, observations.market
    if not len(series):
        return [observations.quantity, observations.net_price, observations.list_price]
    in_series, in_market = np.bincount(series), np.bincount(market)
    levels = []
    for values in (observations.quantity, observations.net_price, observations.list_price):
        level = np.zeros(len(in_series))
        of_market = np.zeros(len(in_market))
        for _ in range(MOST_PASSES):
            before = level
            level = np.bincount(series, weights=values - of_market[market]) / in_series
            of_market = np.bincount(market, weights=values - level[series]) / in_market
            if np.max(np.abs(level - before)) < SETTLED:
                break
        levels.append(level[series])
    return levels


def _against_peers(observations: _Observations, values: np.ndarray, level: np.ndarray, count: int) -> np.ndarray:
    """The values less what the other customers' departed from their usual level, about the mean of the own series.

    Of the same product and month where FEWEST_PEERS others bought it, else of all products of the month; nothing is taken
    off where that many are not to be found either.
    """
    departure = values - level
    market, month = observations.market, observations.month
    peers = np.bincount(market)[market] - 1 if len(market) else np.zeros(0)
    of_product = _divided(_sums(departure, market) - departure, peers, otherwise=0.0)
    # A customer has several products in a month: all of them are taken out.
    own = observations.customer_month
    others = (np.bincount(month)[month] - np.bincount(own)[own]) if len(month) else np.zeros(0)
    of_month = _divided(_sums(departure, month) - _sums(departure, own), others, otherwise=0.0)
    of_peers = np.where(peers >= FEWEST_PEERS, of_product, np.where(others >= FEWEST_PEERS, of_month, 0.0))
    adjusted = values - of_peers
    return adjusted - _means(adjusted, observations.series)


def _slopes(
    price: np.ndarray, quantity: np.ndarray, group: np.ndarray, count: int, *clusterings: np.ndarray
) -> _Slopes:
    """Least squares through the origin per group, with the largest of the clusterings' jackknife errors.

    A clustering numbers the clusters of each observation; a cluster is of one group. Those with fewer than FEWEST_MONTHS
    clusters in a group are not asked, unless it is the first. The error is infinite where a single cluster has all variation.
    """
    squares = np.bincount(group, weights=price**2, minlength=count)
    products = np.bincount(group, weights=price * quantity, minlength=count)
    value = _divided(products, squares, otherwise=0.0)
    error = np.zeros(count)
    clusters = np.zeros(count, dtype="int64")
    for place, cluster in enumerate(clusterings):
        owner = _owner(group, cluster)
        size = len(owner)
        left_squares = squares[owner] - np.bincount(cluster, weights=price**2, minlength=size)
        left_products = products[owner] - np.bincount(cluster, weights=price * quantity, minlength=size)
        without = np.where(left_squares > 1e-9 * squares[owner], _divided(left_products, left_squares), np.inf)
        moved = np.bincount(owner, weights=(without - value[owner]) ** 2, minlength=count)
        number = np.bincount(owner, minlength=count)
        jackknife = np.where(number > 1, np.sqrt(moved * _divided(np.maximum(number - 1.0, 0.5), number)), np.inf)
        asked = (number >= FEWEST_MONTHS) if place else np.ones(count, dtype=bool)
        larger = asked & (jackknife >= error)
        error = np.where(larger, jackknife, error)
        clusters = np.where(larger, number, clusters)
    return _Slopes(value, error, clusters)


def _interval(slopes: _Slopes) -> tuple[np.ndarray, np.ndarray]:
    reach = stdtrit(np.maximum(slopes.clusters - 1, 1), 0.5 + COVERAGE / 2) * slopes.error
    return slopes.value - reach, slopes.value + reach


def _of_all(observations: _Observations, effects: list[np.ndarray]) -> tuple[float, float, float]:
    """The elasticity over all customers with its interval, NaN where it is not estimable by the same rules."""
    unknown = (np.nan, np.nan, np.nan)
    market, months = observations.market, observations.month
    quantity, price = (
        values - level - _means(values - level, market)
        for values, level in zip((observations.quantity, observations.net_price), effects[:2], strict=True)
    )
    customers = len(np.unique(observations.customer))
    free = len(price) - len(np.unique(observations.series)) - len(np.unique(market))
    if customers < FEWEST_MONTHS or len(np.unique(months)) < FEWEST_MONTHS or free < FEWEST_FREE_OBSERVATIONS:
        return unknown
    if np.sqrt(np.sum(price**2) / free) < SMALLEST_PRICE_VARIATION:
        return unknown
    by_customer = np.unique(observations.customer, return_inverse=True)[1]
    by_month = np.unique(months, return_inverse=True)[1]
    slopes = _slopes(price, quantity, np.zeros(len(price), dtype="int64"), 1, by_month, by_customer)
    low, high = _interval(slopes)
    if not np.isfinite(slopes.error[0]) or high[0] - low[0] > WIDEST_INTERVAL:
        return unknown
    value, low_end, high_end = (round(float(end[0]), 4) + 0.0 for end in (slopes.value, low, high))
    return value, low_end, high_end


def _reading(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    readings = np.where(high < -1, "elastic", np.where(low > -1, "inelastic", "unclear"))
    return np.where(low > 0, "rises_with_price", readings).astype(object)


_NOT_ESTIMABLE = {
    "too_few_priced_months": "Not estimable: in {months} months a product's price can be compared with another month of the same"
    " product; {fewest} are needed.",
    "too_few_observations": "Not estimable: {observations} prices of {products} products are too few to compare.",
    "no_price_variation": "Not estimable: over {months} months the prices hardly differed from their usual level and the peers'.",
    "price_varied_once": "Not estimable: over {months} months the prices differed from their usual level in one month only.",
    "interval_too_wide": "Not estimable: over {months} months anything from {low} to {high} % quantity goes with a 1 % higher"
    " price (80 % interval).",
}

_READ = {
    "elastic": "",
    "inelastic": "",
    "unclear": " Whether revenue rose or fell with the price is not clear.",
    "rises_with_price": " That is no answer to a price: prices probably followed demand.",
}


def _sentences(result: pd.DataFrame) -> pd.Series:
    of_all = ""
    if len(result) and not np.isnan(result["peer_elasticity"].iloc[0]):
        ends = (result[name].iloc[0] for name in ("peer_elasticity", "peer_elasticity_low", "peer_elasticity_high"))
        of_all = " All customers together: {} % (80 % interval {} to {} %).".format(*(_signed(end) for end in ends))
    columns = [result[name].to_numpy() for name in _SAID]
    sentences = [_sentence(dict(zip(_SAID, row, strict=True)), of_all) for row in zip(*columns, strict=True)]
    return pd.Series(sentences, dtype="object")


_SAID = (
    *("status", "why_not", "elasticity", "elasticity_low", "elasticity_high", "reading", "discount_share"),
    *("month_count", "product_count", "observation_count"),
)


def _sentence(row: dict[str, Any], of_all: str) -> str:
    figures = {
        "months": row["month_count"],
        "products": row["product_count"],
        "observations": row["observation_count"],
        "low": _signed(row["elasticity_low"]),
        "high": _signed(row["elasticity_high"]),
    }
    if row["status"] == STATUSES[1]:
        return _NOT_ESTIMABLE[row["why_not"]].format(**figures, fewest=FEWEST_MONTHS) + of_all
    said = (
        "Where a price was 1 % above its usual level, quantity differed by {value} % (80 % interval {low} to {high} %), over"
        " {months} months and {products} products."
    ).format(**figures, value=_signed(row["elasticity"]))
    if row["discount_share"] > MOSTLY_DISCOUNTS:
        said += " The prices differed mostly by discount: where large orders get more of it, the figure overstates."
    return said + _READ[row["reading"]]


def _signed(percent: float) -> str:
    """One decimal with its sign; nothing is +0.0."""
    return f"{round(percent, 1) + 0.0:+.1f}"


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Of each observation, the sum over its group."""
    if not len(values):
        return values
    result: np.ndarray = np.bincount(group, weights=values)[group]
    return result


def _means(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Of each observation, the mean over its group."""
    return _divided(_sums(values, group), _sums(np.ones(len(values)), group))


def _divided(dividend: np.ndarray, divisor: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """The quotient where there is something to divide by."""
    possible = divisor > 0
    quotient: np.ndarray = np.where(possible, dividend / np.where(possible, divisor, 1.0), otherwise)
    return quotient
