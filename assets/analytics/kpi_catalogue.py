"""Which key figures there are: name, unit, which way is better, and the formula in words.

Belongs here: what a figure is, so that company.yml can set targets for it and a reader can look it up. Not here: how it is
computed (`kpis`), nor any company's target.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Unit = Literal[
    "base currency",
    "share",
    "days",
    "hours",
    "months",
    "customers",
    "orders per customer",
    "per 100 orders",
    "score 0 to 1",
    "points -100 to 100",
]


class Kpi(NamedTuple):
    """One key figure. A share is 1 = 100 %; `direction` says which values are better."""

    title: str
    unit: Unit
    direction: Literal["higher", "lower"]
    formula: str


KPIS = {
    "operating_profit_12m": Kpi(
        "Operating profit on customers",
        "base currency",
        "higher",
        "Net revenue less cost of goods sold, cost to serve, credit cost and allocated sustaining cost, of all customers, last "
        "12 months. Unused capacity and other sustaining cost stay with the company.",
    ),
    "operating_margin_12m": Kpi(
        "Operating margin on customers",
        "share",
        "higher",
        "Operating profit on customers / net revenue, last 12 months.",
    ),
    "loss_making_customer_share": Kpi(
        "Customers in loss",
        "share",
        "lower",
        "Customers with an operating profit below zero / customers with revenue or cost, last 12 months.",
    ),
    "whale_peak_share": Kpi(
        "Whale curve peak",
        "share",
        "lower",
        "Operating profit of the customers who earn any / operating profit of all, last 12 months: 1 = no customer loses.",
    ),
    "loss_destroyed_12m": Kpi(
        "Profit destroyed by customers in loss",
        "base currency",
        "lower",
        "Sum of the losses of customers in loss, last 12 months.",
    ),
    "top_fifth_revenue_share": Kpi(
        "Revenue from the largest fifth",
        "share",
        "lower",
        "Net revenue of the largest fifth of the customers with revenue (rounded up) / that of all of them, last 12 months: how "
        "much depends on few.",
    ),
    "active_customers_12m": Kpi(
        "Active customers", "customers", "higher", "Customers who ordered in the last 12 months."
    ),
    "retention_rate": Kpi(
        "Customer retention rate",
        "share",
        "higher",
        "Customers who ordered in the 12 months before the last 12 and again in the last 12 / those who ordered in the former.",
    ),
    "repeat_purchase_rate": Kpi(
        "Repeat purchase rate",
        "share",
        "higher",
        "Customers with two or more orders / customers with an order, last 12 months.",
    ),
    "average_orders_12m": Kpi(
        "Orders per customer",
        "orders per customer",
        "higher",
        "Orders / customers with an order, last 12 months.",
    ),
    "average_clv": Kpi(
        "Average customer lifetime value",
        "base currency",
        "higher",
        "Mean lifetime value (clv of customer_clv) of the customers who ordered in the last 12 months, losses counted.",
    ),
    "revenue_at_churn_risk": Kpi(
        "Revenue at churn risk",
        "base currency",
        "lower",
        "Sum over customers of net revenue of the last 12 months (0 at least) x probability of no purchase in the churn horizon.",
    ),
    "csat": Kpi(
        "Customer satisfaction (CSAT)",
        "score 0 to 1",
        "higher",
        "Mean of the CSAT answers of the last 12 months on a scale from 0 (worst) to 1 (best).",
    ),
    "nps": Kpi(
        "Net promoter score (NPS)",
        "points -100 to 100",
        "higher",
        "(Promoters - detractors) / answers x 100, last 12 months.",
    ),
    "complaints_per_100_orders": Kpi(
        "Complaints per 100 orders",
        "per 100 orders",
        "lower",
        "Service cases that are complaints / orders x 100, last 12 months.",
    ),
    "first_response_hours": Kpi(
        "First response time",
        "hours",
        "lower",
        "Median hours from opening to the first response, of the cases opened in the last 12 months and answered.",
    ),
    "resolution_hours": Kpi(
        "Resolution time",
        "hours",
        "lower",
        "Median hours from opening to closing, of the cases opened in the last 12 months; those still open count as longer than "
        "any.",
    ),
    "dso": Kpi(
        "Days sales outstanding (DSO)",
        "days",
        "lower",
        "Receivables at the end of the month / sales of three months with tax x the days of these months.",
    ),
    "credit_cost_share": Kpi(
        "Credit cost",
        "share",
        "lower",
        "Expected credit losses and financing of receivables / net revenue, last 12 months.",
    ),
    "cost_to_serve_share": Kpi(
        "Cost to serve",
        "share",
        "lower",
        "Direct and activity cost to serve / net revenue, last 12 months.",
    ),
    "new_customers_12m": Kpi(
        "New customers", "customers", "higher", "Customers whose first order lies in the last 12 months."
    ),
    "cac": Kpi(
        "Customer acquisition cost (CAC)",
        "base currency",
        "lower",
        "Acquisition cost of all channels / new customers, last 12 months.",
    ),
    "payback_months": Kpi(
        "Payback of acquisition cost",
        "months",
        "lower",
        "Median over the customers won 13 to 24 months ago of the months until their channel's cohort had earned its cost; a "
        "cohort that has not counts as longer than any.",
    ),
    "referral_rate": Kpi(
        "Referral rate",
        "share",
        "higher",
        "New customers whose source is one of referral_sources / new customers whose source is known, last 12 months.",
    ),
    "unallocated_cost_share": Kpi(
        "Unallocated cost",
        "share",
        "lower",
        "Cost no rule or driver could place / cost in the ledger's pools, last 12 months.",
    ),
    "unused_capacity_share": Kpi(
        "Unused capacity",
        "share",
        "lower",
        "Cost of capacity nobody used / cost in the ledger's pools, last 12 months.",
    ),
    "budget_deviation": Kpi(
        "Budget deviation",
        "share",
        "lower",
        "(Actual - budget) / budget of the cost pools that have one, last 12 months; + is dearer than planned.",
    ),
}
"""All key figures, in the order they are read in."""
