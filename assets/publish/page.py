"""What the pages people read have in common: language, look, and how a value becomes text.

Belongs here: labels, stylesheet, filters, and reading rows. Not here: what a page holds (`report`, `customer_page`). A page
refers to nothing outside itself, runs no script and says nothing of its making: same tables, same page. Every value is
escaped by the template engine.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.publish import numbers

if TYPE_CHECKING:
    import duckdb

HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")

Row = dict[str, Any]


@functools.cache
def all_labels() -> Mapping[str, Row]:
    """Language -> name -> text, as `labels.yml` has them."""
    import yaml

    loaded: Mapping[str, Row] = yaml.safe_load((HERE / "labels.yml").read_text(encoding="utf-8"))
    return loaded


def labels_of(language: str) -> Row:
    """The texts of a language. Raises ValueError naming those there are."""
    languages = all_labels()
    if language not in languages:
        raise ValueError(f"There are no texts in the language {language!r}; there are {', '.join(sorted(languages))}.")
    return languages[language]


def render_page(template: str, language: str, values: Row) -> str:
    """A page of this folder from a template and its values; `t` are the texts of the language, `css` the stylesheet."""
    import jinja2
    from markupsafe import Markup

    labels = labels_of(language)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = (
        "money",
        "cents",
        "signed",
        "count",
        "percent",
        "signed_percent",
        "share",
        "decimal",
        "reached",
        "in_unit",
    )
    environment.filters |= {name: getattr(numbers, name) for name in written}
    environment.filters["code"] = lambda value: labels["codes"].get(value, value or "")
    css = Markup((HERE / "report.css").read_text(encoding="utf-8"))
    page = environment.get_template(template).render(language=language, t=labels, css=css, **values)
    return page


def rows(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """The rows of a query, each by its column names."""
    result = connection.execute(query, list(parameters))
    names = [description[0] for description in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
