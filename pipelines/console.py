"""What a run says on the terminal: a line per finished table, and what the assets say. The UI keeps the full event log."""

from __future__ import annotations

import logging
import sys
import time

import dagster as dg

ROW_COUNT = "dagster/row_count"
OF_DAGSTER = ("Dependencies for step", "op '")
"""How Dagster's words on its own machinery begin; why a step failed is said at the end of the run."""


class _OneLinePerTable(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)  # Dagster's events are debug records
        self._started = time.monotonic()
        self._last_line: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        line = self._line(record)
        # A table read for thirty dates is materialised thirty times over, with the same words.
        if line and line != self._last_line:
            self._last_line = line
            seconds = time.monotonic() - self._started
            print(f"  {seconds:6.1f} s  {line}", file=sys.stderr, flush=True)

    @staticmethod
    def _line(record: logging.LogRecord) -> str | None:
        event = getattr(record, "dagster_event", None)
        if event is None:
            meta = getattr(record, "dagster_meta", {})
            message = str(meta.get("orig_message") or record.getMessage())
            if record.levelno < logging.INFO or message.startswith(OF_DAGSTER):
                return None
            return f"! {message}" if record.levelno >= logging.WARNING else message
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            materialization = event.step_materialization_data.materialization
            rows = materialization.metadata.get(ROW_COUNT)
            name = ".".join(materialization.asset_key.path)
            if rows is None:
                return name
            nothing_delivered = rows.value == 0 and materialization.asset_key.path[0] == "raw"
            return None if nothing_delivered else f"{name:<36}{rows.value:>12,} rows"
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            name = ".".join(check.asset_key.path)
            return None if check.passed else f"! check {check.check_name} on {name} says no"
        return None


@dg.logger({}, description="One line per finished table on standard error, and what the assets say.")
def console(init_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("whalecurve", level=logging.DEBUG)
    logger.addHandler(_OneLinePerTable())
    return logger
