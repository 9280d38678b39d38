"""How long a daily scoring of every customer takes: RFM, lifecycle, churn and lifetime value, from orders and monthly profit.

    python benchmarks/scoring.py [--customers 1000000]

Each step runs in a process of its own on the same simulated company: two years of orders (Pareto/NBD with CDNOW's
parameters), sizes and margins drawn per customer, loss-makers among them. Processor seconds are those of the functions
themselves, fits of the month included, reading the frames excluded; memory is how far the peak rose above what the process held
with its frames. Nothing here touches a warehouse.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

from value import held_memory, peak_memory, processor_seconds, simulate  # noqa: E402

AS_OF = datetime.date(2026, 6, 30)
HORIZON_DAYS, HORIZON_MONTHS, DISCOUNT_RATE = 90, 36, 0.10


def company(customers: int, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Orders and monthly profit. Repeat purchases lie evenly between a customer's first and last one."""
    x, last, age = simulate("pareto_nbd", customers, seed)
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(customers), x.astype("int64") + 1)
    place = np.arange(len(owner)) - np.repeat(
        np.cumsum(x.astype("int64") + 1) - x.astype("int64") - 1, x.astype("int64") + 1
    )
    weeks = np.divide(place * last[owner], x[owner], out=np.zeros(len(owner)), where=x[owner] > 0)
    days_ago = np.round((age[owner] - weeks) * 7).astype("int64")
    dates = np.datetime64(AS_OF) - days_ago.astype("timedelta64[D]")
    size = rng.lognormal(4.0, 0.8, customers)[owner] * rng.lognormal(0.0, 0.3, len(owner))
    margin = rng.normal(0.15, 0.2, customers)[owner]
    orders = pd.DataFrame(
        {"customer_id": [f"C{number:07}" for number in owner], "order_date": dates, "net_revenue": np.round(size, 2)}
    )
    orders["order_id"] = np.arange(len(orders)).astype(str)
    months = pd.DataFrame(
        {
            "customer_id": orders["customer_id"],
            "month": dates.astype("datetime64[M]").astype("datetime64[s]"),
            "net_revenue": orders["net_revenue"],
            "cost": np.round(size * (1 - margin), 2),
        }
    )
    return orders, months.groupby(["customer_id", "month"], as_index=False).sum()


def step(name: str, orders: pd.DataFrame, monthly: pd.DataFrame) -> int:
    """Run one step; returns how many customers it scored."""
    from assets.analytics import churn, clv, features, lifecycle, rfm

    if name == "rfm":
        return len(rfm.score(orders, AS_OF, tiers=rfm.read_tiers()))
    if name == "lifecycle":
        prospects = pd.DataFrame(
            {"customer_id": pd.Series([], dtype="str"), "acquired_date": pd.Series([], dtype="str")}
        )
        return len(lifecycle.replay(orders, prospects, AS_OF, horizon_days=HORIZON_DAYS).customers)
    if name == "churn":
        history = features.EMPTY._replace(orders=orders, monthly_profit=monthly)
        return len(churn.score(history, AS_OF, horizon_days=HORIZON_DAYS))
    return len(clv.value(monthly, AS_OF, orders=orders, discount_rate=DISCOUNT_RATE, horizon_months=HORIZON_MONTHS))


STEPS = ("rfm", "lifecycle", "churn", "clv")


def run(name: str, folder: Path) -> dict[str, Any]:
    orders, monthly = (pd.read_pickle(folder / f"{part}.pickle") for part in ("orders", "monthly"))
    few = orders["customer_id"] < "C0001000"
    step(name, orders[few], monthly[monthly["customer_id"] < "C0001000"])  # imports are not counted
    held, start = held_memory(), processor_seconds()
    scored = step(name, orders, monthly)
    return {"processor": processor_seconds() - start, "memory": peak_memory() - held, "held": held, "customers": scored}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--run", nargs=2, metavar=("STEP", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run(options.run[0], Path(options.run[1]))))
        return
    orders, monthly = company(options.customers)
    print(f"{options.customers:,} customers, {len(orders):,} orders, {len(monthly):,} customer months")
    print(f"{'step':<12}{'processor s':>12}{'memory MB':>11}{'with frames':>13}{'customers':>12}")
    total = 0.0
    with tempfile.TemporaryDirectory() as folder:
        orders.to_pickle(Path(folder) / "orders.pickle")
        monthly.to_pickle(Path(folder) / "monthly.pickle")
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        for name in STEPS:
            command = [sys.executable, str(Path(__file__).resolve()), "--run", name, folder]
            done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            total += found["processor"]
            print(
                f"{name:<12}{found['processor']:>12.1f}{found['memory']:>11,.0f}{found['memory'] + found['held']:>13,.0f}"
                f"{found['customers']:>12,}",
                flush=True,
            )
    print(f"{'together':<12}{total:>12.1f}")


if __name__ == "__main__":
    main()
