"""What each customer is worth: pure functions from per-customer histories to scores as of one date.

Belongs here: functions that take frames and an as-of date and see nothing after it. Not here: reading or writing the
warehouse, Dagster, and anything that needs a clock.
"""
