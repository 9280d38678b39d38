"""The data catalogue: what it says of a table is what the release, dbt, the suites and the gate say of it."""

import datetime
from pathlib import Path
from typing import Any

import pytest

from assets import gate
from assets.errors import WhalecurveError
from assets.publish import catalogue
from assets.publish.release import Release

SUITE = gate.Suite(
    "customers",
    (
        gate.Expectation(
            "customer_id__unique", "expect_column_values_to_be_unique", {"column": "customer_id"}, "error", "A key."
        ),
        gate.Expectation(
            "customer_name__set", "expect_column_values_to_not_be_null", {"column": "customer_name"}, "warn", "A <b>."
        ),
    ),
)

MANIFEST: dict[str, Any] = {
    "company": "Pine & <script>alert(1)</script>",
    "contract": "1.1",
    "tables": {
        "customers": {
            "key": ["customer_id"],
            "rows": 1234,
            "columns": [{"name": "customer_id", "type": "VARCHAR"}, {"name": "customer_name", "type": "VARCHAR"}],
        },
        "customer_rfm": {"key": [], "rows": 2, "columns": [{"name": "rfm_cell", "type": "VARCHAR"}]},
    },
}

DBT: dict[str, Any] = {
    "nodes": {
        "model.whalecurve.customers": {
            "resource_type": "model",
            "schema": "overview",
            "name": "customers",
            "description": "One row per\n customer.",
            "columns": {
                "customer_id": {"description": "The customer."},
                "customer_name": {"description": "Its <name>."},
            },
            "depends_on": {"nodes": ["source.whalecurve.analytics.customer_rfm", "model.whalecurve.dim_customers"]},
        },
        "model.whalecurve.dim_customers": {
            "resource_type": "model",
            "schema": "facts",
            "name": "dim_customers",
            "description": "",
            "columns": {},
            "depends_on": {"nodes": []},
        },
        "test.whalecurve.not_null_customers": {
            "resource_type": "test",
            "name": "not_null_customers",
            "description": "Nobody without a name.",
            "config": {"severity": "ERROR"},
            "attached_node": "model.whalecurve.customers",
            "depends_on": {"nodes": ["model.whalecurve.customers"]},
        },
    },
    "sources": {
        "source.whalecurve.analytics.customer_rfm": {
            "resource_type": "source",
            "source_name": "analytics",
            "name": "customer_rfm",
            "description": "One row per customer with a purchase.",
            "columns": {"rfm_cell": {"description": "Three scores."}},
        }
    },
}

QUALITY = [
    {
        "stage": "expectations",
        "check_name": "customer_name__set",
        "table_name": "customers",
        "severity": "warn",
        "passed": False,
        "observed": "1 of 2 rows, such as <i>",
        "detail": "A <b>. 1 of 2.",
        "approved_by": None,
    },
    {
        "stage": "drift",
        "check_name": "table_rows__customers",
        "table_name": "customers",
        "severity": "error",
        "passed": False,
        "observed": "half",
        "detail": "Rows were lost.",
        "approved_by": "C. Ontroller",
    },
]


@pytest.fixture(scope="module")
def described() -> dict[str, catalogue.Table]:
    return {table.name: table for table in catalogue.tables(MANIFEST, QUALITY, DBT, {"customers": SUITE})}


def test_a_table_is_described_by_dbt_and_the_release(described: dict[str, catalogue.Table]) -> None:
    customers = described["customers"]
    assert customers.description == "One row per customer."
    assert customers.question.startswith("who is this")
    assert (customers.rows, customers.key) == (1234, ("customer_id",))
    assert customers.columns[0] == catalogue.Column("customer_id", "VARCHAR", "The customer.", is_key=True)
    assert customers.made_from == (("analytics.customer_rfm", "customer_rfm"), ("facts.dim_customers", ""))
    assert customers.dbt_page == "dbt.html#!/model/model.whalecurve.customers"


def test_an_asset_in_python_says_what_it_is_made_from(described: dict[str, catalogue.Table]) -> None:
    rfm = described["customer_rfm"]
    assert "facts.fct_invoice_lines" in {relation for relation, _ in rfm.made_from}
    assert rfm.columns[0].description == "Three scores."
    assert rfm.dbt_page == "dbt.html#!/source/source.whalecurve.analytics.customer_rfm"


def test_checks_have_their_reason_and_their_result_in_the_release(described: dict[str, catalogue.Table]) -> None:
    checks = {check.name: check for check in described["customers"].checks}
    assert set(checks) == {"customer_id__unique", "customer_name__set", "not_null_customers", "table_rows__customers"}
    assert checks["not_null_customers"] == catalogue.Check(
        "not_null_customers", "dbt", "error", "Nobody without a name."
    )
    assert checks["customer_id__unique"].passed is None
    assert (checks["customer_name__set"].passed, checks["customer_name__set"].why) == (False, "A <b>.")
    assert checks["table_rows__customers"].why == "Rows were lost."
    assert checks["table_rows__customers"].approved_by == "C. Ontroller"
    assert described["customers"].failed == 2


def test_the_page_needs_no_network_and_escapes_every_value(described: dict[str, catalogue.Table]) -> None:
    release = Release("2026-06-30-1f0c5a9be214", Path("/nowhere"), datetime.date(2026, 6, 30), True, manifest=MANIFEST)
    page = catalogue.page(release, list(described.values()))
    assert "<script" not in page
    assert "Pine &amp; &lt;script&gt;" in page
    assert "1 of 2 rows, such as &lt;i&gt;" in page
    assert "Its &lt;name&gt;." in page
    assert "no result in this release" in page
    assert 'href="#customer_rfm"' in page
    assert not [word for word in ("http:", "https:", "url(", "@import", "<link") if word in page]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    from pipelines.catalogue import write
    from pipelines.resources import Workspace

    (tmp_path / "thesis.txt").write_text("ten years")
    with pytest.raises(WhalecurveError, match="did not write"):
        write(Workspace(company_path=str(tmp_path), data_path=str(tmp_path)), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "ten years"
