"""Statistical models of customers: pure functions over arrays, one module per model.

Belongs here: what a model is (its likelihood, its estimates, its forecasts) and the summaries it is fitted to. Not here:
reading the warehouse, dates, which model scores whom, and any published table: those are of `assets.analytics`.

The purchase models (`bg_nbd`, `mbg_nbd`, `pareto_nbd`) share one interface: NAME, PARAMETERS, fit, log_likelihood,
probability_alive, expected_purchases, expected_purchases_at, expected_purchases_of_new, probability_of_purchase and
simulate_purchases. Their arguments are, per customer: `x` repeat purchases, `t_x` weeks from the first purchase to the
last, `T` weeks from the first purchase to the as-of date. A purchase is a day with at least one order.
"""
