"""Purchase histories for the tests of the purchase models: CDNOW, and simulated customers of known parameters."""

import datetime

import numpy as np
import pandas as pd
import pytest
from command import SHARED_DATA

CDNOW = SHARED_DATA / "cdnow"
CALIBRATED_UNTIL = datetime.date(1997, 9, 30)
needs_cdnow = pytest.mark.skipif(not CDNOW.exists(), reason="needs the CDNOW data in shared/data/cdnow")


def cdnow_summary():
    """x, t_x and T in weeks of the 2,357 customers, as published."""
    table = pd.read_csv(CDNOW / "cdnow_customers_summary.csv")
    return table["frequency"].to_numpy(float), table["recency"].to_numpy(float), table["T"].to_numpy(float)


def cdnow_orders():
    """The sample's purchases in the form of `history.known_orders`; zero-value purchases count, as in the publications."""
    names = ["master_id", "customer_id", "order_date", "units", "amount"]
    table = pd.read_csv(CDNOW / "CDNOW_sample.txt", sep=r"\s+", header=None, names=names, dtype="str")
    return pd.DataFrame(
        {
            "customer_id": table["customer_id"],
            "order_date": pd.to_datetime(table["order_date"]),
            "amount": (table["amount"].astype("float64") * 10_000).round().astype("int64"),
            "is_purchase": True,
        }
    )


def cdnow_held_out(customers):
    """Purchase days of each of `customers` in the 39 weeks after the calibration."""
    orders = cdnow_orders()
    later = orders[orders["order_date"] > pd.Timestamp(CALIBRATED_UNTIL)]
    days = later.drop_duplicates(["customer_id", "order_date"]).groupby("customer_id").size()
    return days.reindex(customers, fill_value=0).to_numpy(float)


def simulated_until_each_leaves(parameters, customers, seed, *, leaves_at_start, longest=104.0):
    """x, t_x, T of customers who buy at gamma(r, alpha) rates and leave after a purchase with a beta(a, b) chance."""
    rng = np.random.default_rng(seed)
    age = np.round(rng.uniform(1.0, longest, customers) * 7) / 7
    rate = rng.gamma(parameters["r"], 1 / parameters["alpha"], customers)
    leaving = rng.beta(parameters["a"], parameters["b"], customers)
    purchases, last, now = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    active = np.arange(customers)
    if leaves_at_start:
        active = active[rng.random(customers) >= leaving]
    while len(active):
        now[active] += rng.exponential(size=len(active)) / rate[active]
        active = active[now[active] <= age[active]]
        purchases[active] += 1
        last[active] = now[active]
        active = active[rng.random(len(active)) >= leaving[active]]
    return purchases, last, age
