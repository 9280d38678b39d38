"""Which published tables are made from a relation: what a check on it protects.

Read from where it is declared already: what a dbt model selects from, and the dependencies of the assets written in Python.
A test holds it against Dagster's graph. Belongs here: the way from relation to published table. Not here: cost lineage
(`explain`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from assets.analytics import (
    action_studies,
    growth_studies,
    match_suggestions,
    model_studies,
    pool_studies,
    profit_studies,
    relationship_studies,
    scores,
)
from assets.costing import service_charges
from assets.publish.release import DELIVERIES
from assets.publish.tables import PUBLISHED

IN_PYTHON: tuple[dg.AssetsDefinition, ...] = (
    service_charges.solved_service_charges,
    *match_suggestions.ASSETS,
    *pool_studies.ASSETS,
    *profit_studies.ASSETS,
    *growth_studies.ASSETS,
    *model_studies.ASSETS,
    *scores.ASSETS,
    *relationship_studies.ASSETS,
    *action_studies.ASSETS,
)


class Lineage:
    """Relations ("schema.table", `raw.<entity>` for what is delivered) and what is made from them."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        """`manifest` is dbt's."""
        self._made: dict[str, set[str]] = defaultdict(set)
        self._names: dict[str, str] = dict(PUBLISHED)
        self._tests: dict[str, list[str]] = {}
        self._known: dict[str, frozenset[str]] = {}

        def name(unique_id: str) -> str:
            node = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
            return f"{node['source_name' if unique_id.startswith('source.') else 'schema']}.{node['name']}"

        for unique_id, node in manifest["nodes"].items():
            read = [name(parent) for parent in node["depends_on"]["nodes"]]
            if node["resource_type"] == "model":
                self._names.setdefault(node["name"], name(unique_id))
                for parent in read:
                    self._made[parent].add(name(unique_id))
            elif node["resource_type"] == "test":
                self._tests[node["name"]] = read
        for definition in IN_PYTHON:
            for spec in definition.specs:
                for dependency in spec.deps:
                    self._made[".".join(dependency.asset_key.path)].add(".".join(spec.key.path))

    def made_from(self, relation: str) -> frozenset[str]:
        """The published tables made from a relation, itself among them when it is published."""
        if relation not in self._known:
            self._known[relation] = self._follow(relation)
        return self._known[relation]

    def _follow(self, relation: str) -> frozenset[str]:
        reached, waiting = {relation}, [relation]
        while waiting:
            new = self._made.get(waiting.pop(), set()) - reached
            reached |= new
            waiting += new
        return frozenset(table for table, published in PUBLISHED.items() if published in reached)

    def protected(self, check_name: str, table: str, reads: Iterable[str] = ()) -> list[str]:
        """The published tables that stand on what a check looks at: its table and `reads` (tables of the release or
        relations), and for a test of dbt all that the test selects from."""
        looked_at = {table, *reads, *self._tests.get(check_name, ())}
        found = {table} & {DELIVERIES}
        return sorted(found.union(*(self.made_from(self._names.get(each, each)) for each in looked_at)))
