"""The benchmarks measure what they say: extracts that reconcile, contenders that agree, and a baseline that can be missed."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import duckdb
import pytest
from command import PROJECT, Whalecurve

sys.path.append(str(PROJECT / "benchmarks"))

import bare
import bare_pandas
import extracts
import scale

DAYS = ("2026-05-31", "2026-06-01", "2026-06-02")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Extracts of 20,000 invoice lines, and two days of 1,000."""
    folder = tmp_path_factory.mktemp("extracts")
    extracts.make(folder, lines=20_000, days=2, day_lines=1_000)
    return folder


def rows(path, delimiter=","):
    return f"read_csv('{path}', delim = '{delimiter}', header = true, all_varchar = true, union_by_name = true)"


def scalar(sql):
    return duckdb.sql(sql).fetchone()[0]


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "extracts.json"
    }


# Extracts


def test_the_same_options_write_the_same_bytes_with_any_number_of_threads(made, tmp_path):
    extracts.make(tmp_path, lines=20_000, days=2, day_lines=1_000, threads=1)
    assert digests(tmp_path) == digests(made)


def test_every_voucher_balances_and_the_ledger_says_what_the_documents_say(made):
    landing = made / "data" / "landing"
    posted = f"""(
        select *, case "Amount_Credit_Debit_Indicator" when 'D' then 1 else -1 end * cast("Amount" as decimal(18, 2)) as signed
        from {rows(landing / "ledger/*/GL_Detail_*.txt", "|")}
    )"""
    assert (
        scalar(
            f'select count(*) from (select "Journal_ID" from {posted} group by "Journal_ID" having sum(signed) != 0)'
        )
        == 0
    )
    last_versions = f"""(select * from (select *, filename from read_csv('{landing}/trade/*/invoices*.csv', all_varchar = true,
        filename = true)) qualify row_number() over (partition by "Id" order by filename desc) = 1)"""
    sold = scalar(f'select sum(cast("Net" as decimal(18, 2))) from {last_versions} where "Status" != \'void\'')
    assert sold == -scalar(f"select sum(signed) from {posted} where \"GL_Account_Number\" = '4000'")
    paid = scalar(f'select sum(cast("Amount" as decimal(18, 2))) from {rows(landing / "trade/*/payments*.csv")}')
    assert sold - paid == scalar(f"select sum(signed) from {posted} where \"GL_Account_Number\" = '1100'")
    lines = scalar(f"select count(*) from {rows(landing / 'trade' / DAYS[0] / 'lines*.csv')}")
    assert lines == 20_000


def test_a_day_is_as_large_whatever_the_history_holds(made, tmp_path):
    extracts.make(tmp_path, lines=60_000, days=2, day_lines=1_000)

    def documents(folder):
        day = folder / "data" / "landing" / "trade" / DAYS[1]
        return {
            name: scalar(f"select count(*) from {rows(day / name)}")
            for name in ("invoices.csv", "lines.csv", "cases.csv")
        }

    assert documents(made) == documents(tmp_path) == {"invoices.csv": 200, "lines.csv": 1_000, "cases.csv": 20}


def test_history_day_by_day_is_the_same_history(made, tmp_path):
    extracts.make(tmp_path, lines=20_000, days=0, delivered_daily=40)
    daily, whole = tmp_path / "data" / "landing", made / "data" / "landing"
    assert len(list((daily / "trade").iterdir())) == 41
    for files, delimiter in (("trade/*/lines*.csv", ","), ("ledger/*/GL_Detail_*.txt", "|")):
        base = rows(whole / files.replace("/*/", f"/{DAYS[0]}/"), delimiter)
        (different,) = duckdb.sql(
            f"select count(*) from ((from {base} except all from {rows(daily / files, delimiter)}) union all"
            f" (from {rows(daily / files, delimiter)} except all from {base}))"
        ).fetchone()
        assert different == 0


# Contenders


@pytest.mark.parametrize("until", DAYS)
def test_pandas_and_the_bare_script_find_the_same_profits(made, tmp_path, until):
    landing = made / "data" / "landing"
    bare.run(landing, tmp_path, until=until, memory="1GB", threads=1)
    with duckdb.connect(str(tmp_path / "bare.duckdb")) as connection:
        theirs = connection.execute(
            "select customer_id, month, operating_profit_cents from customer_profitability order by all"
        ).fetchall()
    found = bare_pandas.profits(landing, until).sort_values(["customer_id", "month"])
    ours = zip(found["customer_id"], found["month"].dt.date, found["operating_profit_cents"], strict=True)
    assert len(theirs) > 1_000
    assert list(ours) == theirs


# Baseline


def test_a_figure_above_its_limit_is_said_and_so_is_one_nobody_knows():
    baseline = {"a": {"is": 1.0, "at_most": 2.0}, "gone": {"is": 1.0, "at_most": 2.0}}
    said = scale.outside({"a": 2.5, "new": 1.0}, baseline)
    assert said[0] == "a is 2.5; the baseline is 1 and allows 2"
    assert sorted(said[1:]) == ["gone is not in the baseline", "new is not in the baseline"]
    assert scale.outside({"a": 2.0, "gone": 0.1}, baseline) == []


@pytest.mark.slow
def test_nothing_costs_more_than_the_baseline_allows():
    """Also that the pipeline's customer profits are the bare script's, to the cent, after a full build and a daily run."""
    # In a process of its own: it chooses a data folder, and the other tests of this one have theirs.
    command = [sys.executable, "benchmarks/scale.py", "--check"]
    done = subprocess.run(
        command, cwd=PROJECT, env=Whalecurve.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
