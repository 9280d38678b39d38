"""What could have been foreseen on a past date, by every model that competes: purchases, their number, and profit.

Belongs here: the knowledge of one date (`Known`) and one function per model that turns it into a number per customer. Not
here: the models themselves (`models`), what came to pass and how far off a forecast was (`backtest`).

`Known` holds nothing dated after its date, so no forecast can see more, whatever it does. What several forecasts share (a
fit, the features of a date) is computed once and kept.
"""

from __future__ import annotations

import calendar
import datetime
import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd

from assets.analytics import churn, clv, features, gates, intervals
from assets.analytics.features import CustomerHistory
from assets.analytics.history import MONEY_SCALE, known_orders, money, month_number
from assets.analytics.models import bg_nbd, counts, margins, mbg_nbd, pareto_nbd
from assets.analytics.models.estimation import Fitted
from assets.analytics.models.summaries import DAYS_PER_WEEK, compress, summarise

FEWEST_CUSTOMERS = 100
"""Below this many customers on a date no model is fitted on it: its parameters would be the accidents of a few."""

LEAST_HISTORY_DAYS = 90

YEAR = 365

MOST_CORRECTION = 5.0
"""A past miss by more than this factor is no matter of calibration."""

BTYD: Mapping[str, ModuleType] = {"pareto_nbd": pareto_nbd, "bg_nbd": bg_nbd, "mbg_nbd": mbg_nbd}


class NotMeasured(Exception):
    """A model has nothing to say on this date, and why, in words for the row of `model_quality`."""


class Window(NamedTuple):
    """The days after a date that are forecast: whole months for profit, which is known by month."""

    days: int
    months: int


class Known:
    """All that is known of the customers on `as_of`, and what follows from it. Arrays are in the order of `customers`.

    Dates reached by `earlier` are kept in one place for all: the fits of March serve every origin that learns from March.
    """

    def __init__(
        self, history: CustomerHistory, as_of: datetime.date, kept: dict[datetime.date, Known] | None = None
    ) -> None:
        self.as_of = as_of
        self.history = cut(history, as_of)
        self._kept = {} if kept is None else kept
        self._fits: dict[str, Fitted] = {}
        self._per_purchase: dict[str, margins.ProfitPerPurchase] = {}
        self._features: dict[int, pd.DataFrame] = {}
        self._churn_models: dict[int, churn.ChurnModels] = {}
        self._count_models: dict[int, counts.CountModels | None] = {}
        self._probabilities: dict[int, pd.DataFrame] = {}
        self._moments: dict[tuple[str, int], intervals.Purchases] = {}
        self._said: dict[tuple[Forecast, Window], np.ndarray] = {}

    @functools.cached_property
    def orders(self) -> pd.DataFrame:
        return known_orders(self.history.orders, self.as_of)

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        return summarise(self.orders, self.as_of)

    @property
    def customers(self) -> pd.Index:
        return self.summary.index

    @functools.cached_property
    def first_purchase(self) -> datetime.date | None:
        return features.first_purchase(self.history)

    @property
    def history_days(self) -> int:
        """Days of which something is known, the first purchase's included."""
        return 0 if self.first_purchase is None else (self.as_of - self.first_purchase).days + 1

    @functools.cached_property
    def weeks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, t_x and T of the purchase models."""
        summary = self.summary
        return (
            summary["repeat_purchases"].to_numpy(dtype="float64"),
            summary["active_span_days"].to_numpy(dtype="float64") / DAYS_PER_WEEK,
            summary["customer_age_days"].to_numpy(dtype="float64") / DAYS_PER_WEEK,
        )

    def why_too_little(self) -> str:
        """Why no model is fitted on this date; empty when it can be."""
        if len(self.customers) < FEWEST_CUSTOMERS:
            count = f"{len(self.customers)} customer{'' if len(self.customers) == 1 else 's'}"
            return f"{count} on {self.as_of}, and a model needs {FEWEST_CUSTOMERS}"
        if self.history_days < LEAST_HISTORY_DAYS:
            return f"{self.history_days} days of history on {self.as_of}, and a model needs {LEAST_HISTORY_DAYS}"
        return ""

    def fitted(self, model: str) -> Fitted:
        """The estimates of a purchase model on what is known."""
        if model not in self._fits:
            self._fits[model] = BTYD[model].fit(compress(*self.weeks))
        return self._fits[model]

    def per_purchase(self, method: str) -> margins.ProfitPerPurchase:
        """Expected profit per purchase, in ten-thousandths."""
        if method not in self._per_purchase:
            self._per_purchase[method] = margins.estimate(
                self.summary, self.profit * MONEY_SCALE, method=method, noise=self.noise
            )
        return self._per_purchase[method]

    @functools.cached_property
    def noise(self) -> float | None:
        """By how much months scatter around a customer's own margin, in ten-thousandths."""
        monthly = self.history.monthly_profit
        monthly = monthly[monthly["customer_id"].notna()]
        revenue = money(monthly["net_revenue"]).to_numpy()
        codes, _ = pd.factorize(monthly["customer_id"])
        return margins.noise_of_months(codes, revenue, revenue - money(monthly["cost"]).to_numpy())

    def features(self, horizon_days: int) -> pd.DataFrame:
        if horizon_days not in self._features:
            self._features[horizon_days] = features.build(self.history, self.as_of, horizon_days=horizon_days)
        return self._features[horizon_days]

    def earlier(self, as_of: datetime.date) -> Known:
        """What was known on an earlier date."""
        if as_of > self.as_of:
            raise ValueError(f"{as_of} lies after {self.as_of}: what is known then is not known yet.")
        if as_of not in self._kept:
            self._kept[as_of] = Known(self.history, as_of, self._kept)
        return self._kept[as_of]

    def learned_from(self, horizon_days: int, *, in_months: bool = False) -> tuple[Known, Window]:
        """The latest end of a month whose window has passed, and that window: from it a forecast can learn how it did."""
        month = month_of(self.as_of)
        while True:
            date = month_end(month)
            passed = window(date, horizon_days, in_months=in_months)
            if date + datetime.timedelta(days=passed.days) <= self.as_of:
                break
            month -= 1
        past = self.earlier(date)
        if reason := past.why_too_little():
            raise NotMeasured(f"too little history to learn {horizon_days} days from: {reason}")
        return past, passed

    def says(self, forecast: Forecast, ahead: Window) -> np.ndarray:
        """What a forecast says on this date: asked once, however often its figures are needed."""
        if (forecast, ahead) not in self._said:
            said = np.asarray(forecast(self, ahead), dtype="float64")
            if not np.isfinite(said).all():
                raise NotMeasured(f"the model gave no number for some customers on {self.as_of}")
            self._said[forecast, ahead] = said
        return self._said[forecast, ahead]

    def churn_models(self, horizon_days: int) -> churn.ChurnModels:
        """The models of churn risk, trained on what is known."""
        if horizon_days not in self._churn_models:
            self._churn_models[horizon_days] = churn.fit(
                self.history, self.as_of, horizon_days=horizon_days, with_pareto=True
            )
        return self._churn_models[horizon_days]

    def count_models(self, horizon_days: int) -> counts.CountModels | None:
        """The models of how often customers buy, trained on what is known."""
        if horizon_days not in self._count_models:
            dates = churn.training_dates(self.first_purchase, self.as_of, horizon_days)
            past = [self.earlier(date) for date in dates]
            self._count_models[horizon_days] = (
                counts.fit(
                    pd.concat([then.features(horizon_days) for then in past]),
                    np.concatenate([self.purchases_after(then, horizon_days) for then in past]),
                )
                if past
                else None
            )
        return self._count_models[horizon_days]

    def probabilities(self, horizon_days: int) -> pd.DataFrame:
        """P(buys in the next `horizon_days`) by every model that could be trained, one column each."""
        if horizon_days not in self._probabilities:
            self._probabilities[horizon_days] = churn.probabilities_of_purchase(
                self.history, self.as_of, self.churn_models(horizon_days), features=self.features(horizon_days)
            ).reindex(self.customers)
        return self._probabilities[horizon_days]

    def moments(self, model: str, ahead: Window) -> intervals.Purchases:
        """Mean, variance and P(none) of the purchases in the window, by a purchase model."""
        if (model, ahead.days) not in self._moments:
            rows = compress(*self.weeks)
            found = intervals.purchases(
                BTYD[model],
                self.fitted(model).parameters,
                rows.x,
                rows.t_x,
                rows.T,
                ahead.days / DAYS_PER_WEEK,
            )
            self._moments[model, ahead.days] = intervals.Purchases(*(part[rows.inverse] for part in found))
        return self._moments[model, ahead.days]

    def purchases_after(self, past: Known, days: int) -> np.ndarray:
        """Days with a purchase in the `days` after `past`, per customer of `past`."""
        end = past.as_of + datetime.timedelta(days=days)
        self._must_have_passed(end)
        return self._purchase_days(past.customers, past.as_of, end)

    def purchases_before(self, days: int) -> np.ndarray:
        """Days with a purchase in the last `days`."""
        return self._purchase_days(self.customers, self.as_of - datetime.timedelta(days=days), self.as_of)

    def profit_after(self, past: Known, months: int) -> np.ndarray:
        """Profit of the `months` calendar months after that of `past`, per customer of `past`, in base currency."""
        first = month_of(past.as_of) + 1
        self._must_have_passed(month_end(first + months - 1))
        return self._profit(past.customers, first, first + months - 1)

    def profit_before(self, months: int) -> np.ndarray:
        """Profit of the last `months` calendar months."""
        last = month_of(self.as_of)
        return self._profit(self.customers, last - months + 1, last)

    @functools.cached_property
    def profit(self) -> np.ndarray:
        """All profit so far, in base currency."""
        return self._profit(self.customers, 0, month_of(self.as_of))

    @functools.cached_property
    def profit_months(self) -> int:
        """Calendar months since the first month with profit or cost, both included; 0 without any."""
        months = self.monthly["month"]
        return 0 if months.empty else month_of(self.as_of) - int(months.min()) + 1

    @functools.cached_property
    def retention(self) -> float:
        """The share of customers kept from one month to the next."""
        return clv.monthly_retention(self.history.monthly_profit, self.as_of)

    def _must_have_passed(self, end: datetime.date) -> None:
        if end > self.as_of:
            raise ValueError(f"What happened until {end} is not known on {self.as_of}.")

    def _purchase_days(self, customers: pd.Index, after: datetime.date, until: datetime.date) -> np.ndarray:
        days = self._days
        inside = (days["order_date"] > pd.Timestamp(after)) & (days["order_date"] <= pd.Timestamp(until))
        return _counted(customers, days.loc[inside, "customer_id"])

    @functools.cached_property
    def _days(self) -> pd.DataFrame:
        """One row per customer and day with a purchase."""
        purchases = self.orders[self.orders["is_purchase"]]
        return purchases[["customer_id", "order_date"]].drop_duplicates()

    def _profit(self, customers: pd.Index, first: int, last: int) -> np.ndarray:
        rows = self.monthly[self.monthly["month"].between(first, last)]
        # In whole ten-thousandths, below 2 ** 53: a sum of floats that does not depend on the order of its rows.
        return _counted(customers, rows["customer_id"], rows["profit"].to_numpy(dtype="float64")) / MONEY_SCALE

    @functools.cached_property
    def monthly(self) -> pd.DataFrame:
        monthly = self.history.monthly_profit
        return pd.DataFrame(
            {
                "customer_id": monthly["customer_id"],
                "month": month_number(monthly["month"]),
                "profit": money(monthly["net_revenue"]) - money(monthly["cost"]),
            }
        )


def _counted(customers: pd.Index, ids: pd.Series, weights: np.ndarray | None = None) -> np.ndarray:
    """Rows (or the sum of `weights`) per customer; those of others are not counted."""
    place = customers.get_indexer(pd.Index(ids.astype("str")))
    found: np.ndarray = np.bincount(
        place[place >= 0], None if weights is None else weights[place >= 0], minlength=len(customers)
    )
    return found.astype("float64")


def cut(history: CustomerHistory, as_of: datetime.date) -> CustomerHistory:
    """The history without anything dated after `as_of`. Months count when they have begun, as in every score; an invoice
    cleared later is still open."""
    orders = history.orders[_until(history.orders["order_date"], as_of)]
    monthly = history.monthly_profit[month_number(history.monthly_profit["month"]) <= month_of(as_of)]
    late = history.payments_late[_until(history.payments_late["due_date"], as_of)]
    learned = _until(late["learned_on"], as_of)
    return CustomerHistory(
        orders=orders,
        monthly_profit=monthly,
        cases=history.cases[_until(history.cases["opened_on"], as_of)],
        payments_late=late.assign(
            learned_on=late["learned_on"].where(learned), days_late=late["days_late"].where(learned)
        ),
        surveys=history.surveys[_until(history.surveys["responded_on"], as_of)],
    )


def _until(dates: pd.Series, as_of: datetime.date) -> pd.Series:
    found: pd.Series = pd.to_datetime(dates).dt.normalize() <= pd.Timestamp(as_of)
    return found


def month_of(date: datetime.date) -> int:
    """The number of a date's month, as `history.month_number` counts."""
    return date.year * 12 + date.month


def month_end(month: int) -> datetime.date:
    """The last day of the month of that number."""
    year, number = divmod(month - 1, 12)
    return datetime.date(year, number + 1, calendar.monthrange(year, number + 1)[1])


def last_month_end(date: datetime.date) -> datetime.date:
    """The latest last day of a month on or before `date`."""
    end = month_end(month_of(date))
    return end if end <= date else month_end(month_of(date) - 1)


def window(origin: datetime.date, horizon_days: int, *, in_months: bool) -> Window:
    """The days forecast from `origin`, the last day of a month: the horizon, or the whole months nearest to it."""
    if not in_months:
        return Window(horizon_days, 0)
    months = max(1, round(horizon_days * 12 / YEAR))
    return Window((month_end(month_of(origin) + months) - origin).days, months)


Forecast = Callable[[Known, Window], np.ndarray]
"""One number per customer of `Known`, for the days of the window after its date."""


# Does the customer buy?


def buys_pareto_nbd(known: Known, ahead: Window) -> np.ndarray:
    fitted = known.fitted("pareto_nbd")
    return pareto_nbd.probability_of_purchase(fitted.parameters, *known.weeks, ahead.days / DAYS_PER_WEEK)


def buys_recency(known: Known, ahead: Window) -> np.ndarray:
    """The naive rule: the curve over the time since the last purchase."""
    scored = churn.recency_baseline(known.history.orders, known.as_of, horizon_days=ahead.days)
    return 1 - scored.set_index("customer_id")["churn_probability"].reindex(known.customers).to_numpy(dtype="float64")


@functools.cache
def buys_by(model: str) -> Forecast:
    """A trained model of churn risk: 'average', 'logit', 'boosting' or 'pareto_nbd_recalibrated'."""

    def forecast(known: Known, ahead: Window) -> np.ndarray:
        probabilities = known.probabilities(ahead.days)
        if model not in probabilities:
            raise NotMeasured(_why_not_trained(known, ahead.days))
        return probabilities[model].to_numpy(dtype="float64")

    return forecast


def _why_not_trained(known: Known, horizon_days: int) -> str:
    if not churn.training_dates(known.first_purchase, known.as_of, horizon_days):
        return f"too little history to learn {horizon_days} days from: it begins on {known.first_purchase}"
    return f"too few customers, or too few who bought or did not, to learn {horizon_days} days from"


# How often?


@functools.cache
def orders_by(model: str) -> Forecast:
    """Purchases expected by a purchase model. One function per model, so that `Known` remembers what it said."""

    def forecast(known: Known, ahead: Window) -> np.ndarray:
        return known.moments(model, ahead).mean

    return forecast


def orders_average(known: Known, ahead: Window) -> np.ndarray:
    """The mean of three trained regressions of counts and the customer's rhythm."""
    models = known.count_models(ahead.days)
    if models is None:
        raise NotMeasured(_why_not_trained(known, ahead.days))
    return counts.expected_purchases(models, known.features(ahead.days))


def orders_historic_rate(known: Known, ahead: Window) -> np.ndarray:
    """As in clv.py without a model: the purchases a month of the last 12 months go on, fading at the company's retention."""
    months = np.clip(_months_as_customer(known), clv.SHORTEST_AVERAGE_MONTHS, clv.MONTHS_PER_YEAR)
    first = month_end(month_of(known.as_of) - clv.MONTHS_PER_YEAR)
    recent = known.purchases_before((known.as_of - first).days)
    ahead_months = ahead.days / clv.DAYS_PER_MONTH
    return recent / months * known.retention * (1 - known.retention**ahead_months) / (1 - known.retention)


def orders_as_before(known: Known, ahead: Window) -> np.ndarray:
    """The naive rule: the same number as in the period of the same length just past, or in as much of it as is known."""
    return known.purchases_before(ahead.days) * ahead.days / max(1, min(ahead.days, known.history_days))


# How much profit?


@functools.cache
def profit_by(model: str, method: str) -> Forecast:
    """Expected purchases times expected profit per purchase."""

    orders = orders_by(model)

    def forecast(known: Known, ahead: Window) -> np.ndarray:
        return known.says(orders, ahead) * known.per_purchase(method).expected / MONEY_SCALE

    return forecast


def profit_historic_rate(known: Known, ahead: Window) -> np.ndarray:
    """Purchases at their historic rate times expected profit per purchase."""
    return known.says(orders_historic_rate, ahead) * known.per_purchase(DEFAULT_METHOD).expected / MONEY_SCALE


def profit_discounted(known: Known, ahead: Window) -> np.ndarray:
    """The cash flow customary in clv.py: the last year's profit a month, thinned out by the company's retention."""
    months = np.clip(_months_as_customer(known), clv.SHORTEST_AVERAGE_MONTHS, clv.MONTHS_PER_YEAR)
    survival = known.retention ** np.arange(1, ahead.months + 1)
    return known.profit_before(clv.MONTHS_PER_YEAR) / months * float(np.sum(survival))


def profit_formula(known: Known, ahead: Window) -> np.ndarray:
    """The documents' formula, cut to the window: the average profit a month since the first one goes on."""
    age_months = _months_as_customer(known)
    return known.profit / age_months * ahead.months


def profit_as_before(known: Known, ahead: Window) -> np.ndarray:
    """The naive rule: the same profit as in the period of the same length just past, or in as much of it as is known."""
    return known.profit_before(ahead.months) * ahead.months / max(1, min(ahead.months, known.profit_months))


def _months_as_customer(known: Known) -> np.ndarray:
    """Calendar months since the first revenue, cost or purchase, both ends included; at least 1."""
    first = known.monthly.groupby("customer_id")["month"].min().reindex(known.customers)
    by_age = np.ceil((known.summary["customer_age_days"].to_numpy(dtype="float64") + 1) * 12 / YEAR)
    months = month_of(known.as_of) - first.to_numpy(dtype="float64") + 1
    return np.maximum(np.where(np.isnan(months), by_age, months), 1.0)


def recalibrated(forecast: Forecast, outcome: Callable[[Known, Known, Window], np.ndarray]) -> Forecast:
    """`forecast` times what it was too low or too high by, in total, the last time that is known."""

    def corrected(known: Known, ahead: Window) -> np.ndarray:
        past, before = known.learned_from(ahead.days, in_months=ahead.months > 0)
        return correction(past.says(forecast, before), outcome(known, past, before)) * known.says(forecast, ahead)

    return corrected


CORRECTED = "_recalibrated"
"""How the names of such models end."""


def correction(predicted: np.ndarray, actual: np.ndarray) -> float:
    """The factor that would have made the total right; 1 where it makes no sense (nothing foreseen, or the wrong sign)."""
    foreseen, came = float(predicted.sum()), float(actual.sum())
    if foreseen == 0 or came / foreseen <= 0:
        return 1.0
    return float(np.clip(came / foreseen, 1 / MOST_CORRECTION, MOST_CORRECTION))


def orders_outcome(known: Known, past: Known, ahead: Window) -> np.ndarray:
    return known.purchases_after(past, ahead.days)


def profit_outcome(known: Known, past: Known, ahead: Window) -> np.ndarray:
    return known.profit_after(past, ahead.months)


def buys_outcome(known: Known, past: Known, ahead: Window) -> np.ndarray:
    return (known.purchases_after(past, ahead.days) > 0).astype("float64")


DEFAULT_METHOD = "gamma_gamma_margin"
CHALLENGER_METHOD = "normal_normal"

NAIVE: Mapping[str, Forecast] = {
    gates.BUYS: buys_recency,
    gates.ORDERS: orders_as_before,
    gates.PROFIT: profit_as_before,
}
"""The rule every model is measured beside."""

OUTCOMES: Mapping[str, Callable[[Known, Known, Window], np.ndarray]] = {
    gates.BUYS: buys_outcome,
    gates.ORDERS: orders_outcome,
    gates.PROFIT: profit_outcome,
}

FORECASTERS: Mapping[str, Mapping[str, Forecast]] = {
    gates.BUYS: {
        "average": buys_by("average"),
        "logit": buys_by("logit"),
        "boosting": buys_by("boosting"),
        gates.RECALIBRATED: buys_by(gates.RECALIBRATED),
        "pareto_nbd": buys_pareto_nbd,
        "recency_baseline": buys_recency,
    },
    gates.ORDERS: {
        counts.AVERAGE: orders_average,
        "pareto_nbd": orders_by("pareto_nbd"),
        gates.RECALIBRATED: recalibrated(orders_by("pareto_nbd"), orders_outcome),
        "bg_nbd": orders_by("bg_nbd"),
        "mbg_nbd": orders_by("mbg_nbd"),
        "historic_rate": orders_historic_rate,
    },
    gates.PROFIT: {
        "pareto_nbd": profit_by("pareto_nbd", DEFAULT_METHOD),
        gates.RECALIBRATED: recalibrated(profit_by("pareto_nbd", DEFAULT_METHOD), profit_outcome),
        "pareto_nbd_normal_normal": profit_by("pareto_nbd", CHALLENGER_METHOD),
        gates.CHALLENGER_RECALIBRATED: recalibrated(profit_by("pareto_nbd", CHALLENGER_METHOD), profit_outcome),
        "bg_nbd": profit_by("bg_nbd", DEFAULT_METHOD),
        "discounted": profit_discounted,
        "clv_formula": profit_formula,
        "historic_rate": profit_historic_rate,
    },
}
"""Purpose -> model -> its forecast, in the order in which `model_quality` lists them."""
