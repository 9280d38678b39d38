"""The daily run without what follows the marts: `python benchmarks/until_marts.py COMPANY DATA DATE`.

Models of customer value take their time whatever the number of lines, and would hide what a line costs.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from pipelines.resources import configure_environment  # noqa: E402

LAST = "marts"


def main() -> None:
    company, data, date = sys.argv[1:]
    configure_environment(Path(company), Path(data))

    from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

    from pipelines import runs
    from pipelines.definitions import LAYERS, defs
    from pipelines.jobs import DAILY_RUN

    runs.prepare_instance()
    layers = LAYERS[: LAYERS.index(LAST) + 1]
    chosen = [key for key in defs.resolve_asset_graph().executable_asset_keys if key.path[0] in layers]
    tags = {
        **runs._owner(),
        ASSET_PARTITION_RANGE_START_TAG: date,
        ASSET_PARTITION_RANGE_END_TAG: date,
    }
    runs._execute(defs.resolve_job_def(DAILY_RUN), tags, print, asset_selection=chosen)


if __name__ == "__main__":
    main()
