"""Customer actions: what to do about each customer, why, what it may bring and who does it.

Belongs here: putting the figures of all other tables beside each other, and giving the advice a playbook declares. Not here:
what a rule may say (`playbook`), any score, and what became of the advice (`action_outcomes`). It is advice: nothing is done by
itself.

Money columns are floats rounded to four decimals; the warehouse stores them as DECIMAL(22,4).
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics import playbook as playbooks
from assets.analytics.history import MONEY_SCALE, as_of_column, money, month_number
from assets.analytics.playbook import ACCOUNT_MANAGER, MEASURES, NUMERIC, Playbook, Rule

MONTHS = 12

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "action": "VARCHAR",
    "action_rank": "INTEGER",
    "priority_rank": "BIGINT",
    "rule_id": "VARCHAR",
    "title": "VARCHAR",
    "title_zh": "VARCHAR",
    "reason": "VARCHAR",
    "reason_zh": "VARCHAR",
    "expected_effect": "DECIMAL(22,4)",
    "effect_basis": "VARCHAR",
    "effect_basis_zh": "VARCHAR",
    "owner_ref": "VARCHAR",
    "owner_role": "VARCHAR",
    "due_date": "DATE",
    "playbook_version": "VARCHAR",
}
"""Columns of the table and their types, in order."""

CUSTOMERS = """
    select customer_id, owner_ref, segment, industry, country, region, is_in_crm
    from facts.dim_customers
    where not is_deleted and not starts_with(customer_id, 'erased:')
"""
"""Whom somebody can still do something about: not those deleted in their CRM, nor those erased on request."""

LEVERS = """
    with losses as (
        select *
        from analytics.break_even
        where horizon = 'full_cost' and not is_profitable
    ),

    avoidable as (
        select customer_id, min(profit_now) as avoidable_profit_12m
        from analytics.break_even
        where horizon = 'avoidable'
        group by customer_id
    ),

    levers as (
        select
            customer_id,
            min(lever) filter (where lever_rank = 1 and is_feasible) as easiest_lever,
            coalesce(bool_or(is_feasible) filter (where lever = 'price'), false) as price_feasible,
            max(required_change_percent) filter (where lever = 'price' and is_feasible) as price_change_percent,
            max(expected_effect) filter (where lever = 'price' and is_feasible) as price_effect,
            coalesce(bool_or(is_feasible) filter (where lever = 'cost_to_serve'), false) as service_feasible,
            max(required_change) filter (where lever = 'cost_to_serve' and is_feasible) as service_change,
            max(expected_effect) filter (where lever = 'cost_to_serve' and is_feasible) as service_effect,
            coalesce(bool_or(is_feasible) filter (where lever = 'order_size'), false) as order_size_feasible,
            max(minimum_order_value) as minimum_order_value,
            max(expected_effect) filter (where lever = 'order_size' and is_feasible) as order_size_effect
        from losses
        group by customer_id
    )

    select avoidable.customer_id, avoidable.avoidable_profit_12m, levers.* exclude (customer_id)
    from avoidable
    left join levers on avoidable.customer_id = levers.customer_id
"""

CREDIT = """
    select
        customer_id,
        suggestion as credit_suggestion,
        expected_effect as credit_effect,
        explanation as credit_explanation,
        exposure,
        overdue,
        share_overdue_over_90
    from analytics.credit_risk
"""

CHURN = """
    select customer_id, churn_probability, expected_profit_lost, reason_1_text as churn_reason
    from analytics.churn_risk
"""

VALUES = "select customer_id, clv, value_tier from analytics.customer_clv"

LIFECYCLES = """
    select
        customer_id,
        stage,
        previous_stage,
        months_in_stage,
        probability_of_purchase,
        own_reference,
        ratio as ratio_to_own_reference
    from analytics.customer_lifecycle
"""

MATRIX = """
    select
        customer_id,
        net_revenue_12m,
        profit_12m,
        margin_12m,
        profit_class,
        relationship_class,
        relationship_strength,
        relationship_coverage,
        quadrant
    from analytics.profitability_matrix
"""

POTENTIALS = """
    select customer_id, weighted_pipeline, gap_to_peers, potential_value
    from analytics.customer_potential
"""

RFM = """
    select customer_id, days_since_last_purchase, orders_12m, rfm_tier, customer_tier
    from analytics.customer_rfm
"""


class Inputs(NamedTuple):
    """What is known of customers, one row per customer each but `profits` (customer and month, see profitability_matrix)."""

    customers: pd.DataFrame
    profits: pd.DataFrame
    levers: pd.DataFrame
    credit: pd.DataFrame
    churn: pd.DataFrame
    values: pd.DataFrame
    lifecycles: pd.DataFrame
    matrix: pd.DataFrame
    potentials: pd.DataFrame
    rfm: pd.DataFrame


def measures(inputs: Inputs, as_of: datetime.date, *, horizon_months: int) -> pd.DataFrame:
    """Every measure a playbook may name and owner_ref, one row per customer of `inputs.customers`, by customer_id.

    What a table does not say of a customer is missing. Made here:

    - profit_when_active: operating profit of the 12 months up to the last month with revenue.
    - profit_at_stake_12m: profit_12m, where there is any, x churn_probability.
    - loss_12m, avoidable_loss_12m: the operating loss, and that counting avoidable cost only; 0 where there is none.
    - average_order_value: net_revenue_12m / orders_12m.
    - clv_per_year: clv / (`horizon_months` / 12).
    - potential_profit, pipeline_profit: gap_to_peers and weighted_pipeline, where above 0, x margin_12m, where above 0.
    """
    customers = inputs.customers[inputs.customers["customer_id"].notna()].drop_duplicates("customer_id")
    table = customers.set_index(customers["customer_id"].astype("object"))[["owner_ref"]].sort_index(kind="stable")
    known: dict[str, NDArray[Any]] = {}
    for frame in inputs._replace(customers=customers, profits=_when_active(inputs.profits, as_of)):
        place = table.index.get_indexer(pd.Index(frame["customer_id"].astype("object")))
        for name in frame.columns:
            if name in MEASURES:
                column = frame[name][place >= 0]
                known[name] = _placed(column, MEASURES[name].kind, place[place >= 0], len(table))
    numbers = {
        name: known.get(name, np.full(len(table), np.nan)) for name in MEASURES if MEASURES[name].kind in NUMERIC
    }
    profit, margin = numbers["profit_12m"], np.maximum(numbers["margin_12m"], 0.0)
    numbers["profit_at_stake_12m"] = np.maximum(profit, 0.0) * numbers["churn_probability"]
    numbers["loss_12m"] = np.maximum(-profit, 0.0)
    numbers["avoidable_loss_12m"] = np.maximum(-numbers["avoidable_profit_12m"], 0.0)
    orders = numbers["orders_12m"]
    numbers["average_order_value"] = np.divide(
        numbers["net_revenue_12m"], orders, out=np.full(len(table), np.nan), where=orders > 0
    )
    numbers["clv_per_year"] = numbers["clv"] * MONTHS / horizon_months
    numbers["potential_profit"] = np.maximum(numbers["gap_to_peers"], 0.0) * margin
    numbers["pipeline_profit"] = np.maximum(numbers["weighted_pipeline"], 0.0) * margin
    nothing = np.full(len(table), None, dtype="object")
    columns = {name: numbers[name] if name in numbers else known.get(name, nothing) for name in MEASURES}
    return pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)


def advise(measured: pd.DataFrame, as_of: datetime.date, book: Playbook, *, currency: str = "") -> pd.DataFrame:
    """One row per customer and action that a rule of `book` advises, as of one date; `measured` comes from `measures`.

    Rules are asked in their order. A rule gives its advice where all its conditions hold, its effect is known and not below 0, no
    earlier rule has advised the same action, and none an action it is `not_with`. With `max_per_owner` only those of the
    largest effect are kept, per account manager or desk.

    - expected_effect: profit a year, base currency, four decimals: the effect's measure x `times`; effect_basis: in words.
      What customers do in answer to it is not in it, and the effects of two actions on one customer overlap: not a sum.
    - action_rank: within the customer, priority_rank: over the company; largest effect first, then order of rules and ids.
    - title, reason: sentences with the customer's own figures, amounts behind `currency`; *_zh: in Chinese.
    - owner_ref: the customer's owner where owner_role is account_manager; missing where another desk acts, or none is known.
    - due_date: `as_of` and the rule's days.
    """
    given: dict[str, NDArray[np.bool_]] = {}
    parts = []
    for place, rule in enumerate(book.rules):
        effect = (measured[rule.effect.measure].to_numpy(dtype="float64", na_value=np.nan) * rule.effect.times).round(4)
        holds = np.isfinite(effect) & (effect >= 0)
        for condition in rule.when:
            holds &= condition.holds(measured)
        for action in (rule.action, *rule.not_with):
            if action in given:
                holds &= ~given[action]
        chosen = _most_effective(np.flatnonzero(holds), effect, measured, rule)
        given[rule.action] = given.get(rule.action, np.zeros(len(measured), dtype=bool))
        given[rule.action][chosen] = True
        parts.append(
            _rows(measured.iloc[chosen], effect[chosen], rule, as_of, currency).assign(row=chosen, place=place)
        )
    table = pd.concat(parts, ignore_index=True)
    # `measured` is in the order of ids, so that its row numbers sort as they do, and faster.
    table = table.iloc[np.lexsort((table["row"], table["place"], -table["expected_effect"]))]
    table["priority_rank"] = np.arange(1, len(table) + 1)
    table["action_rank"] = table.groupby("row").cumcount() + 1
    table = table.iloc[np.lexsort((table["action_rank"], table["row"]))].reset_index(drop=True)
    return table.assign(as_of_date=as_of_column(as_of, len(table)), playbook_version=book.version)[list(TYPES)]


def _most_effective(
    chosen: NDArray[np.intp], effect: NDArray[np.float64], measured: pd.DataFrame, rule: Rule
) -> NDArray[np.intp]:
    if rule.max_per_owner is None or not len(chosen):
        return chosen
    owners = measured["owner_ref"].iloc[chosen] if rule.owner == ACCOUNT_MANAGER else pd.Series([""] * len(chosen))
    rows = pd.DataFrame({"row": chosen, "owner": owners.fillna("").to_numpy(), "effect": -effect[chosen]})
    rows = rows.sort_values(["effect", "row"], kind="stable")
    kept = rows.loc[rows.groupby("owner").cumcount() < rule.max_per_owner, "row"]
    return np.sort(kept.to_numpy())


def _rows(
    measured: pd.DataFrame, effect: NDArray[np.float64], rule: Rule, as_of: datetime.date, currency: str
) -> pd.DataFrame:
    due = as_of + datetime.timedelta(days=rule.due_in_days)
    texts = {
        name: playbooks.sentences(getattr(rule, name), measured, "zh" if name.endswith("_zh") else "en", currency)
        for name in ("title", "title_zh", "reason", "reason_zh")
    }
    basis = measured[rule.effect.measure]
    owner = measured["owner_ref"] if rule.owner == ACCOUNT_MANAGER else pd.Series([None] * len(measured))
    return pd.DataFrame(
        {
            "customer_id": measured.index.to_numpy(dtype="object"),
            "action": pd.Series([rule.action] * len(measured), dtype="object"),
            "rule_id": pd.Series([rule.rule] * len(measured), dtype="object"),
            **{name: pd.Series(written, dtype="object") for name, written in texts.items()},
            # Adding zero turns a minus zero into zero.
            "expected_effect": effect + 0.0,
            **{
                name: pd.Series(
                    [
                        rule.effect.words(amount, language)
                        for amount in playbooks.figures(rule.effect.measure, basis, language, currency)
                    ],
                    dtype="object",
                )
                for name, language in (("effect_basis", "en"), ("effect_basis_zh", "zh"))
            },
            "owner_ref": owner.astype("object").where(owner.notna(), None).to_numpy(),
            "owner_role": pd.Series([rule.owner] * len(measured), dtype="object"),
            "due_date": as_of_column(due, len(measured)),
        }
    )


def _when_active(profits: pd.DataFrame, as_of: datetime.date) -> pd.DataFrame:
    months = month_number(profits["month"])
    known = pd.DataFrame(
        {
            "customer_id": profits["customer_id"],
            "month": months,
            "revenue": money(profits["net_revenue"]),
            "profit": money(profits["operating_profit"]),
        }
    )
    known = known[known["customer_id"].notna() & (known["month"] <= as_of.year * 12 + as_of.month)]
    codes, ids = pd.factorize(known["customer_id"].to_numpy(dtype="object"))
    sold = (known["revenue"] > 0).to_numpy()
    last = np.full(len(ids), -1, dtype="int64")
    np.maximum.at(last, codes[sold], known["month"].to_numpy()[sold])
    is_last_year = ((known["month"] <= last[codes]) & (known["month"] > last[codes] - MONTHS)).to_numpy()
    sums = np.zeros(len(ids), dtype="int64")
    np.add.at(sums, codes[is_last_year], known["profit"].to_numpy()[is_last_year])
    return pd.DataFrame({"customer_id": ids[last >= 0], "profit_when_active": sums[last >= 0] / MONEY_SCALE})


def _placed(column: pd.Series, kind: str, place: NDArray[np.intp], rows: int) -> NDArray[Any]:
    """The values in the rows `place` of `rows`: figures as floats, flags as yes and no, texts. Missing, and no finite number, is
    not a number or None; of two rows of one customer the first counts."""
    if kind in NUMERIC:
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
        values = np.where(np.isfinite(values), values, np.nan)
        found: NDArray[Any] = np.full(rows, np.nan)
    else:
        values = column.to_numpy(dtype="object", copy=True)
        if kind == "flag":
            is_so = column.astype("boolean").fillna(False).to_numpy(dtype=bool)
            values = np.where(is_so, "yes", "no").astype("object")
        values[column.isna().to_numpy()] = None
        found = np.full(rows, None, dtype="object")
    found[place[::-1]] = values[::-1]
    return found
