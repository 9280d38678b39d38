"""BG/NBD against its publications, and what it alone says; what it shares with MBG/NBD is in test_beta_geometric."""

import numpy as np
import pytest
from purchase_histories import (
    CALIBRATED_UNTIL,
    cdnow_held_out,
    cdnow_orders,
    cdnow_summary,
    needs_cdnow,
)

from assets.analytics.models import bg_nbd
from assets.analytics.models.summaries import DAYS_PER_WEEK, compress, summarise

PUBLISHED = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}
"""Of the 2,357 customers of CDNOW (Fader, Hardie and Lee 2005, table 2), rounded as there."""


@needs_cdnow
def test_cdnow_is_estimated_as_published():
    fitted = bg_nbd.fit(compress(*cdnow_summary()))
    rounded = {name: round(value, 4) for name, value in fitted.parameters.items()}
    assert rounded == {"r": 0.2426, "alpha": 4.4135, "a": 0.7929, "b": 2.4258}
    assert round(fitted.log_likelihood, 2) == -9582.43
    assert bg_nbd.log_likelihood(fitted.parameters, *cdnow_summary()).sum() == pytest.approx(fitted.log_likelihood)
    assert (fitted.model, fitted.customers, fitted.converged, fitted.degenerate) == ("bg_nbd", 2_357, True, "")


def test_a_customer_s_expectation_is_the_published_one():
    expected = bg_nbd.expected_purchases(PUBLISHED, np.array([2]), np.array([30.43]), np.array([38.86]), 39)
    assert round(float(expected[0]), 3) == 1.226


@needs_cdnow
def test_expectations_of_a_new_customer_are_the_published_ones():
    parameters = bg_nbd.fit(compress(*cdnow_summary())).parameters
    expected = bg_nbd.expected_purchases_of_new(parameters, [1 / 7, 1, 3, 223 / 7, 32, 78])
    assert [round(float(value), 4) for value in expected[:5]] == [0.0078, 0.0532, 0.1506, 1.0405, 1.0437]
    # The note's sixth, 1.8576, is its series cut off after 150 terms; all of them together are 1.8580.
    assert round(new_customer_by_series(parameters, 78, 150), 4) == 1.8576
    assert new_customer_by_series(parameters, 78, 10_000) == pytest.approx(float(expected[5]), rel=1e-9)
    assert float(expected[5]) == pytest.approx(1.8576, abs=5e-4)


def new_customer_by_series(parameters, t, terms):
    """Equation 9 of the paper with so many terms of 2F1's series."""
    r, alpha, a, b = parameters.values()
    place = np.arange(terms - 1)
    ratios = (r + place) * (b + place) / ((a + b - 1 + place) * (place + 1)) * t / (alpha + t)
    series = 1 + np.cumprod(ratios).sum()
    return (a + b - 1) / (a - 1) * (1 - (alpha / (alpha + t)) ** r * series)


@needs_cdnow
def test_cdnow_s_held_out_purchases_are_met_as_published():
    summary = summarise(cdnow_orders(), CALIBRATED_UNTIL)
    x = summary["repeat_purchases"].to_numpy(float)
    t_x = summary["active_span_days"].to_numpy(float) / DAYS_PER_WEEK
    age = summary["customer_age_days"].to_numpy(float) / DAYS_PER_WEEK
    fitted = bg_nbd.fit(compress(x, t_x, age))
    expected = bg_nbd.expected_purchases(fitted.parameters, x, t_x, age, 39)
    bought = cdnow_held_out(summary.index)
    assert round(bought[x == 3].mean(), 2) == 1.56
    assert round(expected[x == 3].mean(), 2) == 1.52
    assert round(np.corrcoef(bought, expected)[0, 1], 3) == 0.626


def test_a_one_time_buyer_is_alive_with_certainty():
    alive = bg_nbd.probability_alive(PUBLISHED, np.zeros(3), np.zeros(3), np.array([0, 30, 3_000.0]))
    assert alive.tolist() == [1, 1, 1]


def test_one_without_purchases_today_expects_what_a_new_customer_expects():
    known = bg_nbd.expected_purchases(PUBLISHED, np.zeros(1), np.zeros(1), np.zeros(1), 52)
    assert known[0] == pytest.approx(float(bg_nbd.expected_purchases_of_new(PUBLISHED, 52)), rel=1e-12)
