"""MBG/NBD: purchases at a constant rate until the customer leaves for good after any purchase, the first included.

Source: Batislam, Denizel and Filiztekin (2007), "Empirical validation and comparison of models for customer base
analysis", International Journal of Research in Marketing 24(3). Belongs here: the model's name and its one
difference. Not here: what it shares with BG/NBD, meanings of arguments included (`beta_geometric`).

Rates are gamma(r, alpha) over customers, the chances of leaving beta(a, b). Times are in weeks. Unlike in BG/NBD a one-time
buyer may have left.
"""

from __future__ import annotations

from assets.analytics.models import beta_geometric

NAME = "mbg_nbd"
PARAMETERS = beta_geometric.PARAMETERS

MODEL = beta_geometric.BetaGeometric(NAME, at_start=1)
"""A customer may leave straight after the first purchase."""

fit = MODEL.fit
log_likelihood = MODEL.log_likelihood
probability_alive = MODEL.probability_alive
probability_of_purchase = MODEL.probability_of_purchase
expected_purchases = MODEL.expected_purchases
expected_purchases_at = MODEL.expected_purchases_at
discounted_purchases = MODEL.discounted_purchases
expected_purchases_of_new = MODEL.expected_purchases_of_new
simulate_purchases = MODEL.simulate_purchases
