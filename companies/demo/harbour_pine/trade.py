"""What is sold and paid: invoices, lines, credit notes, payments and what they settle."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd

from harbour_pine.profile import (
    DIRT,
    FIRST_DAY,
    LAST_DAY,
    PRODUCTS,
    SEASON,
    VAT_PERCENT,
    WEEKDAY,
    YEARLY_GROWTH,
    date_of,
    day_number,
)
from harbour_pine.world import World, per_archetype


def day_weights() -> np.ndarray:
    """How much is sold on each day of the history, relative to the others."""
    dates = [date_of(day) for day in range(LAST_DAY + 1)]
    season = np.array([SEASON[d.month - 1] * WEEKDAY[d.weekday()] for d in dates])
    return season * (1 + YEARLY_GROWTH) ** (np.arange(LAST_DAY + 1) / 365)


def draw_invoices(world: World, line_count: int) -> pd.DataFrame:
    """One row per invoice, in order of day: who bought when, and with how many lines (together `line_count`)."""
    rng, buyers = world.rng("invoices"), world.customers[world.customers["kind"] != "prospect"]
    cumulated = np.concatenate([[0.0], np.cumsum(day_weights())])
    first = buyers["first"].to_numpy()
    low, high = cumulated[first], cumulated[buyers["last"].to_numpy() + 1]
    chance = buyers["order_rate"].to_numpy() * (high - low)
    chance = chance / chance.sum()
    mean_lines = per_archetype("lines_per_order", buyers["archetype"].to_numpy())
    count = max(1, round(line_count / float((chance * mean_lines).sum())))
    buyer = np.repeat(np.arange(len(buyers)), rng.multinomial(count, chance))
    moment = low[buyer] + rng.random(count) * (high - low)[buyer]
    day = np.clip(np.searchsorted(cumulated, moment, side="right") - 1, 0, LAST_DAY)
    lines = 1 + rng.poisson(mean_lines[buyer] - 1)
    frame = pd.DataFrame({"customer": buyers["customer"].to_numpy()[buyer], "day": day, "lines": lines})
    frame = frame.sort_values(["day", "customer"], kind="stable", ignore_index=True)
    frame["lines"] = _adjusted_to(frame["lines"].to_numpy(), line_count, rng)
    return frame


def _adjusted_to(lines: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Line counts changed by one here and there until they add up to `wanted`, none below one."""
    lines = lines.copy()
    while (missing := wanted - int(lines.sum())) != 0:
        candidates = np.arange(len(lines)) if missing > 0 else np.flatnonzero(lines > 1)
        if not len(candidates):
            raise ValueError(f"{len(lines)} invoices cannot have only {wanted} lines; ask for more lines")
        picked = rng.choice(candidates, size=min(abs(missing), len(candidates)), replace=False)
        lines[picked] += np.sign(missing)
    return lines


def draw_lines(world: World, invoices: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """One row per invoice line; amounts in cents. A customer keeps buying from its own part of the catalogue."""
    rng, customers = world.rng("lines"), world.customers
    invoice = np.repeat(np.arange(len(invoices)), invoices["lines"])
    number = (
        np.arange(len(invoice)) - np.repeat(np.cumsum(invoices["lines"]) - invoices["lines"], invoices["lines"]) + 1
    )
    customer = invoices["customer"].to_numpy()[invoice]
    product = (customer * 17 + np.minimum(rng.geometric(0.06, len(invoice)), 90) * 7) % PRODUCTS
    price = products["price"].to_numpy()[product]
    typical = per_archetype("units_per_line", customers["archetype"].to_numpy()[customer])
    size = typical * customers["unit_factor"].to_numpy()[customer] * rng.lognormal(-0.125, 0.5, len(invoice))
    quantity = np.maximum(1, np.round(size * np.sqrt(12_000 / price))).astype(np.int64)
    rate = np.clip(customers["discount"].to_numpy()[customer] + rng.normal(0, 0.02, len(invoice)), 0, 0.40)
    gross = quantity * price
    discount = np.round(gross * rate).astype(np.int64)
    frame = pd.DataFrame({
        "document": invoice, "line": number, "product": product, "quantity": quantity, "price": price,
        "discount": discount, "net": gross - discount, "cost": quantity * products["cost"].to_numpy()[product],
    })  # fmt: skip
    frame["tax"] = _tax(frame["net"])
    return frame


def _tax(net: pd.Series) -> pd.Series:
    """VAT in whole cents, rounded half away from zero as the invoice prints it."""
    return np.sign(net) * ((np.abs(net) * VAT_PERCENT + 50) // 100)


def draw_credit_notes(
    world: World, invoices: pd.DataFrame, lines: pd.DataFrame, count: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Credit notes of one line each: part of what one invoice line delivered comes back some days later."""
    rng = world.rng("credits")
    returnable = np.flatnonzero(invoices["day"].to_numpy() <= LAST_DAY - 25)
    original = np.sort(rng.choice(returnable, size=count, replace=False))
    line = rng.integers(0, invoices["lines"].to_numpy()[original])
    first_line = (invoices["lines"].cumsum() - invoices["lines"]).to_numpy()[original]
    picked = lines.iloc[first_line + line].reset_index(drop=True)
    returned = np.ceil(picked["quantity"] * rng.uniform(0.3, 1.0, len(picked))).astype(np.int64)
    credit_lines = picked.assign(
        line=1, quantity=-returned, cost=-(picked["cost"] // picked["quantity"] * returned),
        discount=-(picked["discount"] * returned // picked["quantity"]),
    )  # fmt: skip
    credit_lines["net"] = credit_lines["quantity"] * credit_lines["price"] - credit_lines["discount"]
    credit_lines["tax"] = _tax(credit_lines["net"])
    documents = pd.DataFrame({
        "customer": invoices["customer"].to_numpy()[original], "lines": 1, "original": original,
        "day": invoices["day"].to_numpy()[original] + rng.integers(3, 21, len(picked)),
    })  # fmt: skip
    credit_lines["document"] = len(invoices) + np.arange(len(picked))
    return documents, credit_lines


def make_documents(world: World, line_count: int, products: pd.DataFrame) -> None:
    """Tables `documents` (invoices and credit notes, amounts in cents) and `lines`."""
    credits_wanted = max(3, line_count * 6 // 1000)
    invoices = draw_invoices(world, line_count - credits_wanted)
    lines = draw_lines(world, invoices, products)
    invoices["original"] = -1
    notes, note_lines = draw_credit_notes(world, invoices, lines, credits_wanted)
    documents = pd.concat([invoices, notes], ignore_index=True)
    lines = pd.concat([lines, note_lines], ignore_index=True)
    totals = lines.groupby("document")[["net", "tax", "cost"]].sum()
    documents[["net", "tax", "cost"]] = totals.loc[documents.index].to_numpy()
    documents["gross"] = documents["net"] + documents["tax"]
    documents["document"] = documents.index
    rng = world.rng("documents")
    documents["channel"] = rng.choice(4, len(documents), p=[0.35, 0.25, 0.30, 0.10])
    documents["minute"] = rng.integers(510, 1080, len(documents))
    terms = world.customers["terms"].to_numpy()[documents["customer"]]
    documents["due"] = np.where(documents["original"] < 0, documents["day"] + terms, documents["day"])
    documents["pay_day"] = plan_payments(world, documents)
    documents["seen"] = np.maximum(documents["day"], FIRST_DAY)
    _make_some_late(world, documents)
    order = np.lexsort((documents.index, documents["day"]))
    documents["number"] = np.empty(len(documents), dtype=np.int64)
    documents.loc[order, "number"] = np.arange(1, len(documents) + 1)
    world.put("documents", documents)
    world.put("lines", lines)
    _name_documents(world)


def plan_payments(world: World, documents: pd.DataFrame) -> np.ndarray:
    """Day each document is paid, -1 for never. Some pay what is due on the 10th and 25th, others invoice by invoice."""
    rng, customers = world.rng("payments"), world.customers
    customer = documents["customer"].to_numpy()
    late = customers["days_late"].to_numpy()[customer] * rng.gamma(1.5, 1 / 1.5, len(documents))
    day = documents["due"].to_numpy() + np.round(late - 2).astype(np.int64)
    runs = np.array([d for d in range(LAST_DAY + 400) if date_of(d).day in (10, 25)])
    in_run = customers["pays_in_runs"].to_numpy()[customer]
    day = np.where(in_run, runs[np.searchsorted(runs, day)], np.maximum(day, documents["day"].to_numpy() + 1))
    day[rng.random(len(documents)) < 0.004] = -1
    notes = documents["original"].to_numpy() >= 0
    original = documents["original"].to_numpy()[notes]
    day[notes] = np.where(day[original] < 0, -1, np.maximum(day[original], documents["day"].to_numpy()[notes]))
    day[day > LAST_DAY] = -1
    # A credit note alone pays nothing: it stays open until there is something to set it off against.
    total = pd.Series(documents["gross"].to_numpy()).groupby([customer, day]).transform("sum")
    return np.where(total.to_numpy() > 0, day, -1)


def _make_some_late(world: World, documents: pd.DataFrame) -> None:
    """Some June invoices, and one of May, are delivered about ten days after their date, vouchers with them."""
    june = documents["day"].between(day_number(datetime.date(2026, 6, 8)), day_number(datetime.date(2026, 6, 12)))
    may = documents["day"].between(FIRST_DAY - 4, FIRST_DAY - 1)
    unsettled = (documents["pay_day"] < 0) & (documents["original"] < 0) & ~documents.index.isin(documents["original"])
    wanted = DIRT["late_invoices"]
    late = [*documents.index[june & unsettled][: wanted - 1], *documents.index[may & unsettled][:1]]
    for document in late:
        day = int(documents.at[document, "day"])
        documents.at[document, "seen"] = day + 10 if day > FIRST_DAY else FIRST_DAY + 3
    world.dirt["late_invoices"] = len(late)


def _name_documents(world: World) -> None:
    """Ids as people see them, and the customer's billing code."""
    world.put("customers", world.customers)
    world.con.execute("""
        create or replace table documents as
        select d.*, c.code as customer_code,
            (case when d.original < 0 then 'FP' else 'HZ' end) || strftime(on_day(d.day), '%y%m')
                || printf('%06d', d.number) as id,
            printf('%08d', 31000000 + d.number) as printed_number,
            'SO' || strftime(on_day(o.day), '%y%m') || printf('%06d', o.number) as order_id
        from documents d
        join customers c on c.customer = d.customer
        join documents o on o.document = (case when d.original < 0 then d.document else d.original end)
        order by d.number
    """)


def make_payments(world: World) -> None:
    """Tables `payments` (one per customer and day of paying) and `applications` (payment x document), in cents."""
    world.con.execute("""
        create table payments as
        select
            'SK' || strftime(on_day(pay_day), '%y%m') || printf('%06d', row_number() over (order by pay_day,
                customer)) as id,
            customer, any_value(customer_code) as customer_code, pay_day as day, sum(gross)::bigint as amount,
            min(minute) as minute
        from documents where pay_day >= 0
        group by customer, pay_day
        order by pay_day, customer
    """)
    world.con.execute("""
        create table applications as
        select 'HX' || printf('%07d', row_number() over (order by d.pay_day, d.number)) as id,
            p.id as payment_id, d.id as document_id, d.pay_day as day, d.gross as amount, p.minute
        from documents d join payments p on p.customer = d.customer and p.day = d.pay_day
        order by d.pay_day, d.number
    """)
