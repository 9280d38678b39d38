"""The YAML files people write: every scalar stays as written, and nothing is overwritten or dropped unseen."""

from __future__ import annotations

import pytest

from assets.errors import ConfigurationError
from assets.ingest.dialect import load_dialect
from assets.yaml_files import read_yaml


@pytest.fixture
def written(tmp_path):
    def _written(text, name="company.yml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return _written


@pytest.mark.parametrize(
    "scalar", ["on", "off", "NO", "yes", "0123", "12:30", "2026-03-05", "1_000", "1e3", "null", "~", "0x1F", "是", ".5"]
)
def test_a_scalar_stays_the_text_it_was_written_as(written, scalar):
    path = written(f"{scalar}: {scalar}\nlist: [{scalar}]\nmap: {{from: {scalar}}}\n")
    assert read_yaml(path) == {scalar: scalar, "list": [scalar], "map": {"from": scalar}}


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", 3),
        ("entities:\n  payment:\n    files: x\n    files: y\n", "files", 4),
        ("columns: {amount: a, amount: b}\n", "amount", 1),
        ("map:\n  赢单: won\n  赢单: lost\n", "赢单", 3),
        ('map:\n  "1": won\n  1: lost\n', "1", 3),
    ],
)
def test_a_key_given_twice_is_an_error_with_file_and_line(written, text, key, line):
    with pytest.raises(ConfigurationError, match=rf"company\.yml, line {line}: the key '{key}' is given twice"):
        read_yaml(written(text))


def test_what_is_no_mapping_or_no_yaml_is_an_error_with_the_file(written):
    for text, reason in (("- a\n- b\n", "holds list"), ("a: [1\n", "line 2"), ("", "holds NoneType")):
        with pytest.raises(ConfigurationError, match=rf"company\.yml.*{reason}"):
            read_yaml(written(text))
    path = written("a: 1\n")
    path.write_bytes("名: 1".encode("gb18030"))
    with pytest.raises(ConfigurationError, match=r"company\.yml is not UTF-8 \(byte 0\)"):
        read_yaml(path)


DIALECT = """\
dialect: mine
entities:
  payment:
    files: "*.csv"
    deleted: {from: on, in: [NO]}
    columns:
      payment_id: {from: "0123", null_if: NO}
      payment_date: {from: 2026-03-05}
      amount: {from: 12:30}
      currency_code: {from: 币种, map: {NO: NOK, on: XTS}}
"""


def test_a_dialect_keeps_its_labels_and_values_as_written(written, tmp_path):
    written(DIALECT, "dialects/mine.yml")
    [payment] = load_dialect("mine", tmp_path).entities["payment"]
    assert [payment.columns[name].source for name in ("payment_id", "payment_date", "amount")] == [
        ("0123",),
        ("2026-03-05",),
        ("12:30",),
    ]
    assert payment.columns["payment_id"].null_if == ("NO",)
    assert payment.columns["currency_code"].map == {"NO": "NOK", "on": "XTS"}
    [deleted] = payment.deleted
    assert (deleted.source, deleted.among) == (("on",), ("NO",))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", r"payment: the contract requires amount; bind them"),
        ("      amount: {form: 12:30}", r"columns\.amount\.form': is not a key known here"),
        ("      amount: {from: a, value: b}", r"give exactly one of from, sql, value"),
        ("      amuont: {from: a}", r"payment: not columns of the contract: amuont"),
        ("      payment_id: {from: twice}", r"line 9: the key 'payment_id' is given twice"),
    ],
)
def test_a_dialect_with_a_mistake_is_refused_with_file_and_key(written, tmp_path, wrong, said):
    written(DIALECT.replace("      amount: {from: 12:30}", wrong), "dialects/mine.yml")
    with pytest.raises(ConfigurationError, match=said):
        load_dialect("mine", tmp_path)
