"""The gate's comparisons: is what would be published what one expects after what came before?

    freshness    how old each source's latest delivery and latest business event are at the as-of date
    volume       rows of a source's latest delivery, of all its deliveries, and of each published table
    drift        closed months, active customers, shares of tiers, distribution of profit

A release is compared with an earlier one (`release.earlier`), by manifests where they suffice and by the columns needed where
not. A first release has nothing to be compared with, and each check says so. Limits and severities are in company.yml
(`gate:`, and `late_after_days` and `quiet_after_days` of a source). Nothing here knows today's date.

Belongs here: finding and judging such differences. Not here: why they are there (`changes.py`), and what has to be true of a
table alone (`expectations/`) or beside its neighbours (`assets/gate.py`).
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np

from assets.analytics.drift import FEWEST_CUSTOMERS, psi
from assets.company import Company, GateCheck, MovementCheck, RowsCheck
from assets.gate import CheckResult
from assets.publish.release import DELIVERIES, DELIVERIES_RELATION, Release
from assets.restatements import Restatements

FRESHNESS, VOLUME, DRIFT = "freshness", "volume", "drift"

EVENTS = {
    "invoice": ("staging.stg_invoices", "invoice_date"),
    "payment": ("staging.stg_payments", "payment_date"),
    "gl_entry": ("staging.stg_gl_entries", "effective_date"),
    "activity": ("staging.stg_activities", "activity_date"),
    "service_case": ("staging.stg_service_cases", "opened_at"),
    "survey_response": ("staging.stg_survey_responses", "responded_on"),
    "opportunity": ("staging.stg_opportunities", "created_at"),
    "timesheet": ("staging.stg_timesheets", "work_date"),
}
"""Entity -> where its records lie, and when they happened; the other entities are no events."""

USUAL_OF = 28
"""A delivery is held against this many before it: four weeks know weekends and month ends."""

FEWEST_DELIVERIES = 5
"""Of a source, and of these with rows of an entity; fewer do not tell what is usual."""

LEAST_ROWS = 20
"""Fewer rows than these more or less are nobody's alarm, whatever share they are."""

SHOWN = 3
NOTHING_EARLIER = "no earlier release to compare with"


@dataclass(frozen=True)
class Now:
    """What is about to be published: the warehouse, the as-of date, and published table -> relation."""

    connection: duckdb.DuckDBPyConnection
    as_of: datetime.date
    tables: Mapping[str, str]
    deliveries: str = DELIVERIES_RELATION
    events: Mapping[str, tuple[str, str]] = field(default_factory=lambda: EVENTS)


def compare(
    now: Now, earlier: Release | None, company: Company, restated: Restatements | None = None
) -> dict[str, list[CheckResult]]:
    """The results of every comparison, by stage; what of `now` a check looks at is in its `reads`. A month that was `restated`
    may have moved to the figures it was restated to.

    A check that cannot be evaluated, for a damaged release say, has failed.
    """
    found = _Found(now, earlier, company, restated or Restatements())
    found.freshness()
    found.deliveries()
    found.table_rows()
    found.drift()
    return found.results


class _Found:
    """The comparisons of one release, and what they found."""

    def __init__(self, now: Now, earlier: Release | None, company: Company, restated: Restatements) -> None:
        self.now, self.earlier, self.company, self.restated = now, earlier, company, restated
        self.results: dict[str, list[CheckResult]] = {FRESHNESS: [], VOLUME: [], DRIFT: []}
        self.rows = self._rows(now.deliveries, now.as_of)

    def _add(
        self,
        stage: str,
        name: str,
        table: str,
        policy: GateCheck,
        said: tuple[bool, str],
        detail: str,
        reads: tuple[str, ...] = (),
    ) -> None:
        passed, observed = said
        self.results[stage].append(CheckResult(name, table, policy.severity, passed, observed, detail, reads))

    def _rows(self, relation: str, until: datetime.date) -> dict[str, dict[str, dict[datetime.date, int]]]:
        """Source -> entity -> extract date -> rows delivered. Counts are those of a load, and stand beside each of its files."""
        found: dict[str, dict[str, dict[datetime.date, int]]] = defaultdict(lambda: defaultdict(dict))
        for source, entity, date, rows in self.now.connection.execute(
            "select source_instance, entity, extract_date, sum(rows_in)::bigint from ("
            f"select distinct source_instance, entity, extract_date, load_id, rows_in from {relation}"
            ") where extract_date <= ? group by all order by all",
            [until],
        ).fetchall():
            found[source][entity][date] = rows
        return found

    def _reads(self, source: str) -> tuple[str, ...]:
        return tuple(f"raw.{entity}" for entity in sorted(self.rows.get(source, {})))

    def freshness(self) -> None:
        events = self._latest_events()
        for source, settings in self.company.sources.items():
            delivered = max((date for dates in self.rows.get(source, {}).values() for date in dates), default=None)
            self._add(
                FRESHNESS,
                f"late_deliveries__{source}",
                DELIVERIES,
                self.company.gate.late_deliveries,
                self._age("delivery", delivered, settings.late_after_days),
                f"A source that no longer delivers leaves all that is made from it as it was. Limit: {source}, "
                f"late_after_days {_limit(settings.late_after_days)}.",
                self._reads(source),
            )
            if source in events or settings.quiet_after_days is not None:
                self._add(
                    FRESHNESS,
                    f"quiet_sources__{source}",
                    DELIVERIES,
                    self.company.gate.quiet_sources,
                    self._age("business event", events.get(source), settings.quiet_after_days),
                    "Files that arrive with nothing new in them are as bad as none. Events are invoices, payments, postings, "
                    f"activities, cases, answers, opportunities and hours worked. Limit: {source}, quiet_after_days "
                    f"{_limit(settings.quiet_after_days)}.",
                    self._reads(source),
                )

    def _age(self, what: str, latest: datetime.date | None, limit: int | None) -> tuple[bool, str]:
        if latest is None:
            return limit is None, f"no {what} yet"
        days = (self.now.as_of - latest).days
        return limit is None or days <= limit, f"latest {what} {latest}, {days} days before {self.now.as_of}"

    def _latest_events(self) -> dict[str, datetime.date]:
        """Source -> the day of its latest event that has happened by the as-of date."""
        delivered = {entity for entities in self.rows.values() for entity in entities}
        latest: dict[str, datetime.date] = {}
        for entity, (relation, column) in self.now.events.items():
            if entity not in delivered:
                continue
            for source, day in self.now.connection.execute(
                f"select source_instance, max({column}::date) from {relation} where {column}::date <= ? group by all",
                [self.now.as_of],
            ).fetchall():
                latest[source] = max(day, latest.get(source, day))
        return latest

    def deliveries(self) -> None:
        policies = self.company.gate
        then = self._earlier_deliveries()
        for source in self.company.sources:
            self._add(
                VOLUME,
                f"usual_rows__{source}",
                DELIVERIES,
                policies.usual_rows,
                self._usual(self.rows.get(source, {}), policies.usual_rows),
                f"Rows of each entity in the latest delivery, against the {USUAL_OF} deliveries before it: less than the "
                f"least by {policies.usual_rows.drop:.0%} or more than the most by {policies.usual_rows.jump:.0%} is not usual.",
                self._reads(source),
            )
            self._add(
                VOLUME,
                f"delivered_rows__{source}",
                DELIVERIES,
                policies.delivered_rows,
                then if isinstance(then, tuple) else self._kept(source, then, policies.delivered_rows),
                "Rows delivered up to the earlier release's date, then and now: a file taken back, or delivered anew with other "
                f"rows, changes the past. Allowed: {_allowed(policies.delivered_rows)}.",
                self._reads(source),
            )

    def _usual(self, entities: Mapping[str, Mapping[datetime.date, int]], policy: RowsCheck) -> tuple[bool, str]:
        dates = sorted({date for rows in entities.values() for date in rows})
        before = dates[-USUAL_OF - 1 : -1]
        if len(before) < FEWEST_DELIVERIES:
            return True, f"{len(before)} deliveries before the latest: too few to know what is usual"
        said: list[str] = []
        odd: list[str] = []
        for entity, rows in sorted(entities.items()):
            latest, past = rows.get(dates[-1], 0), [rows.get(date, 0) for date in before]
            if sum(each > 0 for each in past) < FEWEST_DELIVERIES:
                continue  # what comes once a month, such as a trial balance, is not missed on the other days
            text = f"{entity} {latest:,} rows ({min(past):,} to {max(past):,} before)"
            (odd if _moved_beyond(min(past), max(past), latest, policy) else said).append(text)
        shown = odd or said or ["no entity comes regularly"]
        return not odd, f"delivery of {dates[-1]}: " + ", ".join(shown[:SHOWN]) + _more(shown)

    def _earlier_deliveries(self) -> dict[str, dict[str, dict[datetime.date, int]]] | tuple[bool, str]:
        missing = self._cannot(DELIVERIES, "source_instance", "entity", "extract_date", "load_id", "rows_in")
        if missing:
            return True, missing
        assert self.earlier is not None
        try:
            return self._rows(_file(self.earlier, DELIVERIES), self.earlier.as_of)
        except duckdb.Error as error:
            return _not_evaluated(error)

    def _kept(
        self, source: str, then: Mapping[str, Mapping[str, Mapping[datetime.date, int]]], policy: RowsCheck
    ) -> tuple[bool, str]:
        assert self.earlier is not None
        changed, odd = [], []
        past, present = then.get(source, {}), self.rows.get(source, {})
        for entity in sorted({*past, *present}):
            was = sum(past.get(entity, {}).values())
            known = present.get(entity, {}).items()
            is_now = sum(rows for date, rows in known if date <= self.earlier.as_of)
            if was == is_now:
                continue
            text = f"{entity} {was:,} rows and now {is_now:,}"
            changed.append(text)
            if _moved_beyond(was, was, is_now, policy):
                odd.append(text)
        shown = odd or changed
        return not odd, self._against(", ".join(shown[:SHOWN]) + _more(shown) if shown else "the same rows")

    def table_rows(self) -> None:
        policy = self.company.gate.table_rows
        for table, relation in self.now.tables.items():
            then = self._cannot(table)
            if then is None:
                assert self.earlier is not None
                was = int(self.earlier.manifest["tables"][table]["rows"])
                row: Any = self.now.connection.execute(f"select count(*) from {relation}").fetchone()
                said = (
                    not _moved_beyond(was, was, row[0], policy),
                    self._against(f"{was:,} rows and now {row[0]:,}"),
                )
            else:
                said = True, then
            self._add(
                VOLUME,
                "table_rows",
                table,
                policy,
                said,
                f"Rows of the table, against the earlier release. Allowed: {_allowed(policy)}.",
            )

    def drift(self) -> None:
        policies = self.company.gate
        for column, policy in (
            ("net_revenue", policies.closed_months_net_revenue),
            ("operating_profit", policies.closed_months_operating_profit),
        ):
            self._measured(
                f"closed_months_{column}",
                "customer_profitability",
                ("month", "net_revenue", column),
                policy,
                self._closed_months,
                f"What {column} of a month before the earlier release's month has moved by since. Allowed in each month: "
                f"{policy.tolerance:.1%} of its net revenue.",
            )
        self._measured(
            "active_customers",
            "customers",
            ("orders_12m",),
            policies.active_customers,
            self._active,
            "Customers with an order in twelve months, against the earlier release. Allowed: "
            f"{policies.active_customers.tolerance:.0%}.",
        )
        self._measured(
            "tier_shares",
            "customers",
            ("customer_tier",),
            policies.tier_shares,
            self._tiers,
            "The share of customers that would have to change their tier for the shares of the earlier release. Allowed: "
            f"{policies.tier_shares.tolerance:.0%}.",
        )
        self._measured(
            "profit_distribution",
            "customers",
            ("orders_12m", "operating_profit_12m"),
            policies.profit_distribution,
            self._profits,
            "Population stability index of active customers' operating profit of twelve months, against the earlier release. "
            f"Allowed: {policies.profit_distribution.tolerance:g}.",
        )

    def _measured(
        self, name: str, table: str, columns: tuple[str, ...], policy: MovementCheck, measure: Any, detail: str
    ) -> None:
        """One comparison of a table's columns: `measure(past, present, last column)` gives how far it moved (None: not known)
        and what to say."""
        if table not in self.now.tables:
            return
        missing = self._cannot(table, *columns)
        if missing:
            said = True, missing
        else:
            assert self.earlier is not None
            try:
                moved, text = measure(_file(self.earlier, table), self.now.tables[table], columns[-1])
                said = moved is None or moved <= policy.tolerance, self._against(text)
            except duckdb.Error as error:
                said = _not_evaluated(error)
        self._add(DRIFT, name, table, policy, said, detail)

    def _closed_months(self, past: str, present: str, column: str) -> tuple[float | None, str]:
        assert self.earlier is not None
        rows = self.now.connection.execute(
            f"""
            with past as (
                select month, sum({column}) as figure, sum(net_revenue) as revenue from {past} group by month
            ),
            present as (select month, sum({column}) as figure from {present} group by month)
            select month, coalesce(past.figure, 0), coalesce(present.figure, 0), coalesce(past.revenue, 0)
            from past full join present using (month)
            where month < date_trunc('month', ?::date)
            order by month
            """,
            [self.earlier.as_of],
        ).fetchall()
        moved = [
            (_share(abs(now - then), abs(revenue)), month, then, now)
            for month, then, now, revenue in rows
            if now != then
        ]
        since = self.earlier.as_of
        excused = [each for each in moved if self.restated.excuse(each[1], column, each[3], since)]
        moved = [each for each in moved if each not in excused]
        told = f"; restated: {', '.join(f'{month:%Y-%m}' for _, month, _, _ in excused)}" if excused else ""
        if not moved:
            return 0.0, f"none of {len(rows)} closed months moved{' unsaid' + told if told else ''}"
        share, month, then, now = max(moved)
        total = sum((now - then for _, _, then, now in moved), Decimal(0))
        return share, (
            f"{len(moved)} of {len(rows)} closed months moved, by {total:+,.2f} in all, most {month:%Y-%m}: {then:,.2f} and now "
            f"{now:,.2f}{told}"
        )

    def _active(self, past: str, present: str, column: str) -> tuple[float | None, str]:
        then, now = (
            self._one(f"select count(*) from {relation} where {column} > 0")[0] for relation in (past, present)
        )
        return _share(abs(now - then), then), f"{then:,} active customers and now {now:,}"

    def _tiers(self, past: str, present: str, column: str) -> tuple[float | None, str]:
        counts = [
            dict(
                self.now.connection.execute(
                    f"select coalesce({column}, 'none'), count(*) from {relation} group by all"
                ).fetchall()
            )
            for relation in (past, present)
        ]
        if min(sum(each.values()) for each in counts) < FEWEST_CUSTOMERS:
            return None, f"fewer than {FEWEST_CUSTOMERS} customers: chance moves more"
        shares = [{tier: count / sum(each.values()) for tier, count in each.items()} for each in counts]
        changes = {tier: shares[1].get(tier, 0) - shares[0].get(tier, 0) for tier in sorted({*shares[0], *shares[1]})}
        largest = sorted(changes, key=lambda tier: (-abs(changes[tier]), tier))[:SHOWN]
        text = ", ".join(
            f"{tier} {shares[0].get(tier, 0):.1%} and now {shares[1].get(tier, 0):.1%}" for tier in largest
        )
        return sum(abs(change) for change in changes.values()) / 2, text

    def _profits(self, past: str, present: str, column: str) -> tuple[float | None, str]:
        then, now = (
            np.asarray(
                self.now.connection.execute(
                    f"select {column}::double as profit from {relation} where orders_12m > 0 order by 1"
                ).fetchnumpy()["profit"]
            )
            for relation in (past, present)
        )
        if min(len(then), len(now)) < FEWEST_CUSTOMERS:
            return None, f"fewer than {FEWEST_CUSTOMERS} active customers: chance moves more"
        moved = psi(then, now)
        return moved, f"population stability index {moved:.3f} over {len(now):,} customers"

    def _one(self, query: str) -> Any:
        return self.now.connection.execute(query).fetchone()

    def _cannot(self, table: str, *columns: str) -> str | None:
        """Why the table cannot be compared with the earlier release; None when it can."""
        if self.earlier is None:
            return NOTHING_EARLIER
        described = self.earlier.manifest["tables"].get(table)
        if described is None:
            return f"release {self.earlier.release_id} has no table {table}"
        missing = {*columns} - {column["name"] for column in described["columns"]}
        return f"release {self.earlier.release_id} has no {', '.join(sorted(missing))} in {table}" if missing else None

    def _against(self, text: str) -> str:
        assert self.earlier is not None
        return f"{text} (release {self.earlier.release_id})"


def _moved_beyond(least: int, most: int, now: int, policy: RowsCheck) -> bool:
    fewer = now < least * (1 - policy.drop) and least - now > LEAST_ROWS
    more = now > most * (1 + policy.jump) and now - most > LEAST_ROWS
    return fewer or more


def _share(part: Any, whole: Any) -> float:
    if not whole:
        return float("inf") if part else 0.0
    return float(part / whole)


def _allowed(policy: RowsCheck) -> str:
    return f"{policy.drop:.0%} fewer to {policy.jump:.0%} more"


def _limit(days: int | None) -> str:
    return "not set" if days is None else str(days)


def _more(shown: list[str]) -> str:
    return f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""


def _not_evaluated(error: duckdb.Error) -> tuple[bool, str]:
    return False, f"not evaluated: {str(error).splitlines()[0]}"


def _file(release: Release, table: str) -> str:
    path = str(release.path / f"{table}.parquet").replace("'", "''")
    return f"read_parquet('{path}')"
