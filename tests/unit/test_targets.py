"""Targets of pools: read as written, and refused with row, column and remedy."""

from decimal import Decimal

import pytest

from assets.costing.rule_files import read_rules
from assets.costing.rules import PoolTarget
from assets.errors import ConfigurationError

HEADER = "pool_id,measure,target,warn_share,valid_from,valid_to\n"


def read(tmp_path, rows):
    path = tmp_path / "targets.csv"
    path.write_text(HEADER + rows, encoding="utf-8")
    return read_rules(path, PoolTarget, optional=True)


def test_a_target_is_read_and_warns_from_five_percent_unless_it_says_otherwise(tmp_path):
    rows = read(tmp_path, "desk,rate,6.50,,2026-01-01,\ndesk,unused_share,0.15,0.2,,\n")
    assert [(row.measure, row.target, row.warn_share) for row in rows] == [
        ("rate", Decimal("6.50"), Decimal("0.05")),
        ("unused_share", Decimal("0.15"), Decimal("0.2")),
    ]


def test_a_company_without_targets_has_none(tmp_path):
    assert read_rules(tmp_path / "targets.csv", PoolTarget, optional=True) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("desk,unused_share,15,,,", r"row 2, column \(whole row\): target of unused_share is a share .* 0.15 for 15 %"),
        ("desk,speed,15,,,", "row 2, column measure"),
        ("desk,cost,-1,,,", "row 2, column target"),
        ("desk,cost,nan,,,", "row 2, column target"),
        ("desk,cost,1,2,,", "row 2, column warn_share"),
        ("desk,cost,1,,2026-02-01,2026-01-01", "valid_to lies before valid_from"),
    ],
)
def test_what_cannot_be_a_target_is_refused(tmp_path, row, said):
    with pytest.raises(ConfigurationError, match=said):
        read(tmp_path, row + "\n")
