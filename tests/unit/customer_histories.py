"""Whole customer histories for the tests of backtest, store and points in time: orders, profit, cases, payments, surveys."""

import datetime

import numpy as np
import pandas as pd

from assets.analytics.features import EMPTY, CustomerHistory

FIRST = datetime.date(2024, 1, 1)
LAST = datetime.date(2026, 1, 31)


def company(customers=200, seed=1, *, margin=0.3, loss_makers=0.2, first=FIRST, last=LAST):
    """Customers who join over two thirds of the time, most of them early, buy at their own rates, and leave one day or not."""
    rng = np.random.default_rng(seed)
    days = (last - first).days
    orders, profits = [], []
    for number in range(customers):
        name = f"C{number:04}"
        joined = int(rng.random() ** 2 * days * 2 / 3)
        gap = rng.gamma(2.0, 25.0) + 3
        left = joined + int(rng.exponential(500))
        own_margin = -0.4 if rng.random() < loss_makers else margin + rng.normal(0, 0.1)
        spend = rng.gamma(3.0, 60.0)
        day = joined
        while day <= min(left, days):
            amount = round(float(spend * rng.gamma(4.0, 0.25)), 2)
            orders.append((name, first + datetime.timedelta(days=day), amount))
            profits.append((name, (first + datetime.timedelta(days=day)).replace(day=1), amount, own_margin))
            day += max(1, int(rng.exponential(gap)))
    return EMPTY._replace(
        orders=orders_frame(orders), monthly_profit=monthly(profits), **_service(rng, orders, first, last)
    )


def regular_wholesaler(customers=150, every=14, first=FIRST, last=LAST):
    """Everyone orders every two weeks and nobody ever leaves: nothing to learn about leaving."""
    orders = [
        (f"W{number:04}", first + datetime.timedelta(days=day), 100.0 + number)
        for number in range(customers)
        for day in range(number % every, (last - first).days + 1, every)
    ]
    profits = [(name, day.replace(day=1), amount, 0.2) for name, day, amount in orders]
    return EMPTY._replace(orders=orders_frame(orders), monthly_profit=monthly(profits))


def orders_frame(rows):
    frame = pd.DataFrame(rows, columns=["customer_id", "order_date", "net_revenue"])
    return frame.assign(order_date=pd.to_datetime(frame["order_date"]))


def monthly(rows):
    frame = pd.DataFrame(rows, columns=["customer_id", "month", "net_revenue", "margin"])
    frame["cost"] = (frame["net_revenue"] * (1 - frame["margin"])).round(4)
    summed = frame.groupby(["customer_id", "month"], as_index=False)[["net_revenue", "cost"]].sum()
    return summed.assign(month=pd.to_datetime(summed["month"]))


def _service(rng, orders, first, last):
    picked = [orders[place] for place in rng.choice(len(orders), size=min(200, len(orders)), replace=False)]
    later = [day + datetime.timedelta(days=int(rng.integers(1, 60))) for _, day, _ in picked]
    names = [name for name, _, _ in picked]
    cases = pd.DataFrame(
        {
            "customer_id": names,
            "opened_on": pd.to_datetime(later),
            "is_complaint": rng.random(len(names)) < 0.4,
            "is_escalated": rng.random(len(names)) < 0.1,
        }
    )
    due = [day + datetime.timedelta(days=30) for _, day, _ in picked]
    late = rng.integers(-5, 60, len(names))
    payments = pd.DataFrame(
        {
            "customer_id": names,
            "due_date": pd.to_datetime(due),
            "learned_on": pd.to_datetime(
                [day + datetime.timedelta(days=int(days)) for day, days in zip(due, late, strict=True)]
            ),
            "days_late": late.astype("float64"),
        }
    )
    surveys = pd.DataFrame(
        {"customer_id": names, "responded_on": pd.to_datetime(later), "score": np.round(rng.random(len(names)), 2)}
    )
    return {"cases": cases, "payments_late": payments, "surveys": surveys}


def shuffled(history, seed=3):
    """The same rows in another order."""
    return CustomerHistory(*(frame.sample(frac=1, random_state=seed) for frame in history))


def with_another_future(history, as_of, seed=5):
    """Everything dated after `as_of` dealt out to other customers and amounts, and more of it."""
    rng = np.random.default_rng(seed)
    day = pd.Timestamp(as_of)
    frames = []
    for frame, date in zip(history, ("order_date", "month", "opened_on", "due_date", "responded_on"), strict=True):
        is_later = (frame[date] > day).to_numpy()
        later = frame[is_later].copy()
        if len(later):
            later["customer_id"] = rng.permutation(later["customer_id"].to_numpy())
            for column in later.columns.intersection(["net_revenue", "cost", "days_late", "score"]):
                later[column] = later[column] * rng.uniform(0, 3)
        frames.append(pd.concat([frame[~is_later], later, later]))
    future = CustomerHistory(*frames)
    late = future.payments_late
    paid_later = late["learned_on"] > day
    moved = late.assign(
        learned_on=late["learned_on"].where(~paid_later, late["learned_on"] + pd.Timedelta(days=9)),
        days_late=late["days_late"].where(~paid_later, late["days_late"] + 9),
    )
    strangers = orders_frame([("STRANGER", as_of + datetime.timedelta(days=1), 1e6)])
    return future._replace(payments_late=moved, orders=pd.concat([future.orders, strangers]))
