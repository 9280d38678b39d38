"""The same customer profits in pandas: `python benchmarks/bare_pandas.py LANDING TARGET.parquet [--until DATE]`.

As an analyst would write it who knows that money is counted in cents: the files in memory, groups and merges. Same company, same
figures as benchmarks/bare.py, without the whale curve's periods other than the whole history.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bare import COLUMNS, KEYS, delivered

DELIMITER = {"ledger": "|"}
CENTRES = {
    "CC100": "order_entry",
    "CC110": "customer_service",
    "CC200": "account_management",
    "CC300": "picking",
    "CC310": "packing",
    "CC400": "collections",
    "CC800": "premises",
    "CC900": "general_management",
}
SPACE = {
    "order_entry": 200,
    "picking": 3000,
    "packing": 600,
    "customer_service": 300,
    "account_management": 100,
    "collections": 100,
    "general_management": 250,
}
MONEY = ("Net", "Price", "Discount", "Cost", "Amount")


def current(name: str, files: list[str]) -> pd.DataFrame:
    """The latest version of each record."""
    names = [column.split()[0] for column in COLUMNS[name].replace("(18, 2)", "").split(", ")]
    parts = []
    for file in files:
        part = pd.read_csv(file, sep=DELIMITER.get(name, ","), header=0, names=names, dtype={"Account": str})
        if len(part):  # an empty file has no types, and would make objects of its columns
            parts.append(part.assign(delivered=file.split("/")[-2]))
    rows = pd.concat(parts).sort_values("delivered", kind="stable").drop_duplicates(list(KEYS[name]), keep="last")
    for column in set(MONEY) & set(rows):
        rows[column] = np.rint(rows[column] * 100).astype("int64")
    return rows.drop(columns="delivered")


def month(days: pd.Series) -> pd.Series:
    return pd.to_datetime(days).dt.to_period("M").dt.to_timestamp()


def divided(receivers: pd.DataFrame, group: list[str]) -> pd.Series:
    """Cents of each receiver by largest remainder: `cents` of its group by `quantity`, ties to the larger, then the first id."""
    total = receivers.groupby(group)["quantity"].transform("sum")
    # A product may be larger than 64 bits: Python's own integers are exact, and only as slow as they are.
    product = receivers["cents"].abs().astype(object) * receivers["quantity"].astype(object)
    whole, rest = (product // total.astype(object)).astype("int64"), (product % total.astype(object)).astype("int64")
    ranked = receivers.assign(rest=rest, whole=whole).sort_values(
        ["rest", "quantity", "receiver"], ascending=[False, False, True], kind="stable"
    )
    place = ranked.groupby(group).cumcount() + 1
    left_over = ranked["cents"].abs() - ranked.groupby(group)["whole"].transform("sum")
    return (np.sign(ranked["cents"]) * (ranked["whole"] + (place <= left_over))).reindex(receivers.index)


def profits(landing: Path, until: str | None) -> pd.DataFrame:
    """One row per customer and month: revenue, cost to serve, financing, operating profit, in cents."""
    files = delivered(landing, until)
    as_of = pd.Timestamp(
        max(datetime.date.fromisoformat(path.split("/")[-2]) for each in files.values() for path in each)
    )
    tables = {name: current(name, found) for name, found in files.items()}
    invoices = tables["invoices"].query("Status != 'void'").assign(month=lambda rows: month(rows["Date"]))
    lines = tables["lines"].merge(invoices[["Id", "Customer", "month"]], left_on="Invoice", right_on="Id")
    payments = tables["payments"].assign(month=lambda rows: month(rows["Date"]))
    cases = tables["cases"].assign(month=lambda rows: month(rows["Opened"]))

    by = ["month", "Customer"]
    counted = {
        "order_entry": invoices.query("Type == 'invoice'").groupby(by).size(),
        "picking": lines.groupby(by).size(),
        "packing": lines.groupby(by)["Quantity"].sum(),
        "account_management": lines.groupby(by)["Net"].sum(),
        "collections": payments.groupby(by).size(),
        "customer_service": cases.groupby(by)["Minutes"].sum(),
    }
    quantities = pd.concat(
        {pool: each.rename("quantity") for pool, each in counted.items()}, names=["pool"]
    ).reset_index()
    quantities = quantities.query("quantity > 0").rename(columns={"Customer": "receiver"})

    ledger = tables["ledger"]
    ledger["cents"] = np.where(ledger["Side"] == "D", ledger["Amount"], -ledger["Amount"])
    ledger["month"] = pd.to_datetime(ledger["Posted"].astype(str), format="%Y%m%d").dt.to_period("M").dt.to_timestamp()
    house = ledger[ledger["Account"].between("6000", "6499")]
    own = house.assign(pool=house["Centre"].map(CENTRES)).groupby(["month", "pool"])["cents"].sum().reset_index()
    premises = own.query("pool == 'premises'")[["month", "cents"]].merge(
        pd.DataFrame({"receiver": list(SPACE), "quantity": list(SPACE.values())}), how="cross"
    )
    charged = premises.assign(cents=divided(premises, ["month"]), part="premises").rename(columns={"receiver": "pool"})
    pools = pd.concat([own.query("pool != 'premises'").assign(part="own"), charged.drop(columns="quantity")])

    receivers = pools.merge(quantities, on=["month", "pool"])
    receivers["cost"] = divided(receivers, ["month", "pool", "part"])
    freight = ledger[ledger["Account"] == "6500"].groupby(by)["cents"].sum()
    cost = receivers.rename(columns={"receiver": "Customer"}).groupby(by)["cost"].sum().add(freight, fill_value=0)

    sold = invoices.rename(columns={"Net": "cents"})[["Customer", "month", "Date", "cents"]]
    paid = payments.assign(cents=-payments["Amount"])[["Customer", "month", "Date", "cents"]]
    items = pd.concat([sold, paid])
    ends = np.minimum(items["month"] + pd.offsets.MonthBegin(1), as_of + pd.Timedelta(days=1))
    items["cent_days"] = items["cents"] * (ends - pd.to_datetime(items["Date"])).dt.days
    moved = items.groupby(["Customer", "month"])[["cents", "cent_days"]].sum()
    months = pd.date_range(items["month"].min(), as_of.to_period("M").to_timestamp(), freq="MS")
    first = moved.reset_index().groupby("Customer")["month"].min()
    grid = pd.MultiIndex.from_product([first.index, months], names=["Customer", "month"])
    moved = moved.reindex(grid, fill_value=0)
    moved = moved[grid.get_level_values("month") >= first.reindex(grid.get_level_values("Customer")).to_numpy()]
    at = moved.index.get_level_values("month")
    days = (np.minimum(at + pd.offsets.MonthBegin(1), as_of + pd.Timedelta(days=1)) - at).days.to_numpy()
    opening = moved.groupby("Customer")["cents"].cumsum() - moved["cents"]
    cent_days = opening * days + moved["cent_days"]
    financing = (np.sign(cent_days) * ((cent_days.abs() * 12 + 36_500) // 73_000)).reorder_levels(by)

    margin = lines.groupby(by)["Net"].sum() - lines.groupby(by)["Cost"].sum()
    together = pd.DataFrame({"margin": margin, "cost": cost, "financing": financing[financing != 0]}).fillna(0)
    together["operating_profit_cents"] = together["margin"] - together["cost"] - together["financing"]
    return together.astype("int64").reset_index().rename(columns={"Customer": "customer_id"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landing", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--until", help="the last delivery to be read, YYYY-MM-DD")
    options = parser.parse_args()
    found = profits(options.landing, options.until)
    earned = found.groupby("customer_id")["operating_profit_cents"].sum().sort_values(ascending=False)
    assert earned.cumsum().iloc[-1] == found["operating_profit_cents"].sum()
    with duckdb.connect() as connection:
        connection.register("found", found.assign(month=found["month"].dt.date))
        connection.execute(f"copy (select * from found) to '{options.target}' (format parquet)")


if __name__ == "__main__":
    main()
