"""The reference of the dialect language names everything the language has."""

import re

from command import PROJECT
from pydantic import BaseModel

from assets.ingest import dialect
from assets.ingest.values import SPECIAL_FORMATS

REFERENCE = (PROJECT / "assets" / "ingest" / "dialects" / "README.md").read_text(encoding="utf-8")


def _keys() -> set[str]:
    models = [value for value in vars(dialect).values() if isinstance(value, type) and issubclass(value, BaseModel)]
    return {
        field.alias or name
        for model in models
        if model.__module__ == dialect.__name__
        for name, field in model.model_fields.items()
    }


def test_every_key_is_explained():
    keys = _keys()
    assert {"from", "restates", "natural_sign", "is", "header_has"} <= keys
    code = " ".join(re.findall(r"```yaml.*?```|`[^`]+`", REFERENCE, flags=re.DOTALL))
    missing = sorted(key for key in keys if not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", code))
    assert not missing


def test_every_named_format_is_explained():
    assert all(f"`{name}`" in REFERENCE for name in SPECIAL_FORMATS)


def test_its_examples_are_dialects(tmp_path):
    example = re.findall(r"```yaml\n(dialect:.*?)```", REFERENCE, flags=re.DOTALL)[0]
    (tmp_path / "dialects").mkdir()
    (tmp_path / "dialects" / "my_billing.yml").write_text(example, encoding="utf-8")
    loaded = dialect.load_dialect("my_billing", tmp_path)
    assert loaded.entities["payment"][0].columns["payment_id"].source == ("No.", "单据编号")
