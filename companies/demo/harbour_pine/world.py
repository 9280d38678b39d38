"""The company as tables in DuckDB, before anybody writes a file about it: the World, record ids, customers, products.

Amounts are whole cents and days are numbers counted from START; only the modules that render files make text of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from harbour_pine.profile import (
    ACQUIRED_THROUGH,
    ARCHETYPES,
    CHINESE_FIRST,
    CHINESE_PLACES,
    CHINESE_TRADES,
    COUNTRIES,
    FAMILIES,
    FIRST_DAY,
    FIRST_EXTRACT_YEAR_OF_ISO_DATES,
    INDUSTRIES,
    LAST_DAY,
    MEAN_LIFETIME_DAYS,
    NAME_FIRST,
    NAME_LAST,
    NAME_SECOND,
    PRODUCTS,
    SALES_PEOPLE,
    SHARE_INTERNATIONAL,
    SHARE_NEW,
    START,
    TERMS_DAYS,
    UNKNOWN_TO_CRM,
)


@dataclasses.dataclass
class World:
    """The company: tables in DuckDB that say what happened, before anybody writes a file about it."""

    con: duckdb.DuckDBPyConnection
    seed: int
    customers: pd.DataFrame
    dirt: dict[str, int] = dataclasses.field(default_factory=dict)

    def rng(self, purpose: str) -> np.random.Generator:
        """An own stream of random numbers per purpose: changing one part leaves the others as they were."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    def put(self, table: str, frame: pd.DataFrame) -> None:
        """Keep a frame as a table, rows in order."""
        self.con.register("incoming", frame)
        self.con.execute(f"create or replace table {table} as select * from incoming")
        self.con.unregister("incoming")

    def frame(self, sql: str) -> pd.DataFrame:
        return self.con.execute(sql).df()

    def value(self, sql: str) -> Any:
        found = self.con.execute(sql).fetchone()
        return found[0] if found else None


MACROS = f"""
create macro on_day(d) as date '{START}' + d::int;
create macro yuan(c) as cast(cast(c as decimal(18, 0)) * 0.01::decimal(3, 2) as varchar);
create macro yuan_grouped(c) as (case when c < 0 then '-' else '' end) || format('{{:,}}',
    abs(c) // 100) || '.' || printf('%02d', abs(c) % 100);
create macro utc(d, m) as strftime(on_day(d) + to_minutes(m::int) - interval 8 hour, '%Y-%m-%d %H:%M:%S');
create macro local_time(d, m) as strftime(on_day(d) + to_minutes(m::int), '%Y-%m-%d %H:%M:%S');
create macro epoch_at(d, m) as epoch_ms(on_day(d) + to_minutes(m::int) - interval 8 hour);
create macro epoch_day(d) as epoch_ms(on_day(d)::timestamp - interval 8 hour);
create macro billing_date(d) as case when year(on_day(d)) < {FIRST_EXTRACT_YEAR_OF_ISO_DATES}
    then strftime(on_day(d), '%Y/%m/%d') else strftime(on_day(d), '%Y-%m-%d') end;
create macro ads_date(d) as strftime(on_day(d), '%Y%m%d');
create macro pick(words, i) as words[i + 1];
"""


BASE62 = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
CHECKSUM = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"))


def salesforce_ids(prefix: str, count: int) -> np.ndarray:
    """18-character ids: three of the object, five of the organisation, a base-62 counter, a checksum of upper case."""
    numbers = np.arange(count, dtype=np.int64) * 37 + 4_000_000
    chars = np.empty((count, 18), dtype="U1")
    chars[:, :8] = list(prefix + "5g000")
    for position in range(14, 7, -1):
        chars[:, position] = BASE62[numbers % 62]
        numbers //= 62
    upper = (chars[:, :15] >= "A") & (chars[:, :15] <= "Z")
    for block in range(3):
        bits = upper[:, block * 5 : block * 5 + 5] @ (1 << np.arange(5))
        chars[:, 15 + block] = CHECKSUM[bits]
    return np.ascontiguousarray(chars).view("U18").ravel().astype(object)


def fxiaoke_ids(object_number: int, count: int) -> np.ndarray:
    """24 hexadecimal digits, as the document store behind Fxiaoke gives out."""
    return np.array(
        [f"65f0a1b2{object_number:02x}d4e5f6{number * 13 + 7:08x}" for number in range(count)], dtype=object
    )


def ids_by_crm(crm: np.ndarray, prefix: str, object_number: int) -> np.ndarray:
    """Ids of records that live in the CRM of their customer."""
    result = np.full(len(crm), "", dtype=object)
    result[crm == "sf"] = salesforce_ids(prefix, int((crm == "sf").sum()))
    result[crm == "fx"] = fxiaoke_ids(object_number, int((crm == "fx").sum()))
    return result


def make_customers(seed: int, count: int) -> pd.DataFrame:
    """One row per company the demo company knows: `count` customers, some prospects, and those no CRM has.

    `first`..`last` are the days it can buy; `kind` is customer, prospect or unknown.
    """
    rng = np.random.default_rng([seed, 1])
    prospects = max(2, count // 50)
    total = count + prospects + UNKNOWN_TO_CRM
    kind = np.repeat(np.array(["customer", "prospect", "unknown"], dtype=object), [count, prospects, UNKNOWN_TO_CRM])
    archetype = _archetypes(rng, count, total)
    new = (rng.random(total) < SHARE_NEW) & (kind == "customer")
    acquired = np.where(new, rng.integers(0, LAST_DAY - 4, total), -rng.integers(30, 3000, total))
    acquired = np.where(kind == "prospect", rng.integers(300, FIRST_DAY, total), acquired)
    first = np.maximum(acquired, 0)
    lifetime = rng.exponential(rng.gamma(2.0, MEAN_LIFETIME_DAYS / 2.0, total)).astype(np.int64) + 1
    last = np.minimum(first + lifetime, LAST_DAY)
    spread = np.array([a.spread for a in ARCHETYPES])[archetype]
    crm = np.where(rng.random(total) < SHARE_INTERNATIONAL, "sf", "fx").astype(object)
    crm[:4] = ["sf", "fx", "sf", "fx"]  # the smallest company still has customers in both
    crm[kind == "unknown"] = "none"
    number = np.arange(1, total + 1)
    code = [
        f"C{n:05d}" if k == "customer" else f"C9{n:04d}" if k == "unknown" else ""
        for n, k in zip(number, kind, strict=True)
    ]
    frame = pd.DataFrame({
        "customer": np.arange(total), "kind": kind, "crm": crm, "code": np.array(code, dtype=object),
        "archetype": archetype, "segment": np.array([a.segment for a in ARCHETYPES], dtype=object)[archetype],
        "acquired": acquired, "first": first, "last": last,
        "order_rate": per_archetype("orders_per_year", archetype) * (0.25 + 0.75 * rng.gamma(spread, 1.0 / spread)),
        "unit_factor": rng.lognormal(-0.10, 0.45, total), "service_factor": rng.lognormal(-0.18, 0.60, total),
        "visit_factor": rng.lognormal(-0.125, 0.50, total),
        "discount": np.clip(per_archetype("discount", archetype) + rng.normal(0, 0.035, total), 0, 0.36),
        "days_late": per_archetype("days_late", archetype) * rng.gamma(2.0, 0.5, total),
        "pays_in_runs": rng.random(total) < per_archetype("pays_in_runs", archetype),
        "terms": np.array(TERMS_DAYS)[rng.integers(0, len(TERMS_DAYS), total)],
        "minute": rng.integers(510, 1110, total),
    })  # fmt: skip
    frame["id"] = ids_by_crm(crm, "001", 1)
    return _with_attributes(frame, rng)


def _archetypes(rng: np.random.Generator, count: int, total: int) -> np.ndarray:
    """Archetype of each customer in fixed shares, shuffled: a company of sixty has its key accounts too."""
    edges = np.cumsum([a.share for a in ARCHETYPES])
    archetype = np.searchsorted(edges, (np.arange(count) + 0.5) / count * edges[-1])
    if count >= len(ARCHETYPES):
        archetype[: len(ARCHETYPES)] = np.arange(len(ARCHETYPES))
    rng.shuffle(archetype)
    return np.concatenate([archetype, np.full(total - count, 4)])


def per_archetype(field: str, archetype: np.ndarray) -> np.ndarray:
    return np.array([getattr(a, field) for a in ARCHETYPES], dtype=float)[archetype]


def _with_attributes(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Names, places and other words a CRM holds about a customer."""
    total = len(frame)
    abroad = rng.permutation(len(NAME_FIRST) * len(NAME_SECOND) * len(NAME_LAST))
    place = rng.integers(0, len(COUNTRIES), total)
    place_zh = rng.integers(0, len(CHINESE_PLACES), total)
    names = []
    for i, crm in enumerate(frame["crm"]):
        pick = int(abroad[i % len(abroad)])
        if crm == "fx":
            city = CHINESE_PLACES[place_zh[i]][1].removesuffix("市")
            first, trade = CHINESE_FIRST[pick % len(CHINESE_FIRST)], CHINESE_TRADES[pick // 40 % len(CHINESE_TRADES)]
            names.append(f"{city}{first}{trade}有限公司")
        else:
            rest, last = divmod(pick, len(NAME_LAST))
            first_word, second_word = NAME_FIRST[rest % len(NAME_FIRST)], NAME_SECOND[rest // len(NAME_FIRST)]
            names.append(f"{first_word} {second_word} {NAME_LAST[last]}")
    frame["name"] = names
    for position, column in enumerate(("country", "state", "city")):
        frame[column] = np.array([c[position] for c in COUNTRIES], dtype=object)[place]
    frame["province_zh"] = np.array([p[0] for p in CHINESE_PLACES], dtype=object)[place_zh]
    frame["city_zh"] = np.array([p[1] for p in CHINESE_PLACES], dtype=object)[place_zh]
    frame["industry"] = rng.integers(0, len(INDUSTRIES), total)
    frame["won_through"] = rng.integers(0, len(ACQUIRED_THROUGH), total)
    frame["owner"] = rng.integers(0, SALES_PEOPLE, total)
    frame["phone"] = [f"{n:08d}" for n in rng.integers(10_000_000, 99_999_999, total)]
    frame["credit_limit"] = rng.integers(2, 60, total) * 10_000
    frame["employees"] = (rng.lognormal(3.4, 1.0, total)).astype(np.int64) + 3
    return frame


def make_products(world: World) -> pd.DataFrame:
    """One row per product: `price` and `cost` in cents per unit."""
    rng = world.rng("products")
    family = np.sort(rng.integers(0, len(FAMILIES), PRODUCTS))
    typical = np.array([f[2] for f in FAMILIES], dtype=float)[family]
    price = np.maximum(200, np.round(typical * rng.lognormal(0.0, 0.45, PRODUCTS) * 10).astype(np.int64) * 10)
    share = np.array([f[3] for f in FAMILIES])[family] + rng.normal(0, 0.025, PRODUCTS)
    number = np.arange(PRODUCTS)
    frame = pd.DataFrame({
        "product": number, "code": [f"P{n + 1:04d}" for n in number],
        "name": [f"{FAMILIES[f][1]} {chr(65 + n % 26)}{n + 101}" for n, f in zip(number, family, strict=True)],
        "family": np.array([f[0] for f in FAMILIES], dtype=object)[family],
        "price": price, "cost": np.round(price * share).astype(np.int64),
    })  # fmt: skip
    world.put("products", frame)
    return frame
