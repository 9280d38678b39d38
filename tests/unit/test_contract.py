"""What readers rely on changes only with a new version."""

import pytest

from assets.publish import contract

OLD = {
    "t": {"key": ["id"], "columns": {"id": "BIGINT", "amount": "DECIMAL(22,2)"}},
    "u": {"key": [], "columns": {"x": "DATE"}},
}


def new(**tables):
    return OLD | tables


@pytest.mark.parametrize(
    ("changed", "said", "version"),
    [
        (OLD, [], "1.4"),
        (new(v={"key": [], "columns": {}}), ["v is new"], "1.5"),
        (new(t=OLD["t"] | {"columns": OLD["t"]["columns"] | {"more": "DATE"}}), ["t column more is new"], "1.5"),
        (new(t=OLD["t"] | {"columns": dict(reversed(OLD["t"]["columns"].items()))}), [], "1.4"),
        ({"t": OLD["t"]}, ["u is gone"], "2.0"),
        (new(u={"key": [], "columns": {}}), ["u column x is gone"], "2.0"),
        (new(u={"key": [], "columns": {"x": "VARCHAR"}}), ["u column x was DATE and is VARCHAR"], "2.0"),
        (new(t=OLD["t"] | {"key": ["id", "amount"]}), ["t the key was id and is id, amount"], "2.0"),
    ],
)
def test_what_may_break_a_reader_raises_the_first_number(changed, said, version):
    found = contract.changes(OLD, changed)
    assert [f"{each.table} {each.what}" for each in found] == said
    assert contract.next_version("1.4", found) == version
