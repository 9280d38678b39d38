"""Price sensitivity: recovered where prices vary, refused where they do not tell, and blind to what comes later."""

import datetime

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.analytics import price_sensitivity

AS_OF = datetime.date(2026, 6, 30)
FIRST_MONTH = "2024-07-01"


def market(
    seed=1, customers=40, products=10, elasticity=-1.5, noise=0.5, price_noise=0.1, buys=0.6, discount_of_size=0.0
):
    """24 months of customers who answer prices with `elasticity` (one for all, or one each)."""
    generator = np.random.default_rng(seed)
    customer, product, month = (
        numbers.ravel() for numbers in np.meshgrid(range(customers), range(products), range(24), indexing="ij")
    )
    count = len(customer)
    # What everybody sees: the level of a price, its changes, and a demand that happens to fall together with them.
    common = generator.normal(0, 0.2, (products, 24))[product, month]
    price = generator.normal(3, 1, products)[product] + common + price_noise * generator.normal(size=count)
    usual = generator.normal(2, 0.7, (customers, products))[customer, product]
    answer = np.broadcast_to(np.asarray(elasticity), customers)[customer] * price
    quantity = usual + 2 * common + answer + noise * generator.normal(size=count)
    list_price = price
    price = price - discount_of_size * (quantity - quantity.mean())
    months = pd.date_range(FIRST_MONTH, periods=24, freq="MS")
    frame = pd.DataFrame(
        {
            "customer_id": [f"C{number:03}" for number in customer],
            "month": months[month],
            "product_id": [f"P{number}" for number in product],
            "quantity": np.exp(quantity).round(6),
            "net_amount": np.exp(quantity + price).round(4),
            "list_amount": np.exp(quantity + list_price).round(4),
        }
    )
    return frame[generator.random(count) < buys].reset_index(drop=True)


def estimated(frame, as_of=AS_OF):
    return price_sensitivity.estimate(frame, as_of).set_index("customer_id")


def one_customer(rows):
    return pd.DataFrame(
        [
            {
                "customer_id": "C1",
                "month": month,
                "product_id": product,
                "quantity": quantity,
                "net_amount": quantity * price,
            }
            for month, product, quantity, price in rows
        ]
    ).assign(list_amount=lambda frame: frame["net_amount"])


def months(count):
    return [day.date() for day in pd.date_range(FIRST_MONTH, periods=count, freq="MS")]


def test_one_customer_by_hand():
    """Alone there are no peers, and without noise quantity = 100 price^-2 comes back as it went in."""
    prices = [1.0, 1.1, 0.9, 1.2, 1.05, 0.95, 1.15, 0.85, 1.0, 1.3, 1.25, 0.8]
    frame = one_customer(
        [(month, "P1", 100 * price**-2, price) for month, price in zip(months(12), prices, strict=True)]
    )
    row = estimated(frame).loc["C1"]
    assert row["status"] == "estimable"
    assert row["elasticity"] == row["elasticity_low"] == row["elasticity_high"] == -2
    assert (row["month_count"], row["product_count"], row["observation_count"]) == (12, 1, 12)
    logs = np.log(prices)
    assert row["price_variation"] == round(float(np.std(logs, ddof=1)), 4)
    assert row["reading"] == "elastic"
    assert row["discount_share"] == 0
    assert pd.isna(row["peer_elasticity"])  # nobody else is there to ask
    assert row["sentence"] == (
        "Where a price was 1 % above its usual level, quantity differed by -2.0 % (80 % interval -2.0 to -2.0 %), "
        "over 12 months and 1 products."
    )


def test_the_slope_and_its_jackknife_error_by_hand():
    generator = np.random.default_rng(7)
    price, quantity = generator.normal(size=(2, 30))
    month = np.arange(30) // 3
    slopes = price_sensitivity._slopes(price, quantity, np.zeros(30, dtype="int64"), 1, month)
    value = price @ quantity / (price @ price)
    left_out = [price[month != m] @ quantity[month != m] / (price[month != m] @ price[month != m]) for m in range(10)]
    assert slopes.value[0] == pytest.approx(value)
    assert slopes.error[0] == pytest.approx(np.sqrt(0.9 * np.sum((np.array(left_out) - value) ** 2)))
    assert slopes.clusters[0] == 10


def test_each_customers_own_elasticity_is_recovered_and_its_interval_covers_it():
    covered, errors = [], []
    for seed in range(4):
        true = np.random.default_rng(100 + seed).normal(-1.2, 0.5, 40)
        result = estimated(market(seed, elasticity=true))
        assert (result["status"] == "estimable").mean() > 0.9
        known = (result["status"] == "estimable").to_numpy()
        covered += list(((result["elasticity_low"] <= true) & (true <= result["elasticity_high"])).to_numpy()[known])
        errors += list((result["elasticity"] - true).to_numpy()[known])
    assert 0.70 <= np.mean(covered) <= 0.90
    assert abs(np.mean(errors)) < 0.1
    assert np.corrcoef(result["elasticity"][known], true[known])[0, 1] > 0.5


def test_the_company_together_is_told_with_its_interval():
    found = [estimated(market(seed, elasticity=-1.5)).filter(like="peer_") for seed in range(6)]
    assert all((result.nunique() == 1).all() for result in found)
    peers = pd.DataFrame([result.iloc[0] for result in found])
    assert peers["peer_elasticity"].mean() == pytest.approx(-1.5, abs=0.1)
    assert (peers["peer_elasticity_low"].lt(-1.5) & peers["peer_elasticity_high"].gt(-1.5)).mean() >= 0.5
    assert (peers["peer_elasticity_high"] - peers["peer_elasticity_low"]).max() < 0.4


def test_what_reaches_everybody_is_no_answer_to_a_price():
    """Common prices move with common demand in `market`; without own price changes nothing is left to tell by."""
    result = estimated(market(price_noise=0.0, elasticity=0.0))
    assert set(result["why_not"]) == {"no_price_variation"}
    naive = market(price_noise=0.0, elasticity=0.0)
    price = np.log(naive["net_amount"] / naive["quantity"])
    group = [naive["customer_id"], naive["product_id"]]
    within = [values - values.groupby(group).transform("mean") for values in (np.log(naive["quantity"]), price)]
    assert (within[0] * within[1]).sum() / (within[1] ** 2).sum() > 1  # what a regression without peers would say


def test_volume_discounts_bias_the_figure_and_the_sentence_warns_of_them():
    result = estimated(market(elasticity=0.0, price_noise=0.001, discount_of_size=0.1, noise=0.4))
    known = result[result["status"] == "estimable"]
    assert len(known) > 20
    assert known["elasticity"].mean() < -5  # although nobody answers any price here
    assert (known["discount_share"] > 0.9).all()
    assert known["sentence"].str.contains("mostly by discount").all()
    assert not estimated(market())["sentence"].str.contains("mostly by discount").any()


def test_every_refusal_has_its_reason():
    steady = one_customer([(month, "P1", 10 + place % 3, 5.0) for place, month in enumerate(months(24))])
    assert estimated(steady).loc["C1", "why_not"] == "no_price_variation"
    short = one_customer([(month, "P1", 10, 5.0 + place) for place, month in enumerate(months(7))])
    assert estimated(short).loc["C1", "why_not"] == "too_few_priced_months"
    few = one_customer([(month, "P1", 10, 5.0 + place) for place, month in enumerate(months(8))])
    assert estimated(few).loc["C1", "why_not"] == "too_few_observations"
    once = one_customer([(month, f"P{place}", 10, 5.0) for place, month in enumerate(months(24))])
    assert estimated(once).loc["C1", ["why_not", "month_count"]].tolist() == ["too_few_priced_months", 0]
    single = one_customer([(month, "P1", 10, 9.0 if place == 3 else 5.0) for place, month in enumerate(months(24))])
    assert estimated(single).loc["C1", "why_not"] == "price_varied_once"
    wild = estimated(market(noise=4.0))
    wide = wild[wild["why_not"] == "interval_too_wide"]
    assert len(wide) > 20
    assert wide["elasticity"].isna().all()
    assert (wide["elasticity_high"] - wide["elasticity_low"] > price_sensitivity.WIDEST_INTERVAL).all()
    assert wide["sentence"].str.startswith("Not estimable: over ").all()
    assert estimated(market(price_noise=0.03))["sentence"].str.contains("All customers together: ").any()


def test_readings():
    low, high = np.array([-3, -1.5, -0.8, -0.5, 0.1]), np.array([-1.2, -0.5, -0.2, 0.4, 0.9])
    wanted = ["elastic", "unclear", "inelastic", "inelastic", "rises_with_price"]
    assert price_sensitivity._reading(low, high).tolist() == wanted


def test_nothing_after_the_last_complete_month_moves_a_figure():
    frame = market()
    mid = datetime.date(2026, 4, 29)
    known = frame[frame["month"] < "2026-04-01"]
    later = frame[frame["month"] >= "2026-04-01"].assign(quantity=1.0, net_amount=10**6)
    pd.testing.assert_frame_equal(estimated(pd.concat([known, later]), mid), estimated(known, mid))
    at_end = datetime.date(2026, 4, 30)
    assert not estimated(frame, at_end)["elasticity"].equals(estimated(known, at_end)["elasticity"])


def test_the_order_and_the_splitting_of_rows_are_irrelevant():
    frame = market(customers=8)
    amounts = ["quantity", "net_amount", "list_amount"]
    half = frame.assign(**(frame[amounts] / 2).round(4))
    whole = half.assign(**(2 * half[amounts]))
    shuffled = pd.concat([half, half]).sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(estimated(shuffled), estimated(whole))


def test_free_goods_and_what_was_taken_back_are_left_out():
    frame = market(customers=6)
    nothing = frame.head(200).assign(month=pd.Timestamp("2024-07-01"), product_id="GIFT", net_amount=0.0)
    returned = frame.head(50).assign(product_id="RETURNED", quantity=-3.0)
    pd.testing.assert_frame_equal(estimated(pd.concat([frame, nothing, returned])), estimated(frame))


def test_without_rows_the_table_is_empty():
    result = price_sensitivity.estimate(market().head(0), AS_OF)
    assert result.empty
    assert tuple(result.columns) == price_sensitivity.COLUMNS


numbers = st.sampled_from([-5.0, 0.0, 1e-6, 1.0, 1.0, 2.0, 3.0, 7.5, 1e9])
rows = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(-3, 30), st.sampled_from("PQ"), numbers, numbers, numbers),
    max_size=120,
)


@given(rows)
@settings(max_examples=30, deadline=None)
def test_any_rows_give_a_figure_or_a_reason(rows):
    start = pd.Timestamp(FIRST_MONTH)
    frame = pd.DataFrame(
        [(c, start + pd.DateOffset(months=m), p, q, n, a) for c, m, p, q, n, a in rows],
        columns=["customer_id", "month", "product_id", "quantity", "net_amount", "list_amount"],
    )
    result = price_sensitivity.estimate(frame, AS_OF)
    estimable = result["status"] == "estimable"
    assert (result["why_not"].isna() == estimable).all()
    assert (result["elasticity"].notna() == estimable).all()
    for name in ("elasticity", "elasticity_low", "elasticity_high", "standard_error"):
        assert np.isfinite(result.loc[estimable, name].astype("float64")).all()
    assert not np.isinf(result.select_dtypes("number").to_numpy("float64")).any()
    assert result["price_variation"].notna().all()
    assert result["sentence"].str.len().gt(0).all()
    assert not result["sentence"].str.contains("nan").any()


def test_the_rows_are_those_of_invoices_in_complete_months():
    connection = duckdb.connect()
    connection.execute("create schema facts")
    connection.execute(
        "create table facts.as_of as select date '2026-06-15' as as_of_date, date '2026-06-01' as as_of_month"
    )
    connection.execute(
        """
        create table facts.fct_invoice_lines as
        select
            document_type, customer_id, cast(month as date) as month, product_id,
            cast(quantity as decimal(20, 6)) as quantity,
            cast(amount as decimal(22, 4)) as net_amount,
            cast(amount * 2 as decimal(22, 4)) as list_amount
        from (values
            ('invoice', 'C1', '2026-05-01', 'P1', 3, 10),
            ('invoice', 'C1', '2026-05-01', 'P1', 2, 5),
            ('invoice', 'C1', '2024-06-01', 'P1', 1, 1),
            ('invoice', 'C1', '2024-05-01', 'P1', 1, 1),
            ('invoice', 'C1', '2026-06-01', 'P1', 1, 1),
            ('credit_note', 'C1', '2026-05-01', 'P1', -1, -4),
            ('invoice', 'UNMATCHED', '2026-05-01', 'P1', 1, 1),
            ('invoice', 'C2', '2026-05-01', null, 0, 7)
        ) as lines (document_type, customer_id, month, product_id, quantity, amount)
        """
    )
    found = connection.sql(price_sensitivity.PRICES).fetchall()
    day = datetime.date
    assert found == [("C1", day(2024, 6, 1), "P1", 1, 1, 2), ("C1", day(2026, 5, 1), "P1", 5, 15, 30)]
    frame = connection.sql(price_sensitivity.PRICES).df()
    assert estimated(frame, datetime.date(2026, 6, 15)).loc["C1", "observation_count"] == 2
