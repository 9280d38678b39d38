"""Who may be one customer under two names: suggestions for a person, who decides by a line in links.csv.

Belongs here: which pairs are suggested, how alike they are and why. Not here: what is matched without asking, which is
exact and stands in dbt_project/models/facts. Nothing here touches money.

How it scales: nobody is compared with everybody. Names meet in blocks (their three rarest words or pairs of Chinese
characters, their first and their last four signs), each block is sorted, and a name is compared with the NEIGHBOURS that
follow it there. That is at most 5 x NEIGHBOURS comparisons per name: 10 million for 100,000 customers, seconds in all.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from rapidfuzz import fuzz, process

NEIGHBOURS = 20
"""Names of a block that a name is compared with."""

BATCH = 500_000
"""Pairs compared at a time."""

LINK_COLUMNS = (
    "source",
    "source_customer_key",
    "key_kind",
    "customer_id",
    "valid_from",
    "valid_to",
    "decided_by",
    "reason",
)
"""The columns of links.csv."""

COLUMNS = (
    "customer_id",
    "as_of_date",
    "suggestion_rank",
    "linked_customer_id",
    "source",
    "source_customer_key",
    "key_kind",
    "score",
    "reason",
    "links_csv_line",
)

LEGAL_FORM = re.compile(
    r"\b(ab|ag|aps|as|asa|bhd|bv|bvba|co|company|corp|corporation|cv|doo|ek|eg|ev|ges|gesellschaft|gmbh|gbr|inc|incorporated"
    r"|kft|kg|kgaa|kk|llc|llp|lp|ltd|limitada|limited|lda|mbh|nv|og|ohg|oy|oyj|plc|pte|pty|pvt|sa|sarl|sas|sdn|se|sl|slu|snc"
    r"|spa|sp|srl|sro|ug|und|zoo)\b"
)

CHINESE_LEGAL_FORM = re.compile("股份有限公司|有限责任公司|责任有限公司|股份公司|有限公司|株式会社|股份|公司|㈱")

WORD = re.compile(r"[^\W_]+")


def core(name: str) -> str:
    """A name as it is compared: folded, without legal form, its words in order of the alphabet."""
    folded = re.sub(r"(?<=\b\w)\.(?=\w\b)", "", unicodedata.normalize("NFKC", name).casefold())  # g.m.b.h. -> gmbh
    words = WORD.findall(CHINESE_LEGAL_FORM.sub(" ", folded))
    kept = [word for word in words if not LEGAL_FORM.fullmatch(word)]
    return " ".join(sorted(kept or words))


def suggest(
    customers: pd.DataFrame, names: pd.DataFrame, tax_ids: pd.DataFrame, as_of: datetime.date, *, suggest_from: float
) -> pd.DataFrame:
    """Pairs that may be one customer, the likeliest first.

    `customers` has one row per customer: customer_id, standing (0 has an account code, 1 has a record, 2 nobody knows
    them) and the key by which a link would name them (source, source_customer_key, key_kind). `names` has customer_id,
    customer_name and name_key (equal for names that are the same but for spelling); `tax_ids` has customer_id and tax_id.

    Of a pair the one who stands better (then the smaller id) is the customer, the other the key to be linked. A pair is
    listed once, for the best reason. Where many share a value, each is paired with the best of them, not with all others.
    """
    order = {
        customer: rank
        for rank, customer in enumerate(customers.sort_values(["standing", "customer_id"])["customer_id"].tolist())
    }
    known_names = names[names["customer_id"].isin(order.keys()) & names["customer_name"].notna()]
    known_tax_ids = tax_ids[tax_ids["customer_id"].isin(order.keys())]
    coded = set(customers.loc[customers["standing"] == 0, "customer_id"])
    numbers: dict[str, set[str]] = {}
    for customer, number in known_tax_ids[["customer_id", "tax_id"]].itertuples(index=False):
        numbers.setdefault(customer, set()).add(number)

    found: dict[tuple[str, str], tuple[float, str]] = {}

    def add(one: str, other: str, score: float, reason: str) -> None:
        customer, linked = sorted((one, other), key=order.__getitem__)
        if customer != linked and found.get((customer, linked), (0.0, ""))[0] < score:
            found[customer, linked] = (score, reason)

    def contradict(one: str, other: str) -> bool:
        return bool(numbers.get(one) and numbers.get(other) and numbers[one].isdisjoint(numbers[other]))

    def both_coded(one: str, other: str) -> bool:
        return one in coded and other in coded

    for one, other in _sharing(known_tax_ids, "tax_id", order):
        add(one, other, 1.0, "same tax id, different codes" if both_coded(one, other) else "same tax id")
    for one, other in _sharing(known_names, "name_key", order):
        if contradict(one, other):
            reason = "same name, different tax ids"
        else:
            reason = "same name, different codes" if both_coded(one, other) else "same name"
        add(one, other, 1.0, reason)
    for one, other, score, is_same in _alike(known_names, order, suggest_from):
        if not contradict(one, other):
            add(one, other, score, "same name but for the legal form" if is_same else "similar name")

    columns = ["source", "source_customer_key", "key_kind"]
    keys: dict[str, tuple[str | None, ...]] = {
        customer: tuple(cell if isinstance(cell, str) else None for cell in cells)
        for customer, *cells in customers[["customer_id", *columns]].itertuples(index=False)
    }
    rows = []
    ranked = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    for rank, ((customer, linked), (score, reason)) in enumerate(ranked, start=1):
        line = _csv_line((*keys[linked], customer, None, None, None, f"{reason} ({score:.2f})"))
        rows.append((customer, as_of, rank, linked, *keys[linked], score, reason, line))
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype="object")


def _sharing(values: pd.DataFrame, column: str, order: dict[str, int]) -> Iterable[tuple[str, str]]:
    """Each customer with a value, with the best customer who has it as well."""
    pairs = values.loc[values[column].notna(), [column, "customer_id"]].drop_duplicates()
    pairs = pairs.assign(rank=pairs["customer_id"].map(order)).sort_values([column, "rank"])
    best = pairs.groupby(column)["customer_id"].transform("first")
    several = pairs["customer_id"] != best
    return zip(best[several], pairs.loc[several, "customer_id"], strict=True)


def _alike(names: pd.DataFrame, order: dict[str, int], suggest_from: float) -> Iterable[tuple[str, str, float, bool]]:
    """Pairs of customers whose names are alike, with their likeness and whether only the legal form differs."""
    cores = names[["customer_id"]].assign(core=names["customer_name"].map(core))
    cores = cores[cores["core"] != ""].drop_duplicates()
    yield from ((one, other, 1.0, True) for one, other in _sharing(cores, "core", order))

    texts = sorted(set(cores["core"]))
    owners = (
        cores.assign(rank=cores["customer_id"].map(order)).sort_values("rank").groupby("core")["customer_id"].first()
    )
    left, right = _candidates(texts)
    for start in range(0, len(left), BATCH):
        ones = [texts[index] for index in left[start : start + BATCH]]
        others = [texts[index] for index in right[start : start + BATCH]]
        scores = process.cpdist(ones, others, scorer=fuzz.ratio, score_cutoff=100 * suggest_from, workers=1)
        for index in np.flatnonzero(scores):
            one, other = ones[index], others[index]
            # Where only a number differs, the number is what tells them apart.
            if re.findall(r"\d+", one) == re.findall(r"\d+", other):
                yield owners[one], owners[other], min(round(float(scores[index]) / 100, 4), 0.9999), False


def _candidates(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Positions of names to compare: those that follow each other in a block."""
    features = [_features(text) for text in texts]
    frequency = Counter(feature for row in features for feature in row)
    entries = []
    for position, (text, row) in enumerate(zip(texts, features, strict=True)):
        rarest = sorted((frequency[feature], feature) for feature in row if frequency[feature] > 1)[:3]
        entries += [(f"w{feature}", position) for _, feature in rarest]
        entries += [(f"a{text[:4]}", position), (f"z{text[-4:]}", position)]
    entries.sort()
    _, blocks = np.unique(np.array([block for block, _ in entries], dtype=object).astype(str), return_inverse=True)
    positions = np.array([position for _, position in entries], dtype=np.int64)
    pairs = []
    for distance in range(1, min(NEIGHBOURS, len(positions) - 1) + 1):
        together = blocks[:-distance] == blocks[distance:]
        one, other = positions[:-distance][together], positions[distance:][together]
        pairs.append(np.minimum(one, other) * len(texts) + np.maximum(one, other))
    distinct = np.unique(np.concatenate(pairs)) if pairs else np.array([], dtype=np.int64)
    left, right = np.divmod(distinct, max(len(texts), 1))
    return left[left != right], right[left != right]


def _features(text: str) -> set[str]:
    """Words; of a word in Chinese characters, which has no blanks, every two neighbours."""
    found = set()
    for word in text.split():
        if word.isascii() or len(word) < 3:
            found.add(word)
        else:
            found.update(word[index : index + 2] for index in range(len(word) - 1))
    return found


def _csv_line(cells: Iterable[str | None]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(cells)
    return written.getvalue()
