"""Cost-driver analysis: the regression of the textbooks, ranks, and nothing concluded from too little."""

import datetime
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assets.analytics import cost_drivers as drivers

AS_OF = datetime.date(2026, 6, 30)
ORDERS = [1000.0, 1500.0, 2000.0, 1200.0, 1800.0, 1600.0, 1100.0, 1900.0, 1700.0, 1300.0, 1400.0, 2100.0]
NOISE = [120.0, -80.0, 40.0, -150.0, 90.0, 10.0, -60.0, 70.0, -110.0, 130.0, -20.0, -40.0]


def months(count, last="2026-06"):
    return pd.period_range(end=last, periods=count, freq="M").to_timestamp()


def pool(costs, driver_id="orders", behaviour="variable", pool_id="desk"):
    return pd.DataFrame(
        {
            "month": months(len(costs)),
            "pool_id": pool_id,
            "pool_name": pool_id.title(),
            "behaviour": behaviour,
            "driver_id": driver_id,
            "cost": costs,
        }
    )


def counted(**quantities):
    return pd.concat(
        pd.DataFrame(
            {"month": months(len(values)), "driver_id": name, "driver_unit": name.rstrip("s"), "quantity": values}
        )
        for name, values in quantities.items()
    )


def analysed(costs, quantities, as_of=AS_OF):
    return drivers.analyse(costs, quantities, as_of).set_index("driver_id")


def mixed_costs():
    return [20_000 + 10 * quantity + noise for quantity, noise in zip(ORDERS, NOISE, strict=True)]


def test_the_line_is_least_squares_with_its_interval():
    costs = mixed_costs()
    row = analysed(pool(costs), counted(orders=ORDERS)).loc["orders"]
    known = stats.linregress(ORDERS, costs)
    width = stats.t.ppf(0.975, 10) * known.stderr
    assert row["variable_rate"] == pytest.approx(known.slope, rel=1e-5)
    assert row["fixed_amount"] == pytest.approx(known.intercept, abs=0.01)
    assert (row["rate_low"], row["rate_high"]) == pytest.approx((known.slope - width, known.slope + width), rel=1e-5)
    assert row["r_squared"] == pytest.approx(known.rvalue**2, abs=1e-6)
    assert row["p_value"] == pytest.approx(known.pvalue, rel=1e-4)
    assert (row["status"], row["months"], row["suggested_behaviour"]) == ("line", 12, "mixed")
    assert "may be called fixed in behaviours.csv" in row["explanation"]


def test_a_published_line():
    # NIST StRD "Norris": cost-like y on x, certified to 11 digits: slope 1.00211681802045, intercept -0.262323073774029,
    # standard error of the slope 0.000429796848199937, R2 0.999993745883712, n = 36.
    x = [0.2, 337.4, 118.2, 884.6, 10.1, 226.5, 666.3, 996.3, 448.6, 777.0, 558.2, 0.4, 0.6, 775.5, 666.9, 338.0, 447.5,
         11.6, 556.0, 228.1, 995.8, 887.6, 120.2, 0.3, 0.3, 556.8, 339.1, 887.2, 999.0, 779.0, 11.1, 118.3, 229.2, 669.1,
         448.9, 0.5]  # fmt: skip
    y = [0.1, 338.8, 118.1, 888.0, 9.2, 228.1, 668.5, 998.5, 449.1, 778.9, 559.2, 0.3, 0.1, 778.1, 668.8, 339.3, 448.9,
         10.8, 557.7, 228.3, 998.0, 888.8, 119.6, 0.3, 0.6, 557.6, 339.3, 888.0, 998.5, 778.9, 10.2, 117.6, 228.9, 668.4,
         449.2, 0.2]  # fmt: skip
    line = drivers.regress(np.array(x), np.array(y))
    assert line.slope == pytest.approx(1.00211681802045, rel=1e-11)
    assert line.intercept == pytest.approx(-0.262323073774029, rel=1e-9)
    assert line.r_squared == pytest.approx(0.999993745883712, rel=1e-11)
    assert line.high - line.slope == pytest.approx(stats.t.ppf(0.975, 34) * 0.000429796848199937, rel=1e-8)


def test_the_better_driver_is_named_and_the_declared_one_kept():
    other = [3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    result = analysed(pool(mixed_costs(), driver_id="visits"), counted(orders=ORDERS, visits=other))
    assert result["driver_rank"].to_dict() == {"orders": 1, "visits": 2}
    assert set(result["best_driver_id"]) == {"orders"}
    assert result["is_declared"].to_dict() == {"orders": False, "visits": True}
    assert not result["is_declared_best"].any()
    assert "the declared driver; orders fits better" in result.loc["visits", "explanation"]
    assert analysed(pool(mixed_costs()), counted(orders=ORDERS, visits=other))["is_declared_best"].all()


def test_a_driver_that_falls_when_cost_rises_is_no_cause():
    falling = [5_000 - quantity for quantity in ORDERS]
    weak = [1000.0, 900, 1400, 1500, 1300, 1450, 1200, 1600, 1250, 1350, 1380, 1420]
    result = analysed(pool(mixed_costs()), counted(falling=falling, weak=weak))
    assert result.loc["falling", "r_squared"] > result.loc["weak", "r_squared"]
    assert result["driver_rank"].to_dict() == {"falling": 2, "weak": 1}


def test_behaviour_is_read_off_the_interval():
    variable = [10 * quantity + noise for quantity, noise in zip(ORDERS, NOISE, strict=True)]
    fixed = [20_000 + noise for noise in NOISE]
    assert analysed(pool(variable), counted(orders=ORDERS)).loc["orders", "suggested_behaviour"] == "variable"
    assert analysed(pool(fixed), counted(orders=ORDERS)).loc["orders", "suggested_behaviour"] == "fixed"


def test_eleven_months_say_nothing():
    row = analysed(pool(mixed_costs()[1:]), counted(orders=ORDERS)).loc["orders"]
    assert (row["status"], row["months"]) == ("few_months", 11)
    silent = ["fixed_amount", "variable_rate", "r_squared", "driver_rank", "suggested_behaviour", "is_declared_best"]
    assert row[silent].isna().all()
    assert "12 are needed" in row["explanation"]


def test_constants_are_said_to_be_constants():
    driver = analysed(pool(mixed_costs()), counted(orders=[5.0] * 12)).loc["orders"]
    assert (driver["status"], driver["variable_rate"], driver["suggested_behaviour"]) == ("constant_driver", None, None)
    cost = analysed(pool([700.0] * 12), counted(orders=ORDERS)).loc["orders"]
    assert (cost["status"], cost["fixed_amount"], cost["suggested_behaviour"]) == ("constant_cost", 700, "fixed")


def test_months_without_a_row_count_nothing_but_not_before_the_first():
    quantities = counted(orders=ORDERS[-10:])
    assert analysed(pool(mixed_costs()), quantities).loc["orders", "months"] == 10
    gap = counted(orders=ORDERS).drop(index=3)
    row = analysed(pool(mixed_costs()), gap).loc["orders"]
    assert row["months"] == 12
    assert row["r_squared"] < 0.9


def test_the_month_that_is_not_over_is_left_out():
    row = analysed(pool(mixed_costs()), counted(orders=ORDERS), as_of=datetime.date(2026, 6, 29)).loc["orders"]
    assert row["months"] == 11


def test_nothing_in_nothing_out():
    nothing = drivers.analyse(pool([]), counted(orders=ORDERS), AS_OF)
    assert list(nothing.columns) == list(drivers.COLUMNS)
    assert nothing.empty
    assert drivers.analyse(pool(ORDERS), counted(orders=ORDERS).iloc[:0], AS_OF).empty


values = st.one_of(st.floats(-1e9, 1e9), st.sampled_from([0.0, 1e-9, 100.0, 100.0]))


@given(st.lists(st.tuples(values, values), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_never_nan_or_infinity(rows):
    result = drivers.analyse(
        pool([cost for cost, _ in rows]), counted(orders=[quantity for _, quantity in rows]), AS_OF
    )
    for value in result.to_numpy().ravel():
        assert not (isinstance(value, float) and not math.isfinite(value))
