"""The jobs of the launchpad: every field typed and explained, the same as the command's, and errors for a person."""

import typing

import dagster as dg
import pytest

from assets.costing import scenario
from assets.errors import WhalecurveError
from pipelines import launchpad
from pipelines.definitions import defs

CONFIGS = (
    *(launchpad.AsKnownThen, launchpad.RestatedMonths),
    *(launchpad.WhatIf, launchpad.RuleChange, launchpad.PriceChange),
)


def test_every_job_and_every_field_says_what_it_is():
    for job in launchpad.JOBS:
        assert defs.resolve_job_def(job.name).description
    for config in CONFIGS:
        assert issubclass(config, dg.Config)
        for name, field in config.model_fields.items():
            assert field.description, f"{config.__name__}.{name}"


@pytest.mark.parametrize(
    ("config", "model"),
    [
        (launchpad.WhatIf, scenario.Scenario),
        (launchpad.RuleChange, scenario.RuleChange),
        (launchpad.PriceChange, scenario.PriceChange),
    ],
)
def test_a_launchpad_has_what_the_scenario_has(config, model):
    assert set(config.model_fields) == set(model.model_fields)
    for name, field in config.model_fields.items():
        assert field.is_required() == model.model_fields[name].is_required(), name


def test_what_is_filled_in_becomes_the_scenario_of_a_file():
    config = launchpad.WhatIf(
        name="asked",
        rules=[launchpad.RuleChange(file="pools.csv", where={"pool_id": "it"}, set={"driver_id": "seats"})],
        prices=[launchpad.PriceChange(percent=2.1, customer="C1")],
    )
    made = launchpad.asked(config)
    assert made == scenario.Scenario.model_validate(
        {
            "name": "asked",
            "rules": [{"file": "pools.csv", "where": {"pool_id": "it"}, "set": {"driver_id": "seats"}}],
            "prices": [{"percent": "2.1", "customer": "C1"}],
        }
    )
    with pytest.raises(WhalecurveError, match=r"launchpad: key 'prices\.0\.percent'"):
        launchpad.asked(launchpad.WhatIf(name="asked", prices=[launchpad.PriceChange(percent=-100)]))


@pytest.mark.parametrize(("parse", "text"), [("_date", "2026-6-1"), ("_month", "2026-05-01"), ("_month", "May")])
def test_a_date_that_is_none_is_refused_in_words(parse, text):
    with pytest.raises(WhalecurveError, match=f"'{text}' is not a (date|month) such as"):
        getattr(launchpad, parse)(text)


def test_the_jobs_wait_for_the_data_folder_themselves():
    """A job that held it while it begins would wait for itself: the function it calls takes it."""
    for job in launchpad.JOBS:
        assert defs.resolve_job_def(job.name).executor_def is dg.in_process_executor
    assert typing.cast("str", defs.resolve_job_def("daily_run").executor_def.name) == "one_writer"
