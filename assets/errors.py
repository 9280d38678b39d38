"""The errors a person is meant to read. Anything else that is raised is a defect of Whalecurve."""

from __future__ import annotations


class WhalecurveError(Exception):
    """Something a person can act on: the message says what, where, why and what to do.

    The command prints the message without a traceback and exits with 1; in the Dagster UI it is the failure's description.
    """


class ConfigurationError(WhalecurveError):
    """A company folder, a dialect or a costing rule is not usable. Names the file and the key, and the reason."""


class DeliveryError(WhalecurveError):
    """What was delivered cannot be read as the dialect says. Names the source, the date and the file."""


class GateClosed(WhalecurveError):
    """A release was refused. Names the checks that said no."""
