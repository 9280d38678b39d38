"""How fast pool costs are divided among customers, against `cloud-cost-allocation`.

    python benchmarks/allocation.py --references /path/to/environment/bin/python [--customers 10000 100000] [--pools 8]

The library is a reference only and lives in a virtual environment of its own, which `--references` names:
`pip install cloud-cost-allocation` in it (seen with 2.4.0). Ours is the macro `largest_remainder` of the dbt project, run by
DuckDB in one thread. Both get the same pools and driver quantities, in a process each; what is counted is the division, and
not the building of tables and objects before it. The library divides floats and hands on every part; ours are whole cents
that add up. The largest difference of a customer's sum stands beside, in cents: above one for each pool, somebody is wrong.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
OURS, THEIRS = "ours", "cloud-cost-allocation"
MACROS = ("dialect.sql", "largest_remainder.sql")
CONFIG = """
[General]
DateFormat = %Y-%m-%d
DefaultService = x
Amounts = amount
AllocationKeys = key
AmountAllocationKeys = amount:key
"""


def cents_of(pool: int) -> int:
    return 1_000_000_007 + 12_345_679 * pool


def quantity_of(pool: int, customer: int) -> int:
    return (customer * 7919 + pool * 104_729) % 9973 % 97 + 1


def ours(customers: int, pools: int, answer: Path) -> tuple[float, float]:
    import duckdb
    import jinja2

    macros = "".join((PROJECT / "dbt_project" / "macros" / name).read_text() for name in MACROS)
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    source = macros + "{{ largest_remainder('receivers', group_by=['pool_id']) }}"
    target = type("target", (), {"type": "duckdb"})
    names = {"target": target, "adapter": None, "return": lambda value: value}
    sql = environment.from_string(source).render(**names)
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(
            f"create table receivers as select p as pool_id, 'c' || c as receiver_id,"
            f" (c * 7919 + p * 104729) % 9973 % 97 + 1 as quantity, 1000000007 + 12345679 * p as amount_cents"
            f" from range({pools}) as t(p), range({customers}) as u(c)"
        )
        began = seconds()
        connection.execute(f"create table divided as {sql}")
        took = since(began)
        connection.execute(
            "copy (select receiver_id, sum(received_cents)::double as cents from divided group by all order by all) "
            f"to '{answer}' (header)"
        )
    return took


def theirs(customers: int, pools: int, answer: Path) -> tuple[float, float]:
    import builtins
    from configparser import ConfigParser

    # 2.4.0 names classes in annotations before they are there, which Python allows from 3.14 on.
    for name in ("CostItem", "CostItemFactory", "ServiceInstance", "ConsumerCostItem", "CloudCostItem"):
        setattr(builtins, name, object)
    from cloud_cost_allocation.cloud_cost_allocator import CloudCostAllocator
    from cloud_cost_allocation.config import Config
    from cloud_cost_allocation.cost_items import CostItemFactory

    parsed = ConfigParser(interpolation=None)
    parsed.read_string(CONFIG)
    factory = CostItemFactory(Config(parsed))
    costs, keys = [], []
    for pool in range(pools):
        cost = factory.create_cloud_cost_item()
        cost.date_str, cost.currency = "2026-01-01", "EUR"
        cost.service = cost.instance = f"p{pool}"
        cost.amounts = [float(cents_of(pool))]
        costs.append(cost)
        for customer in range(customers):
            key = factory.create_consumer_cost_item()
            key.date_str, key.currency = "2026-01-01", "EUR"
            key.service = key.instance = f"c{customer}"
            key.provider_service = key.provider_instance = f"p{pool}"
            key.provider_cost_allocation_type = "Key"
            key.allocation_keys[0] = float(quantity_of(pool, customer))
            keys.append(key)
    allocator = CloudCostAllocator(factory)
    allocator.date_str, allocator.currency = "2026-01-01", "EUR"
    sys.setrecursionlimit(100_000)
    began = seconds()
    if not allocator.allocate(keys, costs, ["amount"]):
        raise SystemExit("cloud-cost-allocation refused")
    took = since(began)
    received: dict[str, float] = {}
    for key in keys:
        received[key.service] = received.get(key.service, 0.0) + key.amounts[0]
    answer.write_text(
        "receiver_id,cents\n" + "".join(f"{name},{cents!r}\n" for name, cents in sorted(received.items()))
    )
    return took


def seconds() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def since(began: tuple[float, float]) -> tuple[float, float]:
    now = seconds()
    return now[0] - began[0], now[1] - began[1]


def run(python: str, contender: str, customers: int, pools: int, answer: Path) -> dict[str, Any] | str:
    command = [python, __file__, "--contender", contender, "--customers", str(customers), "--pools", str(pools)]
    done = subprocess.run([*command, "--answer", str(answer)], capture_output=True, text=True)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended with {done.returncode}"
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def largest_difference(one: Path, other: Path) -> float:
    def read(path: Path) -> dict[str, float]:
        return {name: float(cents) for name, cents in (line.split(",") for line in path.read_text().splitlines()[1:])}

    ours_, theirs_ = read(one), read(other)
    assert ours_.keys() == theirs_.keys()
    return max(abs(ours_[name] - theirs_[name]) for name in ours_)


def compare(references: str, sizes: list[int], pools: int) -> None:
    print(
        "| customers | pools | who | seconds | processor seconds | times ours | peak MB | largest difference, cents |"
    )
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for customers in sizes:
            answers = {who: Path(scratch) / f"{who}.csv" for who in (OURS, THEIRS)}
            found = {
                who: run(python, who, customers, pools, answers[who])
                for who, python in ((OURS, sys.executable), (THEIRS, references))
            }
            for who, took in found.items():
                if isinstance(took, str):
                    print(f"| {customers:,} | {pools} | {who} | {took} | | | | |")
                    continue
                mine = found[OURS]
                times = f"{took['processor'] / mine['processor']:.0f}" if who != OURS and isinstance(mine, dict) else ""
                away = f"{largest_difference(*answers.values()):.2f}" if times else ""
                cells = [f"{customers:,}", str(pools), who, f"{took['wall']:.2f}", f"{took['processor']:.2f}"]
                print("| " + " | ".join([*cells, times, f"{took['peak_mb']:,.0f}", away]) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", help="an interpreter that has cloud-cost-allocation")
    parser.add_argument("--customers", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--pools", type=int, default=8)
    parser.add_argument("--contender", choices=[OURS, THEIRS], help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender is None:
        if not options.references:
            parser.error("--references is needed: an interpreter of an environment with cloud-cost-allocation")
        compare(options.references, options.customers, options.pools)
        return
    contender = ours if options.contender == OURS else theirs
    wall, processor = contender(options.customers[0], options.pools, options.answer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"wall": wall, "processor": processor, "peak_mb": peak}))


if __name__ == "__main__":
    main()
