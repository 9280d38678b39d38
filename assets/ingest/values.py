"""Texts into values: what a number, a date, a time and a yes look like in the files people deliver. SQL expressions.

The rule is that a text is read in one way or not at all. Numbers may carry grouping marks, a currency, parentheses or a
trailing minus, and full-width digits; dates may be written year first in any usual style; anything whose meaning depends on
where it was written (03/05/2026) needs its `format` in the dialect. What cannot be read is null here, and quarantined by
`compile.py`.

Every expression tries the plain form first, which DuckDB reads a vector at a time. The rest is given the text only where that
failed, and null elsewhere: a branch of a CASE alone would not spare it, because DuckDB takes expressions that occur several
times out of their branches and computes them for every row.
"""

from __future__ import annotations

import duckdb

from assets.ingest.sql import literal

TRUE_TOKENS = ("1", "true", "t", "yes", "y", "是", "√", "on")
FALSE_TOKENS = ("0", "false", "f", "no", "n", "否", "×", "off")
NOTHING = ("-", "--", "—", "–", "－", "n/a", "N/A", "null", "NULL")
"""What people write into a number or a date to say that there is none."""

NO_DATE = (
    *("19000101", "1900-01-01", "1900/1/1", "00000000", "0000-00-00", "0001-01-01", "0001-01-01 00:00:00", "0"),
    *("99991231", "9999-12-31", "9999/12/31", "9999-12-31 00:00:00", "9999-12-31T00:00:00Z"),
)
"""What systems write for no date."""

SPECIAL_FORMATS = ("epoch_ms", "epoch_s", "json_date", "excel", "iso")
"""Formats with a name; every other one is a pattern of strptime."""

FIRST_YEAR, LAST_YEAR = 1901, 2199

LAST_EPOCH = 253_402_300_799_000_000
"""Microseconds to the end of the year 9999."""

_BLANKS = "' ' || chr(9) || chr(160) || chr(12288) || chr(13)"
_FULL_WIDTH = "０１２３４５６７８９．，－＋（）％￥＄　", "0123456789.,-+()%¥$ "
_CURRENCY = r"(?:[¥$€£元]|CNY|RMB|USD|EUR|GBP|HKD|JPY|人民币)"
_GROUP = r"[, \x{a0}\x{202f}\x{27}\x{2019}]"
_GROUP_COMMA = r"[. \x{a0}\x{202f}\x{27}\x{2019}]"

MACROS = (
    # A text without blanks around it, null when nothing is left. Nearly all texts have none: they are only looked at.
    "create or replace temp macro cleaned(t) as case when t < '!' or ends_with(t, ' ') or ends_with(t, chr(9)) "
    "or ends_with(t, chr(160)) or ends_with(t, chr(12288)) or starts_with(t, chr(160)) or starts_with(t, chr(12288)) "
    f"then nullif(trim(t, {_BLANKS}), '') else t end",
    # The same for a file that has no other blanks than spaces.
    "create or replace temp macro trimmed(t) as case when t < '!' or ends_with(t, ' ') then nullif(trim(t), '') else t end",
    "create or replace temp macro half_width(t) as case when strlen(t) <> length(t) "
    f"then translate(t, '{_FULL_WIDTH[0]}', '{_FULL_WIDTH[1]}') else t end",
    # A number without its currency: `-¥ 5.00`, `(CNY 5)` and `5.00元` become `-5.00`, `(5)` and `5.00`.
    "create or replace temp macro without_currency(t) as trim(regexp_replace(regexp_replace(half_width(t), "
    rf"'^([-+(]*)\s*{_CURRENCY}\s*([-+(]*)', '\1\2', 'i'), '\s*{_CURRENCY}\s*([-)]*)$', '\1', 'i'))",
    r"create or replace temp macro number_body(t) as regexp_replace(t, '^\(|\)$|^[-+]|[-+]$', '', 'g')",
    r"create or replace temp macro number_sign(t) as case when regexp_matches(t, '^\(.*\)$') "
    r"then case when regexp_matches(t, '^\([-+]|[-+]\)$') then null else '-' end "
    r"when regexp_matches(t, '^[(].*[^)]$|^[^(].*[)]$|^[-+].*[-+]$') then null "
    r"when regexp_matches(t, '^-|-$') then '-' else '' end",
    "create or replace temp macro point_number(t) as case when regexp_full_match(number_body(t), "
    rf"'(\d{{1,3}}({_GROUP}\d{{3}})+|\d{{1,2}}(,\d{{2}})*,\d{{3}}|\d+)(\.\d*)?|\.\d+') "
    rf"then number_sign(t) || regexp_replace(number_body(t), '{_GROUP}', '', 'g') end",
    "create or replace temp macro comma_number(t) as case when regexp_full_match(number_body(t), "
    rf"'(\d{{1,3}}({_GROUP_COMMA}\d{{3}})+|\d+)(,\d*)?|,\d+') "
    rf"then number_sign(t) || replace(regexp_replace(number_body(t), '{_GROUP_COMMA}', '', "
    "'g'), ',', '.') end",
    # The digits a text stands for, or null when it is no number: with a decimal point, or with a decimal comma.
    "create or replace temp macro plain_number(t) as point_number(without_currency(t))",
    "create or replace temp macro plain_comma_number(t) as comma_number(without_currency(t))",
    # A date or time written year first, in the styles DuckDB does not read itself.
    "create or replace temp macro usual_moment(t) as try_strptime(half_width(t), ['%Y%m%d', '%Y-%m-%d', '%Y/%m/%d', '%Y.%m.%d', "
    "'%Y年%m月%d日', '%Y%m%d%H%M%S', '%Y-%m-%d %H:%M', '%Y/%m/%d %H:%M', '%Y.%m.%d %H:%M:%S', '%Y年%m月%d日 %H:%M', "
    "'%Y年%m月%d日 %H:%M:%S', '%Y年%m月%d日%H:%M:%S'])",
    # An instant (a text with an offset) in UTC; the plain cast would drop the offset unseen.
    "create or replace temp macro has_offset(t) as coalesce(regexp_matches(case when strlen(t) > 16 then t end, "
    r"'\d\d:\d\d.*(?:Z|z|[+-]\d\d:?(?:\d\d)?)$'), false)",
    # No place is further from UTC than 14 hours.
    r"create or replace temp macro instant(t) as case when not regexp_matches(t, '[+-](1[5-9]|[2-9]\d):?(\d\d)?$') "
    r"then timezone('UTC', try_cast(regexp_replace(t, '([+-]\d\d)(\d\d)$', '\1:\2') as timestamptz)) end",
)


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the macros the expressions below are written with."""
    connection.execute("set TimeZone = 'UTC'")
    for macro in MACROS:
        connection.execute(macro)


def tokens(values: tuple[str, ...]) -> str:
    """The values as the inside of an SQL list."""
    return ", ".join(literal(value) for value in values)


def number(text: str, precision: int, decimals: int, decimal_mark: str = ".") -> str:
    """SQL of a decimal.

    Of a text whose number is needed in several places, let `plain` and `written` be columns.
    """
    first = plain(text, decimals, decimal_mark)
    return number_of(first, written(text, first, precision, decimals, decimal_mark), precision, decimals)


def plain(text: str, decimals: int, decimal_mark: str = ".") -> str:
    """SQL of the number a text of digits and a point stands for, null for any other.

    DuckDB reads text into decimals of up to 18 digits some hundred times faster than into wider ones, so the wide cast is
    left to `written`, for the rare number that needs it.
    """
    narrow = f"decimal(18, {decimals})"
    return f"cast(null as {narrow})" if decimal_mark == "," else f"try_cast({text} as {narrow})"


def written(text: str, plain: str, precision: int, decimals: int, decimal_mark: str = ".") -> str:
    """SQL of the number of a text that is not `plain`."""
    macro = "plain_comma_number" if decimal_mark == "," else "plain_number"
    return f"try_cast({macro}(case when {plain} is null then {text} end) as decimal({precision}, {decimals}))"


def number_of(plain: str, written: str, precision: int, decimals: int) -> str:
    """SQL of a decimal, of what `plain` and `written` found."""
    return f"coalesce(cast({plain} as decimal({precision}, {decimals})), {written})"


def integer_of(plain: str, written: str) -> str:
    """SQL of a whole number, of what `plain` and `written` found with four decimals; `3.00` is one, `3.5` is none."""
    return (
        f"(case when {plain} = trunc({plain}) then cast({plain} as bigint) "
        f"when {written} = trunc({written}) then try_cast({written} as bigint) end)"
    )


def ratio(text: str, precision: int, decimals: int, decimal_mark: str = ".") -> str:
    """SQL of a ratio: `5 %` is 0.05."""
    plain = number(text, precision, decimals, decimal_mark)
    percent = f"case when ends_with(half_width({text}), '%') then trim(left(half_width({text}), -1)) end"
    share = number(percent, precision, decimals, decimal_mark)
    return f"coalesce({plain}, cast(cast({share} as double) / 100 as decimal({precision}, {decimals})))"


def boolean(text: str) -> str:
    lowered = f"lower({text})"
    return f"(case when {one_of(lowered, TRUE_TOKENS)} then true when {one_of(lowered, FALSE_TOKENS)} then false end)"


def date(text: str, formats: tuple[str, ...], timezone: str) -> str:
    """SQL of a date: as written, or of an instant the day it was in `timezone`."""
    if not formats:
        # Ten characters hold no offset, and nearly all dates have ten or fewer. A cast that fails is slow, so the eight
        # digits of many systems are not tried as anything else.
        compact = f"case when strlen({text}) = 8 and try_cast({text} as integer) is not null then {text} end"
        short = f"case when strlen({text}) <= 10 and {compact} is null then {text} end"
        long = f"case when strlen({text}) > 10 then {text} end"
        moment = _moment(long, ("iso",), timezone, local=True)
        unread = f"case when try_cast({short} as date) is null and {compact} is null then {text} end"
        value = (
            f"coalesce(cast(try_strptime({compact}, '%Y%m%d') as date), try_cast({short} as date), "
            f"cast({moment} as date), cast(usual_moment({unread}) as date))"
        )
        return f"(case when {_has_no_letter_first(text)} then {value} end)"
    return f"cast({_moment(text, formats, timezone, local=True)} as date)"


def timestamp(text: str, formats: tuple[str, ...], timezone: str) -> str:
    """SQL of a timestamp in UTC; a time without an offset is one of `timezone`."""
    value = f"cast({_moment(text, formats or ('iso', 'usual'), timezone, local=False)} as timestamp)"
    return value if formats else f"(case when {_has_no_letter_first(text)} then {value} end)"


def _has_no_letter_first(text: str) -> str:
    """SQL condition: not one of the words DuckDB has for moments, `epoch` and `infinity`."""
    return f"({text} < 'A' or {text} > 'z')"


def implausible(value: str) -> str:
    """SQL condition: a date or timestamp that cannot be meant, such as those systems write for none."""
    return f"({value} < date '{FIRST_YEAR}-01-01' or {value} >= date '{LAST_YEAR + 1}-01-01')"


def same_word(text: str, words: tuple[str, ...]) -> str:
    """SQL condition: the text is one of the words, in the usual ways of writing them in capitals or not."""
    forms = {form for word in words for form in (word, word.lower(), word.upper(), word.capitalize(), word.title())}
    return f"({' or '.join(f'{text} = {literal(form)}' for form in sorted(forms))})"


def one_of(text: str, words: tuple[str, ...]) -> str:
    """SQL condition: the text is one of the words. DuckDB makes a join of a long `in`, also where it is hardly ever asked."""
    return f"coalesce(list_contains([{tokens(words)}], {text}), false)"


def _moment(text: str, formats: tuple[str, ...], timezone: str, *, local: bool) -> str:
    """SQL of the first of the formats that reads the text: in `timezone` when `local`, else in UTC."""
    written = [name for name in formats if name not in (*SPECIAL_FORMATS, "usual")]
    parts: list[str] = []
    for name in formats:
        if name == "epoch_ms":
            parts.append(_from_instant(_epoch(text, 1_000), timezone, local))
        elif name == "epoch_s":
            parts.append(_from_instant(_epoch(text, 1_000_000), timezone, local))
        elif name == "json_date":
            digits = rf"regexp_extract({text}, '^/Date\((-?\d+)([+-]\d{{4}})?\)/$', 1)"
            count = f"try_cast({digits} as bigint)"
            last = LAST_EPOCH // 1_000
            instant = f"case when {count} between -{last} and {last} then make_timestamp({count} * 1000) end"
            parts.append(_from_instant(instant, timezone, local))
        elif name == "excel":
            # Day 1 is 1900-01-01 and day 60 the leap day that never was: from then on one counts from 1899-12-30.
            days = f"try_cast({text} as decimal(12, 6))"
            seconds = f"cast(round(cast({days} as double) * 86400) as bigint)"
            serial = f"case when {days} between 61 and 109574 then timestamp '1899-12-30' + to_seconds({seconds}) end"
            parts.append(_from_local(serial, timezone, local))
        elif name == "iso":
            with_offset = _from_instant(f"instant(case when has_offset({text}) then {text} end)", timezone, local)
            without = _from_local(f"try_cast({text} as timestamp)", timezone, local)
            parts.append(f"case when has_offset({text}) then {with_offset} else {without} end")
        elif name == "usual":
            unread = f"case when try_cast({text} as timestamp) is null then {text} end"
            parts.append(_from_local(f"usual_moment({unread})", timezone, local))
        elif name == written[0]:
            parts.append(_from_local(f"try_strptime({text}, [{tokens(tuple(written))}])", timezone, local))
    return parts[0] if len(parts) == 1 else f"coalesce({', '.join(parts)})"


def _epoch(text: str, microseconds: int) -> str:
    """SQL of an epoch, null before 1973: a written date such as 20260305 is no epoch."""
    count = f"try_cast({text} as bigint)"
    first, last = 100_000_000_000_000 // microseconds, LAST_EPOCH // microseconds
    return f"case when {count} between {first} and {last} then make_timestamp({count} * {microseconds}) end"


def _from_instant(utc: str, timezone: str, local: bool) -> str:
    """An instant in UTC, as a time of `timezone` when `local`."""
    return f"timezone({literal(timezone)}, timezone('UTC', {utc}))" if local and timezone != "UTC" else utc


def _from_local(written: str, timezone: str, local: bool) -> str:
    """A time of `timezone`, in UTC unless `local`."""
    return written if local or timezone == "UTC" else f"timezone('UTC', timezone({literal(timezone)}, {written}))"
