"""How other tools read a release, each by its own library, in the environment of `make bi`: SQLAlchemy, ADBC, plain Parquet.

Run by tests/unit/test_readers.py, as a program that knows nothing of Whalecurve:

    .venv-bi/bin/python readers.py RELEASE_FOLDER POSTGRESQL_URL     prints {reader: [[id, name, day, profit], ...]} as JSON
"""

import json
import sys
from decimal import Decimal
from pathlib import Path

COLUMNS = ["customer_id", "customer_name", "as_of_date", "operating_profit_12m"]
QUERY = f"select {', '.join(COLUMNS)} from customers order by customer_id"


def parquet_with_pyarrow(release, url):
    import pyarrow.parquet

    return rows(pyarrow.parquet.read_table(release / "customers.parquet", columns=COLUMNS).to_pylist())


def parquet_with_pandas(release, url):
    import pandas as pd

    return rows(pd.read_parquet(release / "customers.parquet", columns=COLUMNS).to_dict("records"))


def duckdb_with_sqlalchemy(release, url):
    address = f"duckdb:///{release / 'whalecurve.duckdb'}"
    return sqlalchemy_rows(address, QUERY, connect_args={"read_only": True})


def postgres_with_sqlalchemy(release, url):
    return sqlalchemy_rows(url.replace("postgresql:", "postgresql+psycopg2:"), in_schema(QUERY))


def duckdb_with_adbc(release, url):
    from adbc_driver_duckdb import dbapi

    return adbc_rows(dbapi.connect(str(release / "whalecurve.duckdb")), QUERY)


def postgres_with_adbc(release, url):
    from adbc_driver_postgresql import dbapi

    return adbc_rows(dbapi.connect(url), in_schema(QUERY))


def sqlalchemy_rows(address, query, **options):
    import sqlalchemy

    with sqlalchemy.create_engine(address, **options).connect() as connection:
        return rows(dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(sqlalchemy.text(query)))


def adbc_rows(connection, query):
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        return rows(cursor.fetch_arrow_table().to_pylist())


def in_schema(query):
    return query.replace("from customers", "from whalecurve.customers")


def rows(found):
    """What was read, as text: a number that came as a float is refused, for it may have lost cents."""
    read = []
    for row in found:
        profit = row["operating_profit_12m"]
        assert isinstance(profit, (Decimal, str)), f"money arrived as {type(profit).__name__}"
        read.append([row["customer_id"], row["customer_name"], str(row["as_of_date"])[:10], str(Decimal(profit))])
    return sorted(read)


READERS = [parquet_with_pyarrow, parquet_with_pandas, duckdb_with_sqlalchemy, postgres_with_sqlalchemy]
READERS += [duckdb_with_adbc, postgres_with_adbc]

if __name__ == "__main__":
    print(json.dumps({reader.__name__: reader(Path(sys.argv[1]), sys.argv[2]) for reader in READERS}))
