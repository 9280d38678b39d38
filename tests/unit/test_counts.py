"""How many purchases: what the regressions learn, and that neither row order nor an odd customer breaks them."""

import datetime
import functools

import numpy as np
import pandas as pd
import pytest
from customer_histories import company, regular_wholesaler

from assets.analytics import features, forecasters, gates
from assets.analytics.forecasters import Known, Window
from assets.analytics.models import counts

ORIGIN, HORIZON = datetime.date(2025, 9, 30), 90


@functools.cache
def known():
    return Known(company(400), ORIGIN + datetime.timedelta(days=HORIZON))


@functools.cache
def training():
    past = known().earlier(ORIGIN)
    return past.features(HORIZON), known().purchases_after(past, HORIZON)


def test_the_order_of_rows_changes_nothing():
    rows, came = training()
    shuffled = np.random.default_rng(3).permutation(len(rows))
    one = counts.expected_purchases(counts.fit(rows, came), rows)
    other = counts.expected_purchases(counts.fit(rows.iloc[shuffled], came[shuffled]), rows)
    np.testing.assert_array_equal(one, other)


def test_a_season_the_rhythm_does_not_know_is_learned():
    """Everybody buys three times as often as their rhythm says: the mean follows, the rhythm cannot."""
    rows, came = training()
    expected = counts.expected_purchases(counts.fit(rows, came * 3), rows)
    rhythm = rows["expected_purchases"].to_numpy()
    assert abs(expected.sum() - (3 * 3 * came.sum() + rhythm.sum()) / 4) < 0.03 * expected.sum()
    assert np.corrcoef(expected, came)[0, 1] > 0.9 * np.corrcoef(rhythm, came)[0, 1]


def test_too_little_to_learn_from_is_said():
    rows, came = training()
    assert counts.fit(rows.iloc[: counts.FEWEST_ROWS - 1], came[: counts.FEWEST_ROWS - 1]) is None
    assert counts.fit(rows, np.zeros(len(rows))) is None
    young = Known(company(40), ORIGIN)
    with pytest.raises(forecasters.NotMeasured, match="too few customers"):
        forecasters.orders_average(young, Window(HORIZON, 0))


def test_nobody_is_expected_to_buy_without_end():
    rows, came = training()
    models = counts.fit(rows, came)
    odd = rows.iloc[:3].copy()
    odd[odd.columns] = [[0.0] * len(odd.columns), [1e6] * len(odd.columns), [-5.0] * len(odd.columns)]
    odd["expected_purchases"] = [0.0, 2.0, 0.0]
    expected = counts.expected_purchases(models, odd)
    assert np.isfinite(expected).all()
    assert (expected >= 0).all()
    assert (expected <= came.max()).all()
    assert len(counts.expected_purchases(models, rows.iloc[:0])) == 0


def test_regular_customers_are_forecast_too():
    regular = Known(regular_wholesaler(), ORIGIN)
    expected = forecasters.orders_average(regular, Window(HORIZON, 0))
    assert np.isfinite(expected).all()
    assert abs(expected.mean() - HORIZON / 14) < 0.5


def test_the_future_moves_nothing():
    whole = company(400)
    cut = forecasters.cut(whole, ORIGIN)
    shuffled = whole._replace(
        orders=pd.concat(
            [
                cut.orders,
                whole.orders[whole.orders["order_date"] > pd.Timestamp(ORIGIN)].sample(frac=0.5, random_state=1),
            ]
        )
    )
    forecast, ahead = forecasters.FORECASTERS[gates.ORDERS][counts.AVERAGE], Window(HORIZON, 0)
    np.testing.assert_array_equal(forecast(Known(cut, ORIGIN), ahead), forecast(Known(shuffled, ORIGIN), ahead))
    assert len(features.build(whole, ORIGIN)) == len(forecast(Known(whole, ORIGIN), ahead))
