"""MBG/NBD against its published estimates, and what it alone says; what it shares with BG/NBD is in test_beta_geometric."""

import numpy as np
import pytest
from purchase_histories import cdnow_summary, needs_cdnow

from assets.analytics.models import bg_nbd, mbg_nbd
from assets.analytics.models.summaries import compress

PUBLISHED = {"r": 0.525, "alpha": 6.183, "a": 0.891, "b": 1.614}


@needs_cdnow
def test_cdnow_is_estimated_as_published():
    fitted = mbg_nbd.fit(compress(*cdnow_summary()))
    rounded = {name: round(value, 3) for name, value in fitted.parameters.items()}
    assert rounded == PUBLISHED
    assert round(fitted.log_likelihood, 2) == -9582.13
    assert mbg_nbd.log_likelihood(fitted.parameters, *cdnow_summary()).sum() == pytest.approx(fitted.log_likelihood)
    assert (fitted.model, fitted.customers, fitted.converged, fitted.degenerate) == ("mbg_nbd", 2_357, True, "")


def test_a_one_time_buyer_may_have_left_at_once_and_ever_more_likely():
    alive = mbg_nbd.probability_alive(PUBLISHED, np.zeros(3), np.zeros(3), np.array([0, 30, 3_000.0]))
    assert alive[0] == pytest.approx(1.614 / (0.891 + 1.614))
    assert alive[0] > alive[1] > alive[2] > 0


def test_a_new_customer_stays_with_the_mean_chance():
    """Known to be alive after the first purchase, the chance of leaving is beta(a, b + 1): as in BG/NBD with that b."""
    stayed = bg_nbd.expected_purchases_of_new(PUBLISHED | {"b": PUBLISHED["b"] + 1}, [1, 52.0])
    np.testing.assert_allclose(
        mbg_nbd.expected_purchases_of_new(PUBLISHED, [1, 52.0]), stayed * 1.614 / (0.891 + 1.614), rtol=1e-12
    )
    known = mbg_nbd.expected_purchases(PUBLISHED, np.zeros(1), np.zeros(1), np.zeros(1), 52)
    assert known[0] == pytest.approx(float(mbg_nbd.expected_purchases_of_new(PUBLISHED, 52)), rel=1e-12)
