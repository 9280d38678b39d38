"""Running the dbt project: three passes, before and after the service pools are solved, and after the analytics.

dbt runs inside this process (`dbtRunner`): a child process would cost more than the SQL does and could not share the
machine's one writer to the warehouse. One parsed manifest serves all passes.
"""

import collections
import contextlib
import functools
import hashlib
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from assets.errors import WhalecurveError
from assets.publish.plots import PLOTS, plots_of
from pipelines.dbt_assets import UNIQUE_ID, asset_specs, check_specs
from pipelines.engines import Engine, InProcess, engine_of
from pipelines.resources import DBT_MANIFEST, DBT_PROJECT, Workspace, let_go_of_warehouse

TARGET = DBT_MANIFEST.parent
PARSED = TARGET / "partial_parse.msgpack"
SOURCES_HASH = TARGET / "sources.sha256"
SILENT = ["--log-level", "none"]
"""What failed is in the result, and said at the end of the run; --quiet alone would still print tracebacks on Ctrl+C."""

PASSES = {
    "dbt_pools": ("staging", "facts", "credit", "pools"),
    "dbt_marts": ("costing", "marts"),
    "dbt_overview": ("overview",),
}
"""Name of the step -> the layers of dbt_project it builds."""

_manifests: dict[str, Any] = {}
"""Manifests of other engines than DuckDB, parsed once in a process."""

BuildListener = Callable[[str, list[dict[str, Any]], Workspace], None]


def project_arguments() -> list[str]:
    """Where dbt finds the project and its own profile: for what needs no company."""
    return ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]


def _sources_hash() -> str:
    """Hash of everything dbt parses."""
    digest = hashlib.sha256()
    for path in sorted(DBT_PROJECT.rglob("*")):
        relative = path.relative_to(DBT_PROJECT)
        if path.is_file() and relative.parts[0] not in ("target", "logs", "dbt_packages"):
            digest.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def parsed_manifest() -> Any:
    """The manifest as dbt's own object: loaded as the last parse left it, or parsed anew when the project has changed.

    dbt's own partial parsing would do, but it starts over whenever the data folder changes.
    """
    if _is_fresh():
        from dbt.contracts.graph.manifest import Manifest

        manifest = Manifest.from_msgpack(PARSED.read_bytes())
        manifest.build_flat_graph()
        return manifest
    TARGET.mkdir(exist_ok=True)
    parsed_sources = _sources_hash()
    # Written beside and renamed: a parse killed half-way, or another one at the same time, leaves a whole manifest.
    with tempfile.TemporaryDirectory(prefix=".parse-", dir=TARGET) as aside:
        result = invoke(["parse", *SILENT, "--target-path", aside, *project_arguments()])
        (Path(aside) / SOURCES_HASH.name).write_text(parsed_sources)
        SOURCES_HASH.unlink(missing_ok=True)
        for path in (DBT_MANIFEST, PARSED, SOURCES_HASH):
            os.replace(Path(aside) / path.name, path)
    return result.result


def manifest_for(engine: Engine) -> Any:
    """The manifest for an engine: dbt writes the engine's dialect into it while it parses."""
    if engine.target == InProcess.target:
        return parsed_manifest()
    if engine.target not in _manifests:
        TARGET.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".parse-", dir=TARGET) as aside:
            _manifests[engine.target] = invoke(["parse", *SILENT, "--target-path", aside, *engine.arguments()]).result
    return _manifests[engine.target]


def _is_fresh() -> bool:
    """Whether the last parse still holds; not while another process is putting its own in place."""
    try:
        parsed_sources = SOURCES_HASH.read_text()
    except FileNotFoundError:
        return False
    return DBT_MANIFEST.exists() and PARSED.exists() and parsed_sources == _sources_hash()


def manifest_path() -> Path:
    """The manifest on disk, made anew when it is missing or older than the project's files."""
    if not _is_fresh():
        parsed_manifest()
    return DBT_MANIFEST


def invoke(arguments: list[str], manifest: Any = None, callbacks: list[Any] | None = None) -> Any:
    """Run dbt in this process and close the connections it leaves open."""
    from dbt.cli.main import dbtRunner

    let_go_of_warehouse()
    try:
        with _interrupts_as_dbt_knows_them():
            result = dbtRunner(manifest=manifest, callbacks=callbacks or []).invoke(arguments)
    finally:
        _close_connections()
    if isinstance(result.exception, KeyboardInterrupt):
        raise result.exception
    if result.exception is not None:
        raise WhalecurveError(
            f"dbt could not run `{arguments[0]}`: {result.exception}. The warehouse is as the last complete model left it."
        )
    return result


@contextlib.contextmanager
def _interrupts_as_dbt_knows_them() -> Iterator[None]:
    """In a step Ctrl+C raises an error of Dagster's; dbt cancels its statements and ends its threads on Python's own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _close_connections() -> None:
    """dbt keeps the DuckDB file open after a run, and a second configuration of the same file would be refused."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    environment = DuckDBConnectionManager._ENV
    if environment is not None:
        environment.close()
        DuckDBConnectionManager._ENV = None


def test_results(results: Any, built: set[str]) -> list[dict[str, Any]]:
    """What each dbt test said of the models `built`: name, table it is filed under, severity, passed, detail.

    dbt also runs tests of other models that read a built one. They are not recorded: a table's record is replaced whole,
    and those tables' other tests did not run.
    """
    found = []
    for result in results:
        node = result.node
        if node.resource_type != "test":
            continue
        models = [name for name in node.depends_on.nodes if name.startswith("model.")]
        filed_under = getattr(node, "attached_node", None) or (models[-1] if models else None)
        if filed_under not in built:
            continue
        model = parsed_manifest().nodes[filed_under]
        found.append(
            {
                "check_name": node.name,
                "table": model.name,
                "relation": f'"{model.schema}"."{model.name}"',
                "tests_tables": sorted(name.rpartition(".")[2] for name in models),
                "severity": "warn" if str(node.config.severity).lower() == "warn" else "error",
                "passed": str(result.status) == "pass",
                "detail": result.message or str(result.status),
            }
        )
    return found


def unique_id_layer(manifest: Any, unique_id: str) -> str:
    """The layer (dbt folder, schema) of a model."""
    return str(manifest.nodes[unique_id].schema)


def build(
    context: dg.AssetExecutionContext, workspace: Workspace, listener: BuildListener
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Build and test the selected models, then report each model and test to Dagster.

    A failing model or error-severity test ends the step after everything has been reported, so nothing downstream runs.
    """
    specs = {spec.metadata[UNIQUE_ID]: spec for spec in context.assets_def.specs if UNIQUE_ID in spec.metadata}
    checks = {spec.metadata[UNIQUE_ID]: spec for spec in context.assets_def.check_specs if UNIQUE_ID in spec.metadata}
    chosen = [unique_id for unique_id, spec in specs.items() if spec.key in context.selected_asset_keys]
    engine = engine_of(workspace)
    manifest = manifest_for(engine)
    workspace.expose_sources()
    started = time.monotonic()

    unfinished = collections.Counter(unique_id_layer(manifest, unique_id) for unique_id in chosen)

    def progress(event: Any) -> None:
        """Say when a layer is complete: the models are reported one by one, but only after dbt has ended."""
        if event.info.name != "LogModelResult":
            return
        layer = unique_id_layer(manifest, event.data.node_info.unique_id)
        unfinished[layer] -= 1
        if unfinished[layer] == 0:
            context.log.info(f"dbt has built {layer} after {time.monotonic() - started:.1f} s")

    # What dbt writes while it builds belongs to the data folder: runs of several companies share the project's folder.
    written = ["--no-write-json", "--target-path", str(workspace.data / "dbt")]
    arguments = ["build", *SILENT, *engine.arguments(), *written, "--exclude-resource-type", "unit_test"]
    names = [unique_id.split(".")[-1] for unique_id in chosen]
    later = _tests_of_later_passes(manifest, context.op.name)
    exclude = ["--exclude", *later] if later else []
    with engine.building(manifest, chosen):
        result = invoke([*arguments, "--select", *names, *exclude], manifest=manifest, callbacks=[progress])
    if not result.result or not result.result.results:
        raise WhalecurveError("dbt reported nothing for the selected models, so nothing can be trusted to be built.")
    counts = _row_counts(workspace, [specs[unique_id].key for unique_id in chosen])
    plots = _plots(workspace, counts)
    failures = []
    for node_result in result.result.results:
        unique_id, status = node_result.node.unique_id, str(node_result.status)
        if unique_id in specs and status == "success":
            key = specs[unique_id].key
            yield dg.MaterializeResult(
                asset_key=key,
                metadata={
                    "dagster/row_count": counts.get(key.to_user_string(), 0),
                    "seconds": round(node_result.execution_time, 3),
                    "relation": ".".join(key.path),
                    **plots.get(key.to_user_string(), {}),
                },
            )
        elif unique_id in checks:
            spec = checks[unique_id]
            if spec.key in context.selected_asset_check_keys:
                yield dg.AssetCheckResult(
                    asset_key=spec.asset_key,
                    check_name=spec.name,
                    passed=status == "pass",
                    severity=dg.AssetCheckSeverity.WARN if status == "warn" else dg.AssetCheckSeverity.ERROR,
                    metadata={"status": status, "failing_rows": node_result.failures or 0},
                )
        if status in ("error", "fail", "runtime error"):
            failures.append(f"{node_result.node.name}: {node_result.message}")
    listener(context.op.name, test_results(result.result.results, set(chosen)), workspace)
    if failures:
        shown = "\n  ".join(failures[:20])
        raise WhalecurveError(
            f"{len(failures)} dbt models or tests said no:\n  {shown}\n"
            "The last release stays. Look at the failing rows in the warehouse, mend the input or the rule, and run again."
        )


def _tests_of_later_passes(manifest: Any, step: str) -> list[str]:
    """Names of the tests that also read what a later pass builds: they run there, when it is all there."""
    steps = list(PASSES)
    later = {layer for name in steps[steps.index(step) + 1 :] for layer in PASSES[name]}
    return sorted(
        node.name
        for unique_id, node in manifest.nodes.items()
        if unique_id.startswith("test.")
        and any(
            parent.startswith("model.") and unique_id_layer(manifest, parent) in later
            for parent in node.depends_on.nodes
        )
    )


def _row_counts(workspace: Workspace, keys: list[dg.AssetKey]) -> dict[str, int]:
    counts = {}
    with workspace.warehouse(read_only=True) as connection:
        for key in keys:
            schema, name = key.path
            known = connection.execute(
                "select 1 from information_schema.tables where table_schema = ? and table_name = ?", [schema, name]
            ).fetchone()
            if known:
                row = connection.execute(f'select count(*) from "{schema}"."{name}"').fetchone()
                counts[key.to_user_string()] = int(row[0]) if row else 0
    return counts


def _plots(workspace: Workspace, built: Iterable[str]) -> dict[str, dict[str, dg.MetadataValue]]:
    """Asset -> the plots its page shows, of the tables that are there."""
    with workspace.warehouse(read_only=True) as connection:
        return {
            name: {plot: dg.MetadataValue.md(drawn) for plot, drawn in plots_of(connection, table).items()}
            for name, table in ((name, name.replace("/", ".")) for name in built)
            if table in PLOTS
        }


def read_manifest() -> Any:
    """dbt's manifest.json, as it is now."""
    return json.loads(manifest_path().read_text())


def dbt_layers(manifest: Any, listener: BuildListener) -> list[dg.AssetsDefinition]:
    """The passes over the dbt project; `listener` is told the test results of each."""

    def one_pass(name: str, layers: tuple[str, ...]) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name=name,
            specs=asset_specs(manifest, layers),
            check_specs=check_specs(manifest, layers),
            can_subset=True,
        )
        def models(context: dg.AssetExecutionContext, workspace: Workspace):  # type: ignore[no-untyped-def]
            yield from build(context, workspace, listener)

        return models

    return [one_pass(name, layers) for name, layers in PASSES.items()]
