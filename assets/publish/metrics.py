"""The metrics as dbt declares them (dbt_project/models/overview/_metrics.yml), as SQL over published tables.

One declaration serves three readers: MetricFlow reads the YAML itself, the report and the BI datasets read it here. Belongs
here: turning a declaration into an expression. Not here: what a figure is (the YAML), nor who shows it.

Simple metrics (sum, count, average, min, max of a measure) and ratios of two on one table are read; anything else is refused,
so that a metric is either the same everywhere or nowhere.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.errors import ConfigurationError
from assets.yaml_files import read_yaml

FILE = Path(__file__).parents[2] / "dbt_project" / "models" / "overview" / "_metrics.yml"
AGGREGATIONS = {"sum": "sum", "count": "count", "average": "avg", "min": "min", "max": "max"}
UNITS = ("base currency", "share", "customers", "actions")


@dataclass(frozen=True)
class Metric:
    """One metric: `sql` is an aggregate over rows of the published `table`; a sum or count of nothing is null or 0.

    `latest` is the column of which only the highest value counts, for what must not be added up over time; None otherwise.
    """

    name: str
    label: str
    description: str
    unit: str
    table: str
    sql: str
    latest: str | None = None


@functools.cache
def declared(file: Path = FILE) -> Mapping[str, Metric]:
    """All metrics by name, in the order they are declared. Raises ConfigurationError naming what is not understood."""
    written = read_yaml(file)
    measures = {
        measure["name"]: (model, measure) for model in written["semantic_models"] for measure in model["measures"]
    }
    metrics: dict[str, Metric] = {}
    for said in written["metrics"]:
        unit = said["config"]["meta"]["unit"]
        if unit not in UNITS:
            raise ConfigurationError(
                f"{file.name}: the metric {said['name']} has the unit {unit!r}; there are {', '.join(UNITS)}."
            )
        table, sql, latest = _expression(file, said, measures, metrics)
        metrics[said["name"]] = Metric(said["name"], said["label"], said["description"], unit, table, sql, latest)
    return metrics


def of_table(table: str) -> list[Metric]:
    """The metrics over one published table."""
    return [metric for metric in declared().values() if metric.table == table]


def selected(columns: Mapping[str, str]) -> str:
    """The select list of metrics of one table, column -> metric; 0 where there is nothing to add up or count."""
    chosen = {column: declared()[name] for column, name in columns.items()}
    if len({metric.table for metric in chosen.values()}) != 1:
        raise ValueError(f"{', '.join(columns.values())} are not metrics of one table.")
    return ", ".join(f"coalesce({metric.sql}, 0) as {column}" for column, metric in chosen.items())


def _expression(
    file: Path, said: Mapping[str, Any], measures: Mapping[str, Any], earlier: Mapping[str, Metric]
) -> tuple[str, str, str | None]:
    """(table, SQL, column of which the latest counts) of one metric."""
    parameters = said["type_params"]
    if said["type"] == "simple" and set(parameters) == {"measure"} and "filter" not in said:
        model, measure = measures[parameters["measure"]]
        if measure["agg"] in AGGREGATIONS:
            aggregate = f"{AGGREGATIONS[measure['agg']]}({measure.get('expr', measure['name'])})"
            return _table(model), aggregate, _latest(model, measure)
    if said["type"] == "ratio" and "filter" not in said:
        over, under = (earlier.get(parameters[part]) for part in ("numerator", "denominator"))
        if over and under and over.table == under.table and over.latest == under.latest:
            # A decimal by a decimal is a double on DuckDB and a decimal elsewhere.
            return over.table, f"cast({over.sql} as double precision) / nullif({under.sql}, 0)", over.latest
    raise ConfigurationError(
        f"{file.name}: the metric {said['name']} is neither a measure (of {', '.join(AGGREGATIONS)}) nor a ratio of two metrics "
        "declared before it on the same table, without filters. Put the condition into the measure's expr."
    )


def _table(model: Mapping[str, Any]) -> str:
    found = re.fullmatch(r"ref\('(\w+)'\)", model["model"])
    assert found is not None, model["model"]
    return found[1]


def _latest(model: Mapping[str, Any], measure: Mapping[str, Any]) -> str | None:
    over = measure.get("non_additive_dimension")
    if over is None:
        return None
    dimension = next(each for each in model["dimensions"] if each["name"] == over["name"])
    return str(dimension.get("expr", dimension["name"]))
