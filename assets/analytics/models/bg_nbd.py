"""BG/NBD: purchases at a constant rate until the customer leaves for good after one of its repeat purchases.

Source: Fader, Hardie and Lee (2005), "Counting your customers the easy way", Marketing Science 24(2). Belongs here: the
model's name and its one difference. Not here: what it shares with MBG/NBD, meanings of arguments included (`beta_geometric`).

Rates are gamma(r, alpha) over customers, the chances of leaving beta(a, b). Times are in weeks. **One-time buyers are alive
with certainty** in this model: do not rank by P(alive); P(at least one purchase) is what differs.
"""

from __future__ import annotations

from assets.analytics.models import beta_geometric

NAME = "bg_nbd"
PARAMETERS = beta_geometric.PARAMETERS

MODEL = beta_geometric.BetaGeometric(NAME, at_start=0)
"""Nobody leaves after the first purchase."""

fit = MODEL.fit
log_likelihood = MODEL.log_likelihood
probability_alive = MODEL.probability_alive
probability_of_purchase = MODEL.probability_of_purchase
expected_purchases = MODEL.expected_purchases
expected_purchases_at = MODEL.expected_purchases_at
discounted_purchases = MODEL.discounted_purchases
expected_purchases_of_new = MODEL.expected_purchases_of_new
simulate_purchases = MODEL.simulate_purchases
