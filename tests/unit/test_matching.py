"""Suggestions whom to link: what is found, what is not, and the line a person can put into links.csv."""

from __future__ import annotations

import csv
import datetime
import random
import time

import pandas as pd
import pytest

from assets.analytics import matching
from assets.costing.rules import CustomerLink

AS_OF = datetime.date(2026, 6, 30)


def suggest(people, tax_ids=(), suggest_from=0.85):
    """`people`: (customer_id, standing, name); the name's own spelling is its key."""
    customers = pd.DataFrame(
        [
            (customer, standing, None if standing == 0 else "erp", customer, "code" if standing == 0 else "id")
            for customer, standing, _ in people
        ],
        columns=["customer_id", "standing", "source", "source_customer_key", "key_kind"],
    ).drop_duplicates()
    names = pd.DataFrame(
        [(customer, name, name) for customer, _, name in people], columns=["customer_id", "customer_name", "name_key"]
    )
    numbers = pd.DataFrame(list(tax_ids), columns=["customer_id", "tax_id"])
    return matching.suggest(customers, names, numbers, AS_OF, suggest_from=suggest_from)


def pairs(found):
    return list(found[["customer_id", "linked_customer_id", "reason"]].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Harbour Pine Ltd.", "HARBOUR PINE Co., Limited"),
        ("上海云杉科技有限公司", "上海云杉科技股份有限公司"),
        ("Müller & Söhne G.m.b.H.", "müller söhne gmbh & co. kg"),
        ("ＡＢＣ　Ｔｒａｄｉｎｇ　Inc", "Trading ABC"),
    ],
)
def test_names_that_differ_in_the_legal_form_alone(one, other):
    assert pairs(suggest([("K1", 0, one), ("77", 1, other)])) == [("K1", "77", "same name but for the legal form")]


@pytest.mark.parametrize(
    ("one", "other"),
    [("Contoso Pharmaceuticals", "Contosso Pharmaceuticals"), ("苏州东篱建材贸易公司", "苏州东离建材贸易公司")],
)
def test_names_that_are_nearly_the_same(one, other):
    found = suggest([("K1", 0, one), ("77", 2, other)], suggest_from=0.8)
    assert pairs(found) == [("K1", "77", "similar name")]
    assert 0.8 <= found["score"][0] < 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Store 101", "Store 102"),
        ("Contoso", "Fabrikam"),
        ("有限公司", "Ltd."),
        ("北京云杉科技有限公司", "上海东篱建材有限公司"),
    ],
)
def test_names_that_are_not_the_same(one, other):
    assert pairs(suggest([("K1", 0, one), ("77", 1, other)])) == []


def test_the_best_reason_counts_and_two_tax_ids_speak_against_a_likeness():
    people = [("K1", 0, "Acme"), ("K2", 0, "Acme"), ("a", 1, "Acmee GmbH"), ("b", 1, "Acmee")]
    numbers = [("K1", "DE1"), ("K2", "DE1"), ("a", "DE2"), ("b", "DE3")]
    assert pairs(suggest(people, numbers)) == [("K1", "K2", "same tax id, different codes")]
    same_name = [("K1", 0, "Acme"), ("K2", 0, "Acme")]
    assert pairs(suggest(same_name, [("K1", "DE1"), ("K2", "DE2")])) == [("K1", "K2", "same name, different tax ids")]
    assert pairs(suggest(same_name)) == [("K1", "K2", "same name, different codes")]


def test_the_likeness_asked_for_is_the_least_that_is_suggested():
    people = [("K1", 0, "Contoso Pharmaceuticals"), ("77", 1, "Contosso Pharmaceutical")]
    score = suggest(people)["score"][0]
    assert pairs(suggest(people, suggest_from=score)) != []
    assert pairs(suggest(people, suggest_from=score + 0.01)) == []


def test_many_with_one_name_are_each_paired_with_the_best_of_them():
    people = [(f"K{number:03}", 0, "Cash sales") for number in range(200)]
    found = suggest(people)
    assert len(found) == 199
    assert set(found["customer_id"]) == {"K000"}


def test_the_order_of_the_rows_changes_nothing():
    names = ["Acme", "Acme GmbH", "Acmé", "Contoso", "Contosso", "云杉科技", "云杉科技有限公司"]
    people = [(f"C{number}", number % 3, name) for number, name in enumerate(names)]
    expected = suggest(people)
    assert len(expected) >= 3
    for seed in range(5):
        pd.testing.assert_frame_equal(suggest(random.Random(seed).sample(people, len(people))), expected)


def test_the_line_can_be_put_into_links_csv():
    found = suggest([("K1", 0, 'Acme, "the" Ltd'), ('7,"7', 1, 'ACME "the"')])
    line = found["links_csv_line"][0]
    cells = dict(zip(matching.LINK_COLUMNS, next(csv.reader([line])), strict=True))
    link = CustomerLink.model_validate({**{name: cell for name, cell in cells.items() if cell}, "decided_by": "Lee"})
    assert (link.source, link.source_customer_key, link.key_kind, link.customer_id) == ("erp", '7,"7', "id", "K1")
    assert link.valid_from is None
    assert link.reason == "same name but for the legal form (1.00)"


def test_nobody_at_all_is_no_suggestion():
    found = suggest([])
    assert list(found.columns) == list(matching.COLUMNS)
    assert len(found) == 0


@pytest.mark.slow
def test_thirty_thousand_customers_are_not_compared_with_each_other():
    chance = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=7)) for _ in range(3000)]
    people = [(f"C{number:06}", 0, " ".join(chance.sample(words, 3)).title()) for number in range(30_000)]
    planted = [(f"D{number}", 1, people[number * 100][2].replace("e", "é", 1) + " Ltd") for number in range(50)]
    started = time.monotonic()
    found = suggest([*people, *planted])
    assert time.monotonic() - started < 60
    expected = {(f"C{number * 100:06}", f"D{number}") for number in range(50)}
    got = set(found[["customer_id", "linked_customer_id"]].itertuples(index=False, name=None))
    assert len(expected & got) >= 45
