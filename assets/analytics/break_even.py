"""Break-even: what would make a customer who loses money profitable, lever by lever, and how much a profitable one can bear.

Belongs here: the levers, at three horizons, over one row per customer. Not here: which lever somebody should pull, and
who decides it; nor what a cost is and whose, which the costing has decided.

Price, volume and order figures are floats: they are ratios. Money is rounded to four decimals and stored as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics.history import as_of_column

NOT_A_CUSTOMER = "UNMATCHED"

MOVING_COSTS = ("volume_cost", "revenue_cost", "order_cost", "other_cost")
"""Service cost by what moves it: units, net revenue, the number of orders, or something no lever here changes."""

AMOUNTS = (
    "list_revenue",
    "net_revenue",
    "cost_of_goods_sold",
    *(f"{cost}_{behaviour}" for cost in MOVING_COSTS for behaviour in ("variable", "step_fixed")),
    "direct_cost",
    "fixed_cost",
    "expected_credit_loss",
    "financing_cost",
    "allocated_sustaining",
)
"""The columns of money `break_even` reads, base currency."""

_AMOUNT_COLUMNS = ",\n        ".join(f"cast(coalesce({name}, 0) as double) as {name}" for name in AMOUNTS)

INPUTS = f"""
    with measures as (
        select driver_id, measure
        from rules.drivers
        where measure <> 'time_equation'
        union
        select driver_id, measure
        from rules.time_equations
    ),

    driver_movements as (
        -- A time equation that counts several things moves with what all of them move with, or with none of the levers.
        select driver_id, case when min(movement) = max(movement) then min(movement) else 'other' end as movement
        from (
            select
                driver_id,
                case
                    when measure in ('orders', 'invoices') then 'orders'
                    when measure in ('units', 'invoice_lines', 'credit_note_lines', 'cost_of_goods_sold') then 'volume'
                    when measure = 'net_revenue' then 'revenue'
                    else 'other'
                end as movement
            from measures
        )
        group by driver_id
    ),

    lines as (
        select
            lines.customer_id,
            lines.amount,
            case when lines.behaviour in ('variable', 'step_fixed') then lines.behaviour else 'fixed' end as behaviour,
            case
                when lines.stage = 'direct' and lines.behaviour = 'variable' then 'volume'
                when lines.stage = 'direct' then 'direct'
                else coalesce(driver_movements.movement, 'other')
            end as movement
        from marts.customer_cost_lines as lines
        inner join facts.as_of as as_of
            on lines.month > as_of.as_of_month - interval 12 month and lines.month <= as_of.as_of_month
        left join driver_movements on lines.driver_id = driver_movements.driver_id
        where lines.stage <> 'sustaining'
    ),

    costs as (
        select
            customer_id,
            sum(amount) filter (where movement = 'volume' and behaviour = 'variable') as volume_cost_variable,
            sum(amount) filter (where movement = 'volume' and behaviour = 'step_fixed') as volume_cost_step_fixed,
            sum(amount) filter (where movement = 'revenue' and behaviour = 'variable') as revenue_cost_variable,
            sum(amount) filter (where movement = 'revenue' and behaviour = 'step_fixed') as revenue_cost_step_fixed,
            sum(amount) filter (where movement = 'orders' and behaviour = 'variable') as order_cost_variable,
            sum(amount) filter (where movement = 'orders' and behaviour = 'step_fixed') as order_cost_step_fixed,
            sum(amount) filter (where movement = 'other' and behaviour = 'variable') as other_cost_variable,
            sum(amount) filter (where movement = 'other' and behaviour = 'step_fixed') as other_cost_step_fixed,
            sum(amount) filter (where movement = 'direct') as direct_cost,
            sum(amount) filter (where movement <> 'direct' and behaviour = 'fixed') as fixed_cost
        from lines
        group by customer_id
    ),

    sales as (
        select
            profits.customer_id,
            sum(profits.quantity) as quantity,
            sum(profits.order_count) as order_count,
            sum(profits.list_revenue) as list_revenue,
            sum(profits.net_revenue) as net_revenue,
            sum(profits.cost_of_goods_sold) as cost_of_goods_sold,
            sum(profits.expected_credit_loss) as expected_credit_loss,
            sum(profits.financing_cost) as financing_cost,
            sum(profits.allocated_sustaining) as allocated_sustaining
        from marts.customer_profitability as profits
        inner join facts.as_of as as_of
            on profits.month > as_of.as_of_month - interval 12 month and profits.month <= as_of.as_of_month
        where profits.customer_id <> '{NOT_A_CUSTOMER}'
        group by profits.customer_id
    )

    select
        sales.customer_id,
        cast(sales.quantity as double) as quantity,
        cast(sales.order_count as double) as order_count,
        {_AMOUNT_COLUMNS}
    from sales
    left join costs on sales.customer_id = costs.customer_id
    order by sales.customer_id
"""
"""One row per customer with sales or cost in the last 12 months as of, in the columns `break_even` reads. Cost is split by what
moves it, pools by the measure of their driver, and by how it behaves; variable direct cost moves with volume."""

HORIZONS = ("contribution", "avoidable", "full_cost")

LEVERS = (
    "price",
    "discount_ceiling",
    "cost_to_serve",
    "volume_same_orders",
    "volume_same_order_size",
    "order_size",
    "consolidation",
    "payment_terms",
    "cheapest_pair",
)

HIGHEST_PRICE_RISE = 0.10
"""A rise beyond it is not called feasible: customers do not take it as a price rise but as a request to leave. A convention."""

DAYS_PER_YEAR = 365

MONEY = "DECIMAL(22,4)"

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "horizon": "VARCHAR",
    "lever": "VARCHAR",
    "first_lever": "VARCHAR",
    "second_lever": "VARCHAR",
    "profit_now": MONEY,
    "is_profitable": "BOOLEAN",
    "is_feasible": "BOOLEAN",
    "why_not_feasible": "VARCHAR",
    "lever_rank": "INTEGER",
    "unit": "VARCHAR",
    "current_value": "DOUBLE",
    "target_value": "DOUBLE",
    "required_change": "DOUBLE",
    "required_change_percent": "DOUBLE",
    "second_unit": "VARCHAR",
    "second_current_value": "DOUBLE",
    "second_target_value": "DOUBLE",
    "second_required_change": "DOUBLE",
    "second_required_change_percent": "DOUBLE",
    "expected_effect": MONEY,
    "tolerated_volume_change_percent": "DOUBLE",
    "break_even_elasticity": "DOUBLE",
    "minimum_order_quantity": "DOUBLE",
    "minimum_order_value": "DOUBLE",
    "sentence": "VARCHAR",
}
"""Columns of the table and their types, in order."""

COLUMNS = tuple(TYPES)

UNITS = {
    "price": "money per unit",
    "discount_ceiling": "percent of list price",
    "cost_to_serve": "money",
    "other_cost_to_serve": "money",
    "volume_same_orders": "units",
    "volume_same_order_size": "units",
    "order_size": "units per order",
    "consolidation": "orders",
    "payment_terms": "days",
}

_ENDINGS = {
    "contribution": "counting variable cost only",
    "avoidable": "counting all avoidable cost",
    "full_cost": "counting full cost",
}

_NO_SALES = "Not by price or volume: nothing was sold, net of returns, or cost that moves with revenue takes all of it."
_NO_LIST_PRICE = "Not by discount: no list price is known."

Floats = NDArray[Any]
Flags = NDArray[Any]
Texts = NDArray[Any]
Columns = dict[str, NDArray[Any]]
Refusals = Sequence[tuple[Flags, str, Any]]
"""Which customers, the reason as an identifier, and the sentence: one for all, or one each."""


def volume_change_tolerated(price_change: Floats | float, unit_contribution: Floats | float) -> Floats:
    """Change of volume, as a share, at which a change of price leaves the contribution as it was: -dp / (cm + dp).

    Both in the same unit: money per unit, or shares of the price. A rise of 10 % at a contribution of 22 % of the price is
    -0.3125: almost a third of the volume may go. At most all of it can go (-1); NaN where the new contribution is not above
    zero, so that no volume makes up for the change. Source: Nagle, Hogan and Zale, The Strategy and Tactics of Pricing,
    chapter on financial analysis.
    """
    change, contribution = np.asarray(price_change, dtype="float64"), np.asarray(unit_contribution, dtype="float64")
    return np.maximum(_divided(-change, contribution + change, contribution + change > 0), -1.0)


@dataclass(frozen=True)
class _Economics:
    """Some customers at one horizon; one element per customer, money in base currency.

    `contribution` is per unit: the price less cost of goods and cost that moves with units or revenue. `kept` is the share
    of a price change that no such cost takes. `other` is all cost that neither units, revenue nor orders move.
    """

    row: NDArray[Any]
    sells: Flags
    units: Floats
    orders: Floats
    net: Floats
    list_revenue: Floats
    kept: Floats
    price: Floats
    contribution: Floats
    order_cost: Floats
    per_order: Floats
    other: Floats
    cost_to_serve: Floats
    financing: Floats
    financing_per_day: Floats
    profit: Floats

    def of(self, chosen: Flags) -> _Economics:
        return _Economics(**{name: values[chosen] for name, values in vars(self).items()})

    @property
    def earned_before_orders(self) -> Floats:
        """What is there to pay for orders: u cm - F - A."""
        return self.profit + self.order_cost


@dataclass(frozen=True)
class _Terms:
    """What the levers of one horizon have in common, and how their sentences write figures."""

    horizon: str
    currency: str
    highest_price_rise: float

    @property
    def ending(self) -> str:
        return _ENDINGS[self.horizon]

    def money(self, amounts: Floats, decimals: int = 2) -> list[str]:
        before = f"{self.currency} " if self.currency else ""
        return [before + figure for figure in _figures(amounts, decimals)]

    def say(self, sentence: str, **figures: Iterable[str]) -> Texts:
        """The sentence once per customer, with the figures of each."""
        names = list(figures)
        rows = zip(*figures.values(), strict=True)
        return np.array(
            [sentence.format(**dict(zip(names, row, strict=True)), ending=self.ending) for row in rows], dtype=object
        )


def break_even(
    customers: pd.DataFrame,
    as_of: datetime.date,
    *,
    capital_rate: float,
    currency: str = "",
    highest_price_rise: float = HIGHEST_PRICE_RISE,
) -> pd.DataFrame:
    """One row per customer, horizon and lever; each customer by itself, so that slices of `customers` give slices.

    `customers` has one row per customer, sums of 12 months: customer_id, quantity (units), order_count, and in base currency
    `AMOUNTS` (cost +; four decimals count; missing = 0): `volume_cost` moves with units, `revenue_cost` with net revenue,
    `order_cost` with orders, `other_cost` with none of them, each as variable and as step-fixed; `direct_cost` is the
    customer's own and not variable; `fixed_cost` and `allocated_sustaining` are shares of cost no lever changes.
    `capital_rate` per year (0.08 = 8 %) is the one financing_cost was reckoned with. `currency` stands before amounts in
    sentences.

    Horizons: contribution counts variable cost; avoidable adds step-fixed, direct and credit cost; full_cost adds fixed cost
    and allocated sustaining cost. Only avoidable supports giving a customer up: the rest of full cost would stay.

    A customer with a loss has a row for every lever; one without has price and discount_ceiling as margin of safety: how far
    either may move until the profit is gone. With u units at net price p and list price L, unit contribution cm (p less cost
    of goods and cost that moves with units or revenue), n orders at k, F other and A fixed cost, pi = u cm - k n - F - A:

    - price: p' = p - pi / u; where cost takes a share of revenue (commission), it takes its share of the rise, too. Feasible
      up to `highest_price_rise`.
    - discount_ceiling: the largest discount, (L - p') / L in percent. Feasible from 0 on: the list price is the end.
    - cost_to_serve: by -pi. Feasible up to all service cost that is counted and neither fixed nor of credit.
    - volume_same_orders: u' = (k n + F + A) / cm, with cm above 0.
    - volume_same_order_size: u' = (F + A) / (cm - k n / u), with cm above k n / u; otherwise no volume works.
    - order_size: average order of k u / (u cm - F - A) units at the same volume, of no more units than the volume.
    - consolidation: n' = floor((u cm - F - A) / k) orders at the same volume, at least 1.
    - payment_terms: by -pi / (net revenue x capital rate / 365) days of net revenue; up to those financing_cost stands for.
    - cheapest_pair: two levers of price, consolidation, payment terms and other_cost_to_serve (than that of orders) by the same
      percentage, unless one is at its end; of all pairs the one whose larger percentage is smallest. Orders are whole, and the
      other lever does the rest.

    required_change = target_value - current_value in `unit`; required_change_percent is of the current value, of
    discount_ceiling: of the net price. They stand also where a lever is not feasible but a figure exists; target_value and
    expected_effect (profit of 12 months against today) only where it is, why_not_feasible where it is not. lever_rank orders
    the feasible single levers of a customer and horizon by the size of required_change_percent; the same percentage is not the
    same effort, so it is an order to look in and no advice.
    tolerated_volume_change_percent is `volume_change_tolerated` for the change of price, break_even_elasticity that over the
    change of price. minimum_order_quantity and _value: k / cm, from where on an order earns its own cost. Sentences round
    required changes up, so that they stay true. Known drawback: each lever leaves all else as it is, also cost of credit when
    price or volume grow.

    Raises ValueError on a capital_rate or highest_price_rise that is below 0 or not finite.
    """
    for name, rate in (("capital_rate", capital_rate), ("highest_price_rise", highest_price_rise)):
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"{name} is {rate}; give a share of 0 or more, such as 0.10 for 10 %.")
    customers = customers[customers["customer_id"].notna()].sort_values("customer_id").reset_index(drop=True)
    blocks = []
    for horizon in HORIZONS:
        terms = _Terms(horizon, currency, highest_price_rise)
        everyone = _economics(customers, horizon, capital_rate)
        losing = everyone.profit < 0
        losers = everyone.of(losing)
        blocks += [lever(everyone.of(~losing), terms) for lever in (_price_margin, _discount_margin)]
        blocks += [lever(losers, terms) for lever in _SINGLE_LEVERS]
        blocks.append(_cheapest_pair(losers, terms))
    result = pd.DataFrame({name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]})
    lever_numbers = pd.Categorical(result["lever"], LEVERS).codes
    horizon_numbers = pd.Categorical(result["horizon"], HORIZONS).codes
    result = result.iloc[np.lexsort((lever_numbers, horizon_numbers, result["row"]))].reset_index(drop=True)
    result["lever_rank"] = _ranks(result)
    result["customer_id"] = customers["customer_id"].astype("str").to_numpy()[result["row"].to_numpy(dtype="int64")]
    result["as_of_date"] = as_of_column(as_of, len(result))
    return result[list(COLUMNS)].astype({name: "str" for name, kind in TYPES.items() if kind == "VARCHAR"})


def _economics(customers: pd.DataFrame, horizon: str, capital_rate: float) -> _Economics:
    def column(name: str, decimals: int = 4) -> Floats:
        found = pd.to_numeric(customers[name], errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
        return np.where(np.isfinite(found), found, 0.0).round(decimals)

    avoidable, full_cost = horizon != "contribution", horizon == "full_cost"
    cost = {name: column(f"{name}_variable") + avoidable * column(f"{name}_step_fixed") for name in MOVING_COSTS}
    units, orders, net = column("quantity", 6), column("order_count", 0), column("net_revenue")
    sells = (units > 0) & (net > 0)
    # Cost of orders where no order was counted cannot be saved by fewer of them.
    counted = orders >= 1
    order_cost = np.where(counted, cost["order_cost"], 0.0)
    direct = avoidable * column("direct_cost")
    financing = avoidable * column("financing_cost")
    other = cost["other_cost"] + cost["order_cost"] - order_cost + direct
    other += financing + avoidable * column("expected_credit_loss")
    other += full_cost * (column("fixed_cost") + column("allocated_sustaining"))
    left = net - column("cost_of_goods_sold") - cost["volume_cost"] - cost["revenue_cost"]
    return _Economics(
        row=np.arange(len(customers)),
        sells=sells,
        units=units,
        orders=orders,
        net=net,
        list_revenue=column("list_revenue"),
        kept=1.0 - _divided(cost["revenue_cost"], net, sells, otherwise=0.0),
        price=_divided(net, units, sells),
        contribution=_divided(left, units, sells),
        order_cost=order_cost,
        per_order=_divided(order_cost, orders, counted, otherwise=0.0),
        other=other,
        cost_to_serve=sum(cost.values()) + direct,
        financing=financing,
        financing_per_day=net * capital_rate / DAYS_PER_YEAR,
        profit=(left - order_cost - other).round(4),
    )


def _price_change(some: _Economics) -> Floats:
    """Change of the net price per unit that brings the profit to zero; a price cannot fall below nothing."""
    change = _divided(-some.profit, some.units * some.kept, some.sells & (some.kept > 0))
    return np.maximum(change, -some.price)


def _price_columns(some: _Economics, change: Floats) -> dict[str, Floats]:
    tolerated = volume_change_tolerated(change * some.kept, some.contribution)
    share = _divided(change, some.price, some.sells)
    return {
        "percent": 100 * share,
        "effect": change * some.units * some.kept,
        "tolerated_volume_change_percent": 100 * tolerated,
        "break_even_elasticity": _divided(tolerated, share, share != 0),
    }


def _price_margin(some: _Economics, terms: _Terms) -> Columns:
    change = _price_change(some)
    sentence = terms.say(
        "Profitable as long as the net price falls by no more than {share} %, from {price} to {lowest} per unit, {ending}.",
        share=_figures(_down(_divided(-100 * change, some.price, some.sells), 2), 2),
        price=terms.money(some.price, 4),
        lowest=terms.money(_up(some.price + change, 4), 4),
    )
    refusals = [(np.isnan(change), "no_sales", _NO_SALES)]
    return _rows(some, terms, "price", some.price, change, refusals, sentence, **_price_columns(some, change))


def _price(some: _Economics, terms: _Terms) -> Columns:
    change = _price_change(some)
    columns = _price_columns(some, change)
    rise = _figures(_up(columns["percent"], 2), 2)
    sentence = terms.say(
        "Profitable if the net price rises by {rise} %, from {price} to {target} per unit, {ending}.",
        rise=rise,
        price=terms.money(some.price, 4),
        target=terms.money(_up(some.price + change, 4), 4),
    )
    lost = _figures(_down(-columns["tolerated_volume_change_percent"], 2), 2)
    known = ~np.isnan(columns["tolerated_volume_change_percent"])
    sentence = sentence + np.where(
        known, terms.say(" It would still be no worse than today with {lost} % of the volume lost.", lost=lost), ""
    )
    too_high = terms.say(
        "Not profitable by price: it would have to rise by {rise} %, above the {highest} % taken as possible, {ending}.",
        rise=rise,
        highest=[f"{100 * terms.highest_price_rise:.2f}"] * len(rise),
    )
    refusals = [
        (np.isnan(change), "no_sales", _NO_SALES),
        (columns["percent"] > 100 * terms.highest_price_rise, "above_highest_price_rise", too_high),
    ]
    return _rows(some, terms, "price", some.price, change, refusals, sentence, **columns)


def _discounts(some: _Economics, change: Floats) -> tuple[Floats, Floats]:
    """Discount in percent of the list price: today's, and with a changed net price."""
    listed = some.sells & (some.list_revenue > 0)
    today = 100 * _divided(some.list_revenue - some.net, some.list_revenue, listed)
    return today, 100 * _divided(some.list_revenue - some.net - change * some.units, some.list_revenue, listed)


def _discount_margin(some: _Economics, terms: _Terms) -> Columns:
    change = _price_change(some)
    today, ceiling = _discounts(some, change)
    sentence = terms.say(
        "Profitable as long as the discount is no more than {ceiling} % of the list price; today it is {today} %, {ending}.",
        ceiling=_figures(_down(ceiling, 2), 2),
        today=_figures(today, 2),
    )
    refusals = [
        (np.isnan(change), "no_sales", _NO_SALES),
        (np.isnan(ceiling), "no_list_price", _NO_LIST_PRICE),
    ]
    columns = _price_columns(some, change)
    return _rows(some, terms, "discount_ceiling", today, ceiling - today, refusals, sentence, **columns)


def _discount_ceiling(some: _Economics, terms: _Terms) -> Columns:
    change = _price_change(some)
    today, ceiling = _discounts(some, change)
    sentence = terms.say(
        "Profitable if the discount is no more than {ceiling} % of the list price instead of {today} %, {ending}.",
        ceiling=_figures(_down(ceiling, 2), 2),
        today=_figures(today, 2),
    )
    at_list = terms.say(
        "Not profitable by discount: even at the list price the loss would be {loss}, {ending}.",
        loss=terms.money(_up(-(some.profit + some.kept * (some.list_revenue - some.net)), 2)),
    )
    refusals = [
        (np.isnan(change), "no_sales", _NO_SALES),
        (np.isnan(ceiling), "no_list_price", _NO_LIST_PRICE),
        (ceiling < 0, "above_list_price", at_list),
    ]
    columns = _price_columns(some, change)
    return _rows(some, terms, "discount_ceiling", today, ceiling - today, refusals, sentence, **columns)


def _cost_to_serve(some: _Economics, terms: _Terms) -> Columns:
    loss, cost = -some.profit, some.cost_to_serve
    percent = _divided(100 * loss, cost, cost > 0)
    sentence = terms.say(
        "Profitable if the cost to serve falls by {loss} or {percent} %, from {cost} to {target}, {ending}.",
        loss=terms.money(_up(loss, 2)),
        percent=_figures(_up(percent, 2), 2),
        cost=terms.money(cost),
        target=terms.money(_down(cost - loss, 2)),
    )
    too_small = terms.say(
        "Not profitable by cost to serve: all of it is {cost}, and the loss is {loss}, {ending}.",
        cost=terms.money(np.maximum(cost, 0)),
        loss=terms.money(_up(loss, 2)),
    )
    refusals = [(loss > cost, "loss_above_cost_to_serve", too_small)]
    return _rows(some, terms, "cost_to_serve", cost, -loss, refusals, sentence, percent=-percent, effect=loss)


def _volume(some: _Economics, terms: _Terms, lever: str, needed: Floats, condition: str) -> Columns:
    percent = _divided(100 * (needed - some.units), some.units, some.sells)
    loses = terms.say(
        "No volume makes the customer profitable: each unit loses {loss}, {ending}.",
        loss=terms.money(_up(-some.contribution, 4), 4),
    )
    orders_lose = terms.say(
        "No volume makes the customer profitable at orders of {size} units: each unit earns {earned} and costs {cost} in orders, "
        "{ending}.",
        size=_figures(_divided(some.units, some.orders, some.orders > 0), 2),
        earned=terms.money(some.contribution, 4),
        cost=terms.money(_divided(some.order_cost, some.units, some.sells), 4),
    )
    sentence = terms.say(
        "Profitable if the volume grows by {percent} %, from {units} to {target} units " + condition + ", {ending}.",
        percent=_figures(_up(percent, 2), 2),
        units=_figures(some.units, 2),
        target=_figures(_up(needed, 2), 2),
    )
    refusals = [
        (~some.sells, "no_sales", _NO_SALES),
        (some.contribution <= 0, "unit_loses", loses),
        (np.isnan(needed), "order_costs_more_than_it_earns", orders_lose),
    ]
    effect = -some.profit
    return _rows(
        some, terms, lever, some.units, needed - some.units, refusals, sentence, percent=percent, effect=effect
    )


def _volume_same_orders(some: _Economics, terms: _Terms) -> Columns:
    needed = _divided(some.order_cost + some.other, some.contribution, some.contribution > 0)
    return _volume(some, terms, "volume_same_orders", needed, "in as many orders as today")


def _volume_same_order_size(some: _Economics, terms: _Terms) -> Columns:
    earned = some.contribution - _divided(some.order_cost, some.units, some.sells)
    needed = _divided(some.other, earned, earned > 0)
    return _volume(some, terms, "volume_same_order_size", needed, "in orders as large as today's")


def _fewer_orders_refused(some: _Economics, terms: _Terms) -> Refusals:
    too_much = terms.say(
        "Not profitable by fewer orders: an order costs {cost}, and {left} is left to pay for orders, {ending}.",
        cost=terms.money(some.per_order),
        left=terms.money(_down(some.earned_before_orders, 2)),
    )
    no_order_cost = f"Not by fewer orders: no cost counted here moves with orders, {terms.ending}."
    return [
        (~some.sells, "no_sales", _NO_SALES),
        (some.per_order <= 0, "no_order_cost", no_order_cost),
        (some.earned_before_orders < some.per_order, "one_order_costs_too_much", too_much),
    ]


def _order_size(some: _Economics, terms: _Terms) -> Columns:
    size = _divided(some.units, some.orders, some.sells & (some.orders > 0))
    needed = _divided(some.order_cost * size, some.earned_before_orders, some.earned_before_orders > 0)
    percent = 100 * _divided(needed - size, size, size > 0)
    sentence = terms.say(
        "Profitable if an order is {target} units on average instead of {size}, at the same volume, {ending}.",
        target=_figures(_up(needed, 2), 2),
        size=_figures(size, 2),
    )
    refusals = _fewer_orders_refused(some, terms)
    effect = -some.profit
    return _rows(some, terms, "order_size", size, needed - size, refusals, sentence, percent=percent, effect=effect)


def _consolidation(some: _Economics, terms: _Terms) -> Columns:
    payable = _divided(some.earned_before_orders, some.per_order, some.per_order > 0)
    target = np.maximum(_whole(payable), 0.0)
    change = np.where(target >= 1, target - some.orders, np.nan)
    percent = 100 * _divided(change, some.orders, some.orders > 0)
    sentence = terms.say(
        "Profitable if the same volume comes in {target} orders of {size} units instead of {orders} of {size_now}, {ending}.",
        target=_figures(target, 0),
        size=_figures(_divided(some.units, target, target > 0), 2),
        orders=_figures(some.orders, 0),
        size_now=_figures(_divided(some.units, some.orders, some.orders > 0), 2),
    )
    refusals = _fewer_orders_refused(some, terms)
    effect = -change * some.per_order
    return _rows(some, terms, "consolidation", some.orders, change, refusals, sentence, percent=percent, effect=effect)


def _payment_terms(some: _Economics, terms: _Terms) -> Columns:
    payable = some.financing_per_day > 0
    days = _divided(some.financing, some.financing_per_day, payable)
    cut = _divided(-some.profit, some.financing_per_day, payable & (some.financing > 0))
    percent = 100 * _divided(cut, days, days > 0)
    sentence = terms.say(
        "Profitable if the customer pays {cut} days earlier: {days} days are financed today, {target} would be, {ending}.",
        cut=_figures(_up(cut, 1), 1),
        target=_figures(_down(days - cut, 1), 1),
        days=_figures(days, 1),
    )
    too_late = terms.say(
        "Not profitable by payment terms: payment would have to come {cut} days earlier, and {days} days are financed, "
        "{ending}.",
        cut=_figures(_up(cut, 1), 1),
        days=_figures(np.maximum(days, 0), 1),
    )
    nothing = f"Not by payment terms: no financing is counted here, {terms.ending}."
    refusals = [
        (~payable | (some.financing <= 0), "no_financing_cost", nothing),
        (some.financing < -some.profit, "loss_above_financing_cost", too_late),
    ]
    effect = -some.profit
    return _rows(some, terms, "payment_terms", days, -cut, refusals, sentence, percent=-percent, effect=effect)


@dataclass(frozen=True)
class _Part:
    """A lever as part of a pair: money it brings at 100 %, how far it can go (1 = 100 %), and its value today."""

    lever: str
    money: Floats
    end: Floats
    current: Floats
    direction: int

    def change(self, share: Floats) -> Floats:
        return self.direction * share * self.current


def _parts(some: _Economics, terms: _Terms) -> list[_Part]:
    everything = np.ones(len(some.row))
    can_reprice = some.sells & (some.kept > 0)
    other_cost_to_serve = some.cost_to_serve - some.order_cost
    days = _divided(some.financing, some.financing_per_day, some.financing_per_day > 0)
    return [
        _Part(
            "price",
            np.where(can_reprice, some.net * some.kept, 0),
            everything * terms.highest_price_rise,
            some.price,
            +1,
        ),
        _Part("other_cost_to_serve", other_cost_to_serve, everything, other_cost_to_serve, -1),
        _Part(
            "consolidation",
            np.where(some.sells, some.order_cost, 0),
            _divided(some.orders - 1, some.orders, some.orders >= 1, otherwise=0.0),
            some.orders,
            -1,
        ),
        _Part("payment_terms", np.where(np.isnan(days), 0, some.financing), everything, days, -1),
    ]


def _shares(first: _Part, second: _Part, loss: Floats) -> tuple[Floats, Floats]:
    """How far each of two levers has to go so that they cover the loss with the smallest larger share; NaN where they cannot.

    The smallest maximum is where both go equally far, or one to its end.
    """
    both = (first.money > 0) & (second.money > 0) & (first.end > 0) & (second.end > 0)
    equal = _divided(loss, first.money + second.money, both)
    one = np.minimum(equal, first.end)
    other = _divided(loss - one * first.money, second.money, both)
    other = np.minimum(other, second.end)
    one = _divided(loss - other * second.money, first.money, both)
    # Orders are whole; the other lever does what is left.
    if first.lever == "consolidation":
        one = _whole_orders(one, first)
        other = _divided(loss - one * first.money, second.money, both)
    if second.lever == "consolidation":
        other = _whole_orders(other, second)
        one = _divided(loss - other * second.money, first.money, both)
    works = (one > 0) & (other > 0) & (one <= first.end * (1 + _ROUNDING)) & (other <= second.end * (1 + _ROUNDING))
    return np.where(works, one, np.nan), np.where(works, other, np.nan)


def _whole_orders(share: Floats, part: _Part) -> Floats:
    remaining = np.maximum(_whole(part.current * (1 - share)), 1.0)
    return 1 - _divided(remaining, part.current, part.current >= 1)


def _cheapest_pair(some: _Economics, terms: _Terms) -> Columns:
    loss = -some.profit
    parts = _parts(some, terms)
    pairs = list(combinations(parts, 2))
    shares = np.array([_shares(*pair, loss) for pair in pairs])
    larger = np.where(np.isnan(shares[:, 0]), np.inf, shares.max(axis=1))
    cheapest = larger.argmin(axis=0)
    refused = np.isinf(larger.min(axis=0))
    none = f"Not profitable by any two levers together, {terms.ending}."
    nothing = np.full(len(loss), None, dtype=object)
    first = _picked([pair[0] for pair in pairs], shares[:, 0], cheapest, terms)
    second = _picked([pair[1] for pair in pairs], shares[:, 1], cheapest, terms)
    return _rows(
        some,
        terms,
        "cheapest_pair",
        first["current"],
        first["change"],
        [(refused, "no_pair", none)],
        terms.say("Profitable if {first} and {second}, {ending}.", first=first["said"], second=second["said"]),
        percent=first["percent"],
        effect=first["effect"] + second["effect"],
        first_lever=np.where(refused, nothing, first["lever"]),
        unit=np.where(refused, nothing, first["unit"]),
        second_lever=np.where(refused, nothing, second["lever"]),
        second_unit=np.where(refused, nothing, second["unit"]),
        second_current_value=np.where(refused, np.nan, second["current"]),
        second_target_value=np.where(refused, np.nan, second["current"] + second["change"]),
        second_required_change=np.where(refused, np.nan, second["change"]),
        second_required_change_percent=np.where(refused, np.nan, second["percent"]),
    )


def _picked(parts: list[_Part], shares: Floats, chosen: NDArray[Any], terms: _Terms) -> dict[str, NDArray[Any]]:
    """Of each customer the part of the chosen pair, in figures and words."""
    customers = np.arange(len(chosen))
    changes = np.array([part.change(share) for part, share in zip(parts, shares, strict=True)])
    said = np.array([_said(part, share, terms) for part, share in zip(parts, shares, strict=True)], dtype=object)
    share = shares[chosen, customers]
    return {
        "lever": np.array([part.lever for part in parts], dtype=object)[chosen],
        "unit": np.array([UNITS[part.lever] for part in parts], dtype=object)[chosen],
        "current": np.array([part.current for part in parts])[chosen, customers],
        "change": changes[chosen, customers],
        "percent": 100 * share * np.array([part.direction for part in parts])[chosen],
        "effect": np.array([part.money for part in parts])[chosen, customers] * share,
        "said": said[chosen, customers],
    }


def _said(part: _Part, share: Floats, terms: _Terms) -> Texts:
    target = part.current + part.change(share)
    percent = _figures(_up(100 * share, 2), 2)
    if part.lever == "price":
        return terms.say(
            "the net price rises by {percent} % to {target} per unit",
            percent=percent,
            target=terms.money(_up(target, 4), 4),
        )
    if part.lever == "other_cost_to_serve":
        return terms.say(
            "the cost to serve other than that of orders falls by {percent} % to {target}",
            percent=percent,
            target=terms.money(_down(target, 2)),
        )
    if part.lever == "consolidation":
        return terms.say(
            "the same volume comes in {target} orders instead of {orders}",
            target=_figures(target, 0),
            orders=_figures(part.current, 0),
        )
    return terms.say("payment comes {days} days earlier", days=_figures(_up(-part.change(share), 1), 1))


_SINGLE_LEVERS: tuple[Callable[[_Economics, _Terms], Columns], ...] = (
    _price,
    _discount_ceiling,
    _cost_to_serve,
    _volume_same_orders,
    _volume_same_order_size,
    _order_size,
    _consolidation,
    _payment_terms,
)


def _rows(
    some: _Economics,
    terms: _Terms,
    lever: str,
    current: Floats,
    change: Floats,
    refusals: Refusals,
    sentence: Texts,
    *,
    percent: Floats,
    effect: Floats,
    **more: NDArray[Any],
) -> Columns:
    """The rows of one lever by column; the first refusal that applies to a customer is the reason why it is not feasible."""
    count = len(some.row)
    nothing, unknown = np.full(count, None, dtype=object), np.full(count, np.nan)
    why = nothing
    for refused, code, text in reversed(refusals):
        why = np.where(refused, code, why)
        sentence = np.where(refused, text, sentence)
    feasible = ~np.any([np.broadcast_to(refused, count) for refused, _, _ in refusals], axis=0)
    orders_cost = (some.per_order > 0) & (some.contribution > 0)
    minimum = _divided(some.per_order, some.contribution, orders_cost)
    columns: Columns = {
        "row": some.row,
        "horizon": np.full(count, terms.horizon, dtype=object),
        "lever": np.full(count, lever, dtype=object),
        "first_lever": nothing,
        "second_lever": nothing,
        "profit_now": some.profit,
        "is_profitable": some.profit >= 0,
        "is_feasible": feasible,
        "why_not_feasible": why,
        "unit": np.full(count, UNITS.get(lever), dtype=object),
        "current_value": current,
        "target_value": np.where(feasible, current + change, np.nan),
        "required_change": change,
        "required_change_percent": percent,
        "second_unit": nothing,
        "second_current_value": unknown,
        "second_target_value": unknown,
        "second_required_change": unknown,
        "second_required_change_percent": unknown,
        "expected_effect": np.where(feasible, effect, np.nan).round(4),
        "tolerated_volume_change_percent": unknown,
        "break_even_elasticity": unknown,
        "minimum_order_quantity": minimum,
        "minimum_order_value": minimum * some.price,
        "sentence": sentence,
    }
    columns |= more
    # A figure that is none is null; and 0 is never -0.
    return {
        name: np.where(np.isfinite(values), values, np.nan) + 0.0 if values.dtype == np.float64 else values
        for name, values in columns.items()
    }


def _ranks(result: pd.DataFrame) -> pd.Series:
    """1 for the feasible single lever of a customer and horizon that changes least."""
    single = result["is_feasible"] & ~result["is_profitable"] & (result["lever"] != "cheapest_pair")
    ranked = result["required_change_percent"].abs().where(single)
    return ranked.groupby([result["row"], result["horizon"]]).rank(method="first").astype("Int64")


def _divided(dividend: Floats | float, divisor: Floats | float, possible: Flags, otherwise: float = math.nan) -> Floats:
    """The quotient where it is possible and finite."""
    with np.errstate(all="ignore"):
        quotient = np.asarray(dividend, dtype="float64") / np.asarray(divisor, dtype="float64")
    return np.where(possible & np.isfinite(quotient), quotient, otherwise)


_ROUNDING = 1e-9
"""What floats may be off: 9 orders that come out as 8.9999999999 are 9."""


def _whole(values: Floats) -> Floats:
    return np.floor(values + _ROUNDING)


def _up(values: Floats, decimals: int) -> Floats:
    return np.ceil(np.round(values * 10**decimals, 6)) / 10**decimals


def _down(values: Floats, decimals: int) -> Floats:
    return -_up(-values, decimals)


def _figures(values: Floats, decimals: int) -> list[str]:
    """Numbers as a person writes them; of four decimals those that are zero are left out."""
    rounded = np.round(values, decimals) + 0.0
    if decimals <= 2:
        return [f"{value:,.{decimals}f}" for value in rounded]
    return [f"{value:,.2f}" if value == round(value, 2) else f"{value:,.{decimals}f}" for value in rounded]
