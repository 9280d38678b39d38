"""The lifecycle stage of each customer: where they stand against their own habit, and since when.

Belongs here: the stages, the rules between them, and their replay from the first purchase up to the as-of date. Not here: how
likely a purchase is (`models.mbg_nbd`), and what is lost when a customer leaves (`churn`).

A stage is not a number of days that holds for everybody. It compares P(buys in the next H days) with the same customer's own
value right after their last purchase: whoever buys weekly is missed after weeks, whoever buys yearly after years. Every change
has the day on which it happened; parameters are those fitted at the end of the month before, so that the releases of a month
and the replay of that month from a later date say the same.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.analytics.history import as_of_column, known_orders
from assets.analytics.models import mbg_nbd
from assets.analytics.models.summaries import DAYS_PER_WEEK, compress

STAGES = ("prospect", "new", "active", "at_risk", "lapsed", "won_back")
PROSPECT, NEW, ACTIVE, AT_RISK, LAPSED, WON_BACK = range(len(STAGES))

AT_RISK_BELOW = 0.5
"""Of the own reference: half as likely to buy as right after the last purchase."""

CALM_FROM = 0.6
"""A customer at risk who bought nothing is at risk no more from here on only: parameters are refitted every month, and a
customer near the line must not go back and forth with them."""

LAPSED_BELOW = 0.2
"""Of the own reference. A lapsed customer comes back by buying and by nothing else."""

FEWEST_CUSTOMERS = 100
FEWEST_REPEATERS = 30
"""With fewer customers, or fewer who came back, nothing is fitted: the rule on the own rhythm is used."""

FITTED_CUSTOMERS = 20_000
"""Parameters are fitted to so many customers at most, drawn by a hash of their ids: four parameters need no more."""

FITTED = "mbg_nbd"
OWN_RHYTHM = "own_rhythm"
NO_PURCHASE = "no_purchase"
METHODS = (FITTED, OWN_RHYTHM, NO_PURCHASE)

LEAVES_AFTER_PURCHASE = 0.1
"""The share of customers the rule on the own rhythm believes to leave after any purchase. A convention: it is used where the
data do not tell."""

TYPES = {
    "customer_id": "VARCHAR",
    "as_of_date": "DATE",
    "stage": "VARCHAR",
    "stage_since": "DATE",
    "previous_stage": "VARCHAR",
    "horizon_days": "INTEGER",
    "probability_of_purchase": "DOUBLE",
    "own_reference": "DOUBLE",
    "ratio": "DOUBLE",
    "months_in_stage": "BIGINT",
    "method": "VARCHAR",
}
"""Columns of customer_lifecycle and their types, in order."""

FLOW_TYPES = {
    "month": "DATE",
    "as_of_date": "DATE",
    "from_stage": "VARCHAR",
    "to_stage": "VARCHAR",
    "customers": "BIGINT",
}
"""Columns of customer_stage_flows and their types, in order."""

CRM_CUSTOMERS = """
    select customer_id, acquired_date
    from facts.dim_customers
    where is_in_crm and not is_deleted
"""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class Lifecycle(NamedTuple):
    """`customers`: the columns of TYPES, one row per customer. `flows`: those of FLOW_TYPES."""

    customers: pd.DataFrame
    flows: pd.DataFrame


class _Curve(NamedTuple):
    """P(buys in the next H days) of any history: of the fitted model, or of the rule on the own rhythm."""

    method: str
    parameters: Mapping[str, float]
    horizon: float

    def probability(self, x: Floats, t_x: Floats, age: Floats) -> Floats:
        if self.method == FITTED:
            found = mbg_nbd.probability_of_purchase(self.parameters, x, t_x, age, self.horizon)
        else:
            found = _own_rhythm(self.parameters["typical_gap"], x, t_x, age, self.horizon)
        return np.clip(np.nan_to_num(np.asarray(found, dtype="float64")), 0.0, 1.0)

    def ratio(self, x: Whole, span: Whole, age: Whole) -> Floats:
        """Probability against that right after the last purchase; days in, 1 where the latter is nothing."""
        repeats, t_x = x.astype("float64"), span / DAYS_PER_WEEK
        reference = self.probability(repeats, t_x, t_x)
        now = self.probability(repeats, t_x, age / DAYS_PER_WEEK)
        return np.divide(now, reference, out=np.ones(len(now)), where=reference > 0)


class _Purchases(NamedTuple):
    """Purchase days in the order of the replay: by month, and within it each customer's first, second ...

    `customer` numbers `ids`, `day` counts from 1970-01-01, `slices` has per month (year * 12 + month - 1) the bounds of its
    rounds: within a round no customer occurs twice.
    """

    ids: NDArray[np.object_]
    customer: Whole
    day: Whole
    slices: Mapping[int, list[slice]]


def replay(orders: pd.DataFrame, crm_customers: pd.DataFrame, as_of: datetime.date, *, horizon_days: int) -> Lifecycle:
    """The stage of every customer who ever purchased, and of those of the CRM who never did, as of one date.

    `orders` has one row per order: customer_id, order_date, net_revenue (base currency, credit notes netted); what is dated
    after `as_of` is not seen. `crm_customers` has one row per customer of the CRM: customer_id, acquired_date (may be missing).

    - prospect: in the CRM, never bought. stage_since: acquired_date, where there is one.
    - new: bought on one day only, or for the first time at most `horizon_days` ago.
    - active: buys, and is neither new nor won back.
    - at_risk: ratio below 0.5. A purchase ends it, or a ratio of 0.6 and more under refitted parameters.
    - lapsed: ratio below 0.2. Only a purchase ends it.
    - won_back: bought again after having lapsed: until the second day of purchase since, and for `horizon_days` at least.

    - probability_of_purchase: P(buys on at least one of the next `horizon_days` days), six decimals; own_reference: the same
      right after the last purchase; ratio: of the two. Missing for prospects.
    - stage_since, previous_stage: the day of the last change, and the stage before it.
    - months_in_stage: whole months from stage_since to `as_of`.
    - method: 'mbg_nbd' (Batislam, Denizel and Filiztekin 2007), parameters fitted to what was known at the end of the month
      before; 'own_rhythm' where too few customers came back, or the fit says that nobody ever leaves: purchases as in the
      NBD model with the company's median gap as prior, and a tenth leaving after each; 'no_purchase' for prospects.

    Flows: per month, and the stage at the end of the month before and of this one (of the last month: as of), the number of
    customers; those who stay are counted too. A customer who has not bought yet counts as a prospect before their first month.
    """
    if horizon_days < 1:
        raise ValueError(f"horizon_days is {horizon_days}; give a whole number of days, 1 or more.")
    purchases = _purchase_days(orders, as_of)
    state = _State(len(purchases.ids), horizon_days)
    today = _day(as_of)
    flows = []
    curve = _Curve(OWN_RHYTHM, {"typical_gap": horizon_days / DAYS_PER_WEEK}, horizon_days / DAYS_PER_WEEK)
    drawn = _draw(purchases.ids)
    start: Mapping[str, float] | None = None
    if purchases.slices:
        for month in range(min(purchases.slices), as_of.year * 12 + as_of.month):
            before = state.stage.copy()
            end = min(today, _last_day(month))
            if month > min(purchases.slices):
                curve, start = _fitted(state, drawn, _last_day(month - 1), horizon_days, start)
            for chosen in purchases.slices.get(month, ()):
                state.buy(purchases.customer[chosen], purchases.day[chosen], curve)
            state.wait(np.flatnonzero((state.count > 0) & (state.stage != LAPSED)), end, curve)
            flows.append(_flows(month, before, state.stage))
    return Lifecycle(
        _customers(purchases.ids, state, curve, crm_customers, as_of),
        _flow_table(flows, as_of),
    )


class _State:
    """Where every customer stands: arrays over customers, all days counted from 1970-01-01."""

    def __init__(self, customers: int, horizon_days: int) -> None:
        self.horizon_days = horizon_days
        self.stage = np.full(customers, PROSPECT, dtype="int8")
        self.previous = np.full(customers, PROSPECT, dtype="int8")
        self.count, self.first, self.last, self.since, self.seen = (
            np.zeros(customers, dtype="int64") for _ in range(5)
        )
        self.returned = np.full(customers, -1, dtype="int64")  # the purchase number of the comeback, counted from 1
        self.returned_on = np.zeros(customers, dtype="int64")

    def buy(self, who: Whole, day: Whole, curve: _Curve) -> None:
        """Purchases of `who`, all different, on `day`; until the day before each they have been silent."""
        waited = (self.count[who] > 0) & (self.stage[who] != LAPSED) & (self.seen[who] < day - 1)
        self.wait(who[waited], day[waited] - 1, curve)
        first = self.count[who] == 0
        self.first[who[first]] = day[first]
        back = self.stage[who] == LAPSED
        self.count[who] += 1
        self.last[who] = day
        self.returned[who[back]] = self.count[who[back]]
        self.returned_on[who[back]] = day[back]
        self._change(who, self._calm(who, day), day)
        self.seen[who] = day

    def wait(self, who: Whole, until: Whole | int, curve: _Curve) -> None:
        """`who`, none of them lapsed, bought nothing up to and including the day `until`."""
        until = np.broadcast_to(np.asarray(until, dtype="int64"), who.shape)
        ratio = curve.ratio(self.count[who] - 1, self.last[who] - self.first[who], until - self.first[who])
        risk = self.stage[who] == AT_RISK
        self._change(
            who[risk & (ratio >= CALM_FROM)],
            self._calm(who, until)[risk & (ratio >= CALM_FROM)],
            self.seen[who[risk & (ratio >= CALM_FROM)]] + 1,
        )
        worse = ~risk & (ratio < AT_RISK_BELOW)
        crossed = np.zeros(len(who), dtype="int64")
        crossed[worse] = self._crossing(who[worse], until[worse], curve, AT_RISK_BELOW)
        # Time alone makes a new customer active; not one who was at risk by then.
        calm, since = self._calm(who, until), self._settles(who)
        settled = ~risk & (calm != self.stage[who]) & (~worse | (since < crossed))
        self._change(who[settled], calm[settled], since[settled])
        self._change(who[worse], np.full(int(worse.sum()), AT_RISK, dtype="int8"), crossed[worse])
        gone = (self.stage[who] == AT_RISK) & (ratio < LAPSED_BELOW)
        self._change(
            who[gone],
            np.full(int(gone.sum()), LAPSED, dtype="int8"),
            self._crossing(who[gone], until[gone], curve, LAPSED_BELOW),
        )
        self.seen[who] = until

    def _change(self, who: Whole, stage: NDArray[np.int8], day: Whole) -> None:
        changed = stage != self.stage[who]
        self.previous[who[changed]] = self.stage[who[changed]]
        self.since[who[changed]] = day[changed]
        self.stage[who] = stage

    def _calm(self, who: Whole, day: Whole) -> NDArray[np.int8]:
        """New, won back or active: the stage of customers who are neither at risk nor lapsed."""
        came_back = self.returned[who] > 0
        settled = np.where(came_back, self.count[who] > self.returned[who], self.count[who] > 1)
        settled &= day >= self._settles(who)
        return np.where(settled, ACTIVE, np.where(came_back, WON_BACK, NEW)).astype("int8")

    def _settles(self, who: Whole) -> Whole:
        """The first day on which a customer may be neither new nor won back."""
        began = np.where(self.returned[who] > 0, self.returned_on[who], self.first[who])
        return began + self.horizon_days + 1

    def _crossing(self, who: Whole, until: Whole, curve: _Curve, line: float) -> Whole:
        """The first day after `seen` on which the ratio is below `line`, given that it is on `until`: silence only lowers it."""
        low, high = self.seen[who].copy(), until.copy()
        repeats, first = self.count[who] - 1, self.first[who]
        span = self.last[who] - first
        # A day is left out once it is known: the parameters of today may put `seen` itself below the line.
        while (open_ := high - low > 1).any():
            middle = (low + high) // 2
            below = curve.ratio(repeats, span, middle - first) < line
            high, low = np.where(open_ & below, middle, high), np.where(open_ & ~below, middle, low)
        return high


def _own_rhythm(typical_gap: float, x: Floats, t_x: Floats, age: Floats, horizon: float) -> Floats:
    """P(buys within `horizon`) when gaps are exponential with a gamma prior of one `typical_gap` (all in weeks), and
    LEAVES_AFTER_PURCHASE leave after each purchase."""
    odds = LEAVES_AFTER_PURCHASE / (1 - LEAVES_AFTER_PURCHASE)
    silent = (x + 1) * np.log((typical_gap + age) / (typical_gap + t_x))
    stays = 1 / (1 + odds * np.exp(np.minimum(silent, 700.0)))
    return stays * -np.expm1(-(x + 1) * np.log1p(horizon / (typical_gap + age)))


def _fitted(
    state: _State, drawn: Whole, day: int, horizon_days: int, start: Mapping[str, float] | None
) -> tuple[_Curve, Mapping[str, float] | None]:
    """The curve of what is known on `day`, and where the next fit may start."""
    horizon = horizon_days / DAYS_PER_WEEK
    known = drawn[state.count[drawn] > 0][:FITTED_CUSTOMERS]
    x = (state.count[known] - 1).astype("float64")
    span = state.last[known] - state.first[known]
    gaps = span[x > 0] / x[x > 0] / DAYS_PER_WEEK
    rule = _Curve(OWN_RHYTHM, {"typical_gap": float(np.median(gaps)) if len(gaps) else horizon}, horizon)
    if len(known) < FEWEST_CUSTOMERS or len(gaps) < FEWEST_REPEATERS:
        return rule, start
    rows = compress(x, span / DAYS_PER_WEEK, (day - state.first[known]) / DAYS_PER_WEEK)
    found = mbg_nbd.fit(rows, start=start)
    if found.degenerate or not found.converged:
        return rule, None
    return _Curve(FITTED, found.parameters, horizon), found.parameters


def _purchase_days(orders: pd.DataFrame, as_of: datetime.date) -> _Purchases:
    known = known_orders(orders, as_of)
    known = known[known["is_purchase"]]
    codes, found = pd.factorize(known["customer_id"].astype("str"))
    ids = np.asarray(found, dtype="object")
    by_id = np.argsort(ids, kind="stable")  # next to nothing where the ids come in order
    place = np.empty(len(ids), dtype="int64")
    place[by_id] = np.arange(len(ids))
    days = known["order_date"].to_numpy().astype("datetime64[D]").astype("int64")
    earliest = int(days.min()) if len(days) else 0
    reach = int(days.max()) - earliest + 1 if len(days) else 1
    together = np.sort(place[codes] * reach + (days - earliest))
    together = together[np.r_[True, together[1:] != together[:-1]]] if len(together) else together
    customer, day = together // reach, together % reach + earliest
    months = day.astype("datetime64[D]").astype("datetime64[M]").astype("int64") + 1970 * 12
    begins = np.ones(len(customer), dtype=bool)
    begins[1:] = (customer[1:] != customer[:-1]) | (months[1:] != months[:-1])
    positions = np.arange(len(customer))
    rounds = positions - np.maximum.accumulate(np.where(begins, positions, 0)) if len(customer) else positions
    order = np.lexsort((rounds, months))
    months, rounds = months[order], rounds[order]
    ends = np.flatnonzero(np.diff(months * 32 + rounds)) + 1 if len(months) else np.zeros(0, dtype="int64")
    slices: dict[int, list[slice]] = {}
    for low, high in zip([0, *ends], [*ends, len(months)], strict=True):
        if high > low:
            slices.setdefault(int(months[low]), []).append(slice(int(low), int(high)))
    return _Purchases(ids[by_id], customer[order], day[order], slices)


def _draw(ids: NDArray[np.object_]) -> Whole:
    """All customers in an order that has nothing to do with who they are, and is the same everywhere."""
    if not len(ids):
        return np.zeros(0, dtype="int64")
    hashed = pd.util.hash_array(ids, categorize=False)
    return np.lexsort((np.arange(len(ids)), hashed))


def _flows(month: int, before: NDArray[np.int8], now: NDArray[np.int8]) -> tuple[int, Whole]:
    return month, np.bincount(before.astype("int64") * len(STAGES) + now, minlength=len(STAGES) ** 2)


def _flow_table(flows: list[tuple[int, Whole]], as_of: datetime.date) -> pd.DataFrame:
    rows = [
        (
            datetime.date(month // 12, month % 12 + 1, 1),
            STAGES[cell // len(STAGES)],
            STAGES[cell % len(STAGES)],
            int(count),
        )
        for month, counts in flows
        for cell, count in enumerate(counts)
        if count and cell != PROSPECT * len(STAGES) + PROSPECT
    ]
    table = pd.DataFrame(rows, columns=["month", "from_stage", "to_stage", "customers"])
    return table.assign(as_of_date=as_of_column(as_of, len(table)))[list(FLOW_TYPES)]


def _customers(
    ids: NDArray[np.object_], state: _State, curve: _Curve, crm_customers: pd.DataFrame, as_of: datetime.date
) -> pd.DataFrame:
    repeats, span = (state.count - 1).astype("float64"), (state.last - state.first) / DAYS_PER_WEEK
    age = (_day(as_of) - state.first) / DAYS_PER_WEEK
    now, reference = curve.probability(repeats, span, age), curve.probability(repeats, span, span)
    ratio = np.divide(now, reference, out=np.ones(len(now)), where=reference > 0)
    since = state.since.astype("datetime64[D]")
    names = np.array(STAGES, dtype="object")
    bought = pd.DataFrame(
        {
            "customer_id": ids,
            "stage": names[state.stage],
            "stage_since": since.astype("datetime64[s]"),
            "previous_stage": names[state.previous],
            "probability_of_purchase": now.round(6),
            "own_reference": reference.round(6),
            "ratio": ratio.round(6),
            "months_in_stage": _whole_months(since, as_of),
            "method": curve.method,
        }
    )
    never = crm_customers[crm_customers["customer_id"].notna() & ~crm_customers["customer_id"].isin(ids)]
    never = never.drop_duplicates("customer_id")
    acquired = pd.to_datetime(never["acquired_date"]).to_numpy().astype("datetime64[s]")
    acquired = np.where(acquired <= np.datetime64(as_of, "s"), acquired, np.datetime64("NaT", "s"))
    months = _whole_months(acquired.astype("datetime64[D]"), as_of).astype("object")
    months[np.isnat(acquired)] = None
    prospects = pd.DataFrame(
        {
            "customer_id": never["customer_id"].astype("object").to_numpy(),
            "stage": STAGES[PROSPECT],
            "stage_since": acquired,
            "previous_stage": None,
            "probability_of_purchase": np.nan,
            "own_reference": np.nan,
            "ratio": np.nan,
            "months_in_stage": months,
            "method": NO_PURCHASE,
        }
    )
    parts = [part for part in (bought, prospects) if len(part)]
    table = pd.concat(parts) if parts else bought
    table = table.assign(as_of_date=as_of_column(as_of, len(table)), horizon_days=state.horizon_days)
    table = table.sort_values("customer_id", kind="stable").reset_index(drop=True)
    for name in ("probability_of_purchase", "own_reference", "ratio"):
        # A prospect has none: null in the warehouse, and not "not a number".
        table[name] = table[name].astype("object").where(table[name].notna(), None)
    return table[list(TYPES)]


def _whole_months(since: NDArray[np.datetime64], as_of: datetime.date) -> NDArray[np.int64]:
    """Whole months from each day to `as_of`, 0 or more; not for NaT."""
    months = since.astype("datetime64[M]")
    day = (since - months.astype("datetime64[D]")).astype("int64") + 1
    passed = np.datetime64(as_of, "M").astype("int64") - months.astype("int64") - (day > as_of.day)
    return np.maximum(passed, 0)


def _day(date: datetime.date) -> int:
    return (date - datetime.date(1970, 1, 1)).days


def _last_day(month: int) -> int:
    """The last day of a month given as year * 12 + month - 1."""
    return _day(datetime.date((month + 1) // 12, (month + 1) % 12 + 1, 1)) - 1
