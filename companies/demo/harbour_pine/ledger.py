"""The double-entry ledger of all that: one voucher per document, payment, carrier bill and monthly expense."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd

from harbour_pine.profile import (
    ACCOUNTS,
    BANK,
    CAPITAL,
    COST_OF_GOODS,
    DEPRECIATION,
    EXPENSES,
    FIRST_DAY,
    FREIGHT,
    FREIGHT_PERCENT_OF_MARGIN,
    INCOME_TAX,
    INCOME_TAX_PERCENT_OF_MARGIN,
    INTEREST,
    INTEREST_PERCENT_OF_MARGIN,
    INVENTORY,
    MONTHS,
    PAYABLES,
    PREPAID_ASSETS,
    RECEIVABLES,
    REVENUE,
    START,
    VAT_PAYABLE,
    YEARLY_RAISE,
    day_number,
)
from harbour_pine.world import World


def make_ledger(world: World) -> None:
    """Table `gl`: one row per voucher line; `cents` debit +, credit -; `seen` is the day it is delivered."""
    world.con.execute("""
        create table gl (journal text, line int, header text, text text, source text, day int, account text,
            cents bigint,
            entered_by text, cost_center text, customer_code text, seen int, reversal_indicator text,
                reversal_journal text)
    """)
    margin = int(world.value("select sum(net - cost) from documents"))
    days = {"first": [day_number(m) for m in MONTHS], "last": [_month_end(m) for m in MONTHS]}
    world.put("months", pd.DataFrame({"month": range(len(MONTHS)), **days}))
    _post_opening(world)
    _post_documents(world)
    _post_payments(world)
    _post_freight(world, margin)
    _post_expenses(world, margin)
    _post_supply_and_tax(world, margin)
    _post_reversed_vouchers(world, margin)


def _month_end(first: datetime.date) -> int:
    following = (first.replace(day=28) + datetime.timedelta(days=4)).replace(day=1)
    return day_number(following) - 1


def post(world: World, sql: str) -> None:
    """Append the vouchers a select over gl's columns gives; `seen` is added: their day, or the first delivery."""
    world.con.execute(f"insert into gl by name select *, greatest(day, {FIRST_DAY}) as seen from ({sql})")


def _post_opening(world: World) -> None:
    turnover = int(world.value("select sum(cost) from documents"))
    balances = {
        BANK: turnover // 6,
        INVENTORY: turnover // 8,
        PREPAID_ASSETS: turnover // 15,
        PAYABLES: -turnover // 18,
    }
    balances[CAPITAL] = -sum(balances.values())
    rows = ", ".join(
        f"({line}, '{account}', {cents})" for line, (account, cents) in enumerate(balances.items(), start=1)
    )
    post(
        world,
        f"""select 'OB-240701' as journal, line::int as line, 'Opening balances' as header,
        'Opening balance' as text,
        'OPENING' as source, 0 as day, account, cents, 'chenyu' as entered_by from (values {rows}) as v(line,
            account, cents)""",
    )


def _post_documents(world: World) -> None:
    """An invoice debits receivables and cost of goods, and credits revenue, VAT, inventory; a credit note reverses."""
    world.con.execute(f"""
        insert into gl by name
        select 'SI-' || d.id as journal, v.line, (case when d.original < 0 then 'Invoice ' else
            'Credit note ' end) || d.id as header,
            v.text, 'SALES' as source, d.day, v.account,
            (case v.line when 1 then d.gross when 2 then -d.net when 3 then -d.tax when 4 then d.cost else
                -d.cost end) as cents,
            'liuwei' as entered_by, null as cost_center, case when v.line = 1 then
                d.customer_code end as customer_code, d.seen
        from documents d
        cross join (values (1, 'Receivable', '{RECEIVABLES}'), (2, 'Goods sold', '{REVENUE}'), (3,
            'Output VAT', '{VAT_PAYABLE}'),
            (4, 'Cost of goods sold', '{COST_OF_GOODS}'), (5, 'Goods issued', '{INVENTORY}')) as v(line, text,
                account)
        order by d.number, v.line
    """)


def _post_payments(world: World) -> None:
    post(
        world,
        f"""
        select 'CR-' || p.id as journal, v.line, 'Payment ' || p.id as header, v.text, 'CASH' as source, p.day,
            v.account,
            v.sign * p.amount as cents, 'zhaomin' as entered_by, case when v.line = 2 then
                p.customer_code end as customer_code
        from payments p
        cross join (values (1, 'Money received', '{BANK}', 1), (2, 'Receivable settled', '{RECEIVABLES}',
            -1)) as v(line, text, account, sign)
        order by p.day, p.id, v.line
    """,
    )


def _post_freight(world: World, margin: int) -> None:
    """Carriers bill on Fridays and at the end of the month, one line per customer: freight is a direct cost."""
    rng = world.rng("freight")
    documents = world.frame("select customer_code, day, lines, net from documents where original < 0 order by number")
    weight = (900 + 260 * documents["lines"] ** 0.8 + documents["net"] * 0.006) * rng.lognormal(0, 0.25, len(documents))
    cents = np.maximum(1, np.round(weight / weight.sum() * margin * FREIGHT_PERCENT_OF_MARGIN / 100)).astype(np.int64)
    day = documents["day"].to_numpy()
    friday = day + (4 - (day + START.weekday()) % 7) % 7
    month_ends = np.array([_month_end(m) for m in MONTHS])
    billed = np.minimum(friday, month_ends[np.searchsorted(month_ends, day)])
    frame = documents.assign(day=billed, cents=cents).groupby(["day", "customer_code"], as_index=False)["cents"].sum()
    world.put("freight", frame)
    post(
        world,
        f"""
        select 'FR-' || strftime(on_day(day), '%y%m%d') as journal,
            row_number() over (partition by day order by customer_code)::int as line,
            'Carrier bill ' || on_day(day) as header, 'Freight to ' || customer_code as text,
                'PURCHASE' as source, day,
            '{FREIGHT}' as account, cents, 'wanglei' as entered_by, 'CC310' as cost_center, customer_code
        from freight order by day, customer_code
    """,
    )
    post(
        world,
        f"""
        select 'FR-' || strftime(on_day(day), '%y%m%d') as journal, count(*)::int + 1 as line,
            'Carrier bill ' || on_day(day) as header,
            'Carrier payable' as text, 'PURCHASE' as source, day, '{PAYABLES}' as account,
                -sum(cents)::bigint as cents, 'wanglei' as entered_by
        from freight group by day order by day
    """,
    )


def expense_plan(margin: int) -> pd.DataFrame:
    """One row per expense and month: `planned` cents if every month were an average one but for the yearly raise."""
    rows = []
    for number, expense in enumerate(EXPENSES):
        for month, first in enumerate(MONTHS):
            planned = margin * expense.percent_of_margin / 100 / len(MONTHS)
            day = day_number(first) + expense.day_of_month - 1
            rows.append((number, month, expense.cost_center, expense.account, day,
                         expense.follows_volume, planned * (1 + YEARLY_RAISE) ** (first.year - 2025)))  # fmt: skip
    return pd.DataFrame(
        rows, columns=["expense", "month", "cost_center", "account", "day", "follows_volume", "planned"]
    )


def _post_expenses(world: World, margin: int) -> None:
    """Monthly vouchers per cost centre and account, and table `budget_plan` with what was expected of them."""
    rng, plan = world.rng("expenses"), expense_plan(margin)
    lines = world.frame(
        "select m.month, sum(d.lines) as lines from documents d join months m on d.day between m.first and m.last "
        "group by 1 order by 1"
    )
    volume = np.zeros(len(MONTHS))
    volume[lines["month"]] = lines["lines"]
    volume = volume / volume.mean()
    level = 1 + plan["follows_volume"] * (volume[plan["month"]] - 1)
    plan["cents"] = np.round(plan["planned"] * level * rng.normal(1, 0.015, len(plan))).astype(np.int64)
    plan["budget"] = (np.round(plan["planned"] * rng.normal(1.01, 0.03, len(plan)) / 10_000) * 10_000).astype(np.int64)
    world.put("expenses", plan)
    accounts = ", ".join(f"('{number}', '{name}')" for number, name, _, _ in ACCOUNTS)
    post(
        world,
        f"""
        select 'GJ-' || strftime(on_day(e.day), '%y%m') || '-' || printf('%03d', e.expense + 1) as journal, v.line,
            a.name || ' ' || strftime(on_day(e.day), '%Y-%m') as header,
                a.name || ' ' || e.cost_center as text, 'GENERAL' as source, e.day,
            case when v.line = 1 then e.account when e.account = '660110' then '{DEPRECIATION}' else
                '{BANK}' end as account,
            v.sign * e.cents as cents, 'chenyu' as entered_by, case when v.line = 1 then
                e.cost_center end as cost_center
        from expenses e join (values {accounts}) as a(number, name) on a.number = e.account
        cross join (values (1, 1), (2, -1)) as v(line, sign)
        order by e.month, e.expense, v.line
    """,
    )


def _post_supply_and_tax(world: World, margin: int) -> None:
    """Goods bought and paid for, VAT settled, interest, income tax: what a ledger holds beside the costs of serving."""
    interest, tax = margin * INTEREST_PERCENT_OF_MARGIN / 100 / 24, margin * INCOME_TAX_PERCENT_OF_MARGIN / 100 / 8
    world.con.execute("""
        create temp table monthly as
        select m.month, m.first, m.last, coalesce(sum(d.cost), 0)::bigint as cost, coalesce(sum(d.tax),
            0)::bigint as tax
        from months m left join documents d on d.day between m.first and m.last
        group by all
    """)
    kinds = (
        ("PU", "Goods received", "last", INVENTORY, PAYABLES, "cost * 102 // 100", "true"),
        ("PP", "Suppliers paid", "last", PAYABLES, BANK, "cost * 99 // 100", "true"),
        ("VT", "VAT settled", "last", VAT_PAYABLE, BANK, "tax * 9 // 10", "true"),
        ("IN", "Interest", "last", INTEREST, BANK, f"{round(interest)}", "true"),
        ("TX", "Income tax", "last", INCOME_TAX, BANK, f"{round(tax)}", "month % 3 = 2"),
    )
    for prefix, text, day, debit, credit, amount, when in kinds:
        post(
            world,
            f"""
            select '{prefix}-' || strftime(on_day({day}), '%y%m') as journal, v.line,
                '{text} ' || strftime(on_day({day}), '%Y-%m') as header,
                '{text}' as text, 'GENERAL' as source, {day} as day, v.account,
                    v.sign * ({amount})::bigint as cents, 'chenyu' as entered_by
            from monthly cross join (values (1, '{debit}', 1), (2, '{credit}', -1)) as v(line, account, sign)
            where {when} order by month, v.line
        """,
        )


def _post_reversed_vouchers(world: World, margin: int) -> None:
    """Bills booked twice, and the second booking reversed: one within June, one of May only in June.

    Both vouchers stay posted, and the original is delivered again with the mark of its reversal.
    """
    pairs = (
        ("GJ-2606-901", datetime.date(2026, 6, 8), "GJ-2606-902", datetime.date(2026, 6, 12), "660104", "CC900", 3000),
        ("GJ-2605-903", datetime.date(2026, 5, 20), "GJ-2606-904", datetime.date(2026, 6, 4), "660105", "CC200", 5000),
    )
    for original, wrong_on, reversal, mended_on, account, cost_center, part in pairs:
        wrong, mended, cents = day_number(wrong_on), day_number(mended_on), margin // part
        for journal, other, day, seen, sign, indicator in (
            (original, "", wrong, max(wrong, FIRST_DAY), 1, ""),
            (reversal, original, mended, mended, -1, "1"),
            (original, reversal, wrong, mended, 1, "2"),
        ):
            world.con.execute(f"""
                insert into gl by name
                select '{journal}' as journal, v.line, 'Bill of {wrong_on:%Y-%m}' as header,
                    'Booked twice' as text, 'GENERAL' as source,
                    {day} as day, v.account, {sign} * v.sign * {cents} as cents, 'chenyu' as entered_by,
                    v.cost_center, {seen} as seen,
                    nullif('{indicator}', '') as reversal_indicator, nullif('{other}', '') as reversal_journal
                from (values (1, '{account}', '{cost_center}', 1), (2, '{BANK}', null, -1)) as v(line, account,
                    cost_center, sign) order by v.line
            """)
    world.dirt["reversed_vouchers"] = len(pairs)
