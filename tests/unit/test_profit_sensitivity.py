"""Profit under each method and the probability of a loss, against published figures and by hand."""

import datetime

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import profit_sensitivity

AS_OF = datetime.date(2026, 6, 30)

POOLS = ["delivery_miles", "expediting", "handling", "order_taking", "visits"]

# Spring Distribution (Horngren, Cost Accounting, customer profitability): cases, net price, orders, visits, deliveries x miles,
# expedited runs; cases are bought at 12.00.
SPRING = {
    "P": (2_080, 14.40, 15, 2, 10 * 14, 0),
    "Q": (8_750, 14.16, 25, 3, 30 * 4, 0),
    "R": (60_800, 13.20, 30, 6, 60 * 3, 0),
    "S": (31_800, 13.92, 25, 2, 40 * 8, 0),
    "T": (3_900, 12.96, 30, 3, 20 * 40, 1),
}


def spring():
    costs = {
        customer: (2.0 * miles, 300.0 * expedited, 0.5 * cases, 100.0 * orders, 80.0 * visits)
        for customer, (cases, _, orders, visits, miles, expedited) in SPRING.items()
    }
    profits = [(customer, row[0] * (row[1] - 12) - sum(costs[customer])) for customer, row in SPRING.items()]
    rated = pd.DataFrame([(customer, *amounts) for customer, amounts in costs.items()], columns=["customer_id", *POOLS])
    return profits, rated


def profit_frame(profits, *, posted=0.0, direct=0.0, step_down=0.0, reciprocal=0.0):
    frame = pd.DataFrame(profits, columns=["customer_id", "profit"])
    return frame.assign(
        posted_cost=posted, cost_direct=direct, cost_step_down=step_down, cost_reciprocal=reciprocal
    ).astype({"profit": "float64"})


def assessed(profits, rated=None, **options):
    rated = pd.DataFrame({"customer_id": []}) if rated is None else rated
    return profit_sensitivity.assess(profits, rated, AS_OF, **options).set_index("customer_id")


def test_spring_distribution_as_published():
    """With 25 % error on each rate T is a loser in 100 %, P in 0.1 %; with 50 %: T 98.5 %, P 3.7 %, R 2.9 %.

    Published as "error of each rate" without its distribution. Of normal, uniform, triangular, gamma and log-normal errors only
    log-normal ones with mean 1, the error being the standard deviation of the logarithm, come near all of them. The true value
    for P is 4.0 % (two million draws); 3.7 % is what a few thousand draws give.
    """
    profits, rated = spring()
    assert [round(profit) for _, profit in profits] == [2012, 11545, 38720, 41856, -3346]
    result = assessed(profit_frame(profits), rated)
    assert result["loss_probability_25"].to_list() == pytest.approx([0.001, 0, 0, 0, 1], abs=0.001)
    assert result.loc["T", "loss_probability_50"] == pytest.approx(0.985, abs=0.004)
    assert result.loc["R", "loss_probability_50"] == pytest.approx(0.029, abs=0.005)
    assert result.loc["P", "loss_probability_50"] == pytest.approx(0.040, abs=0.006)
    assert result.loc["P", "loss_probability_50_error"] == pytest.approx(0.00196, abs=0.0001)
    assert result.loc["T", "rated_cost"] == 7_090


def test_with_many_draws_the_figures_settle():
    profits, rated = spring()
    probability = profit_sensitivity.loss_probability(
        np.array([profit for _, profit in profits]), rated[POOLS].to_numpy(), POOLS, rate_error=0.5, draws=400_000
    )
    assert probability == pytest.approx([0.0398, 0.0029, 0.0293, 0.0022, 0.9851], abs=0.001)


def test_one_pool_by_hand():
    # A profit of 100 after cost of 100 is lost when the factor exceeds 2: P(Z > (ln 2 + 0.125) / 0.5) = 5.088 %.
    probability = profit_sensitivity.loss_probability(
        np.array([100.0]), np.array([[100.0]]), ["pool"], rate_error=0.5, draws=400_000
    )
    assert probability == pytest.approx([0.05088], abs=0.0015)


def test_customers_share_the_error_of_a_pool():
    rated = pd.DataFrame({"customer_id": ["A", "B"], "pool": [100.0, 1000.0]})
    result = assessed(profit_frame([("A", 20), ("B", 200)]), rated)
    assert result.loc["A", "loss_probability_50"] == result.loc["B", "loss_probability_50"] > 0


def test_profit_under_each_method_by_hand():
    profits = profit_frame([("A", 10), ("B", -5), ("C", 1)], posted=100)
    profits["cost_direct"] = [90, 100, 103.5]
    profits["cost_step_down"] = [95, 104, 100]
    profits["cost_reciprocal"] = [100, 99, 100]
    result = assessed(profits)
    assert result[["profit_direct", "profit_step_down", "profit_reciprocal"]].to_numpy().tolist() == [
        [20, 15, 10],
        [-5, -9, -4],
        [-2.5, 1, 1],
    ]
    assert result["lowest_profit"].to_list() == [10, -9, -2.5]
    assert result["highest_profit"].to_list() == [20, -4, 1]
    assert result["is_sign_stable"].to_list() == [True, True, False]


def test_a_method_that_was_not_computed_stands_as_posted():
    profits = profit_frame([("A", 10)], posted=100, direct=np.nan, step_down=120, reciprocal=np.nan)
    result = assessed(profits)
    assert result[["profit_direct", "profit_step_down", "profit_reciprocal"]].loc["A"].to_list() == [10, -10, 10]


def test_a_customer_without_cost_under_a_method_bears_none():
    profits = profit_frame([("A", 10), ("B", 10)], posted=100, direct=100, step_down=100)
    profits["cost_reciprocal"] = [np.nan, 200]
    assert assessed(profits)["profit_reciprocal"].to_list() == [110, -90]


def test_another_pool_or_order_changes_nothing():
    profits, rated = spring()
    alone = assessed(profit_frame(profits), rated)
    shuffled = rated[["customer_id", *reversed(POOLS)]].assign(another=0.0).sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(alone, assessed(profit_frame(profits[::-1]), shuffled))


def test_profits_are_looked_at_in_chunks_with_the_same_result(monkeypatch):
    profits, rated = spring()
    at_once = assessed(profit_frame(profits), rated)
    monkeypatch.setattr(profit_sensitivity, "_CELLS_AT_ONCE", 1)
    pd.testing.assert_frame_equal(at_once, assessed(profit_frame(profits), rated))


def test_no_error_is_no_doubt_and_break_even_is_no_loss():
    profit = np.array([0.0, 0.1, -0.1])
    costs = np.array([[0.1, 0.2], [0.3, -0.1], [7.0, 0.0]])
    probability = profit_sensitivity.loss_probability(profit, costs, ["a", "b"], rate_error=0.0)
    assert probability.tolist() == [0, 0, 1]
    # Less than half of the last decimal of money is nothing: only a factor above 3.5 makes a loss of 0.00002 x 2.5.
    tiny = profit_sensitivity.loss_probability(np.zeros(1), np.array([[0.00002]]), ["a"], rate_error=0.5)
    assert 0 < tiny[0] < 0.02


def test_nobody_gives_no_rows_with_all_columns():
    result = profit_sensitivity.assess(profit_frame([]), pd.DataFrame({"customer_id": []}), AS_OF)
    assert result.empty
    assert list(result.columns) == list(profit_sensitivity.COLUMNS)


@pytest.mark.parametrize(("options", "words"), [({"draws": 0}, "draws is 0"), ({"rate_error": -1}, "rate_error is -1")])
def test_impossible_parameters_are_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        profit_sensitivity.loss_probability(np.zeros(1), np.zeros((1, 1)), ["p"], **{"rate_error": 0.25} | options)


money = st.one_of(st.none(), st.sampled_from([0, float("nan"), float("inf"), -1e9, 1e12]), st.floats(-1e6, 1e6))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(money, money, money, money, money), max_size=6),
    pool_count=st.integers(0, 3),
    data=st.data(),
)
def test_whatever_comes_in_no_nan_comes_out(rows, pool_count, data):
    ids = [f"C{number}" for number in range(len(rows))]
    profits = pd.DataFrame(rows, columns=["profit", "posted_cost", "cost_direct", "cost_step_down", "cost_reciprocal"])
    profits = profits.astype("float64").assign(customer_id=ids)
    rated = pd.DataFrame({"customer_id": ids})
    for pool in range(pool_count):
        rated[f"p{pool}"] = pd.Series(data.draw(st.lists(money, min_size=len(ids), max_size=len(ids))), dtype="float64")
    result = profit_sensitivity.assess(profits, rated, AS_OF, draws=50)
    numbers = result.select_dtypes("number").to_numpy(dtype="float64")
    assert np.isfinite(numbers).all()
    assert len(result) == len(rows)
    for column in ("loss_probability_25", "loss_probability_50"):
        assert result[column].between(0, 1).all()
    assert (result["lowest_profit"] <= result["highest_profit"]).all()


def warehouse():
    connection = duckdb.connect()
    for schema in ("marts", "facts", "costing"):
        connection.execute(f"create schema {schema}")
    connection.execute(
        "create table facts.as_of as select date '2026-06-30' as as_of_date, date '2026-06-01' as as_of_month"
    )
    connection.execute(
        "create table marts.customer_profitability (customer_id varchar, month date, operating_profit decimal(22, 4), "
        "direct_cost_to_serve decimal(22, 2), activity_cost_variable decimal(22, 2), activity_cost_step_fixed decimal(22, 2), "
        "activity_cost_fixed decimal(22, 2), allocated_sustaining decimal(22, 2))"
    )
    connection.execute(
        "create table marts.customer_cost_lines (customer_id varchar, month date, pool_id varchar, driver_id varchar, "
        "amount decimal(22, 2))"
    )
    connection.execute(
        "create table costing.method_costs (month date, customer_id varchar, method varchar, amount_cents bigint)"
    )
    return connection


def test_the_queries_feed_the_function():
    connection = warehouse()
    connection.execute(
        "insert into marts.customer_profitability values ('A', '2026-06-01', 10, 1, 2, 3, 4, 5), "
        "('A', '2025-07-01', 1, 0, 0, 0, 0, 0), ('A', '2025-06-01', 999, 9, 9, 9, 9, 9), "
        "('UNMATCHED', '2026-06-01', 5, 0, 0, 0, 0, 0)"
    )
    connection.execute(
        "insert into marts.customer_cost_lines values ('A', '2026-06-01', 'desk', 'orders', 6), ('A', '2026-05-01', 'desk', "
        "'orders', 1), ('A', '2026-06-01', 'freight', null, 1), ('A', '2025-06-01', 'old', 'orders', 7)"
    )
    connection.execute(
        "insert into costing.method_costs values ('2026-06-01', 'A', 'direct', 1600), ('2026-06-01', 'A', 'reciprocal', 1500), "
        "('2025-06-01', 'A', 'direct', 99)"
    )
    profits = connection.execute(profit_sensitivity.PROFITS).df()
    rated = connection.execute(profit_sensitivity.RATED_COSTS).df()
    assert rated.to_dict("list") == {"customer_id": ["A"], "desk": [7.0]}
    row = assessed(profits, rated).loc["A"]
    assert (row["profit"], row["profit_direct"], row["profit_step_down"], row["profit_reciprocal"]) == (11, 10, 11, 11)
    assert row["rated_cost"] == 7


def test_a_company_without_pools_has_no_doubts():
    connection = warehouse()
    connection.execute("insert into marts.customer_profitability values ('A', '2026-06-01', 10, 0, 0, 0, 0, 0)")
    result = assessed(
        connection.execute(profit_sensitivity.PROFITS).df(), connection.execute(profit_sensitivity.RATED_COSTS).df()
    )
    assert result.loc["A", "loss_probability_50"] == 0
    assert result.loc["A", "is_sign_stable"]
