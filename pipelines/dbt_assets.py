"""The models and tests of the dbt project as Dagster's assets and checks, read from dbt's manifest.

Belongs here: what a model is called in Dagster, what it depends on, and what its page in the UI shows. Not here: running
dbt (`dbt.py`). dagster-dbt would do the same and imports all of dbt for it, which takes as long as everything else
that a code location loads; dbt is needed by a run alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from pipelines.resources import owners

UNIQUE_ID = "dbt/unique_id"
"""Metadata of an asset or a check: the node of dbt's manifest it stands for."""

COLUMNS = "dagster/column_schema"
"""Metadata of an asset: its columns, as the UI shows them."""

OWNER_OF_LAYER = {
    "staging": "engineering",
    "facts": "engineering",
    "credit": "controlling",
    "pools": "controlling",
    "costing": "controlling",
    "marts": "controlling",
    "overview": "analytics",
}

Manifest = Mapping[str, Any]
"""dbt's manifest.json as it is read."""


def asset_specs(manifest: Manifest, layers: Sequence[str]) -> list[dg.AssetSpec]:
    """One asset per model of the layers: folder = schema = key prefix = group."""
    return [_asset_spec(manifest, node) for node in _models(manifest, layers)]


def check_specs(manifest: Manifest, layers: Sequence[str]) -> list[dg.AssetCheckSpec]:
    """One check per test that is filed under a model of the layers; a test of severity error blocks what comes after."""
    models = {node["unique_id"] for node in _models(manifest, layers)}
    tests = (node for node in manifest["nodes"].values() if node["resource_type"] == "test")
    return [_check_spec(manifest, test) for test in tests if filed_under(test) in models]


def filed_under(test: Mapping[str, Any]) -> str | None:
    """The node a test is a check of: the one it was written for, the only one it reads, or the one its `meta` names.

    None for a test of several models that names none: dbt runs it, and it is no check of one table.
    """
    named = test["config"].get("meta", {}).get("dagster", {}).get("ref", {}).get("name")
    if named:
        return f"model.{test['package_name']}.{named}"
    read = set(test["depends_on"]["nodes"])
    return read.pop() if len(read) == 1 else test.get("attached_node")


def with_columns(manifest: Manifest, assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The assets with the columns that dbt's YAML describes: what Python writes is a source there, with each column's meaning."""
    sources = {(node["source_name"], node["name"]): node for node in manifest["sources"].values()}

    def described(spec: dg.AssetSpec) -> dg.AssetSpec:
        layer, *name = spec.key.path
        source = sources.get((layer, "/".join(name)))
        return spec.merge_attributes(metadata={COLUMNS: _columns(source)}) if source else spec

    return list(dg.map_asset_specs(described, assets))


def _columns(node: Mapping[str, Any]) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column["name"], type=column["data_type"] or "?", description=column["description"] or None
            )
            for column in node["columns"].values()
        ]
    )


def _models(manifest: Manifest, layers: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and node["fqn"][1] in layers:
            yield node


def _key(manifest: Manifest, unique_id: str) -> dg.AssetKey:
    node = manifest["nodes"].get(unique_id) or manifest["sources"][unique_id]
    return dg.AssetKey([node["source_name"] if unique_id.startswith("source.") else node["schema"], node["name"]])


def _asset_spec(manifest: Manifest, node: Mapping[str, Any]) -> dg.AssetSpec:
    layer = node["schema"]
    return dg.AssetSpec(
        key=_key(manifest, node["unique_id"]),
        deps=sorted(_key(manifest, parent) for parent in set(node["depends_on"]["nodes"])),
        description=node["description"],
        group_name=layer,
        owners=owners()[OWNER_OF_LAYER[layer]],
        code_version=hashlib.sha1(node["raw_code"].encode()).hexdigest(),
        kinds={"dbt", manifest["metadata"]["adapter_type"]},
        metadata={
            UNIQUE_ID: node["unique_id"],
            COLUMNS: _columns(node),
            "dagster/table_name": f"{layer}.{node['name']}",
            "materialized": node["config"]["materialized"],
        },
        # A run may select some models of a step.
        skippable=True,
    )


def _check_spec(manifest: Manifest, test: Mapping[str, Any]) -> dg.AssetCheckSpec:
    of = filed_under(test)
    assert of is not None
    return dg.AssetCheckSpec(
        name=test["name"],
        asset=_key(manifest, of),
        description=test["description"] or None,
        additional_deps=sorted(_key(manifest, parent) for parent in set(test["depends_on"]["nodes"]) - {of}),
        metadata={UNIQUE_ID: test["unique_id"]},
        blocking=test["config"]["severity"].lower() == "error",
    )
