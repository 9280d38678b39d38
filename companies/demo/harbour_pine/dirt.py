"""Making the rendered tables as imperfect as real deliveries, in known numbers."""

from __future__ import annotations

from collections.abc import Sequence

from harbour_pine.profile import DIRT, FIRST_DAY
from harbour_pine.world import World


def soil(world: World) -> None:
    """Make the rendered tables as imperfect as deliveries are, in known numbers. No amount that must tie is touched."""
    _duplicate_rows(world)
    _correct_records(world)
    _delete_records(world)
    _void_invoices(world)
    _break_values(world)
    world.dirt["customers_unknown_to_crm"] = int(world.value(
        "select count(distinct d.customer) from documents d join customers c using (customer) where c.kind = 'unknown'"
    ))  # fmt: skip


def _chosen(world: World, purpose: str, sql: str, count: int) -> list[str]:
    """`count` of the keys a query gives, drawn by the seed."""
    keys = [row[0] for row in world.con.execute(sql).fetchall()]
    picked = world.rng("dirt " + purpose).permutation(len(keys))[:count]
    return [keys[i] for i in sorted(picked)]


def _redeliver(
    world: World, table: str, key: str, keys: Sequence[str], day: int, changes: dict[str, str], spread: int = 1
) -> int:
    """Deliver the latest version of each record again, changed, on one of the `spread` days from `day`; count them."""
    for position, record in enumerate(keys):
        seen = day + position % spread
        changed = {**changes, "seen": "{seen}"}
        select = (
            "* replace ("
            + ", ".join(f"{value} as {column}" for column, value in changed.items()).replace("{seen}", str(seen))
            + ")"
        )
        world.con.execute(
            f"insert into {table} select {select} from {table} where {key} = ? and seen <= {seen} "
            "order by seen desc, rowid desc limit 1",
            [record],
        )
    return len(keys)


def _duplicate_rows(world: World) -> None:
    """Rows that stand twice in the first extract, byte for byte."""
    count = 0
    for table, key in (
        ("billing_line", "单据编号 || 行号"),
        ("sf_task", "Id"),
        ("ads_gl", "Journal_ID || Journal_ID_Line_Number"),
    ):
        keys = _chosen(
            world, table, f"select {key} from {table} where seen = {FIRST_DAY} order by rowid", DIRT["duplicate_rows"]
        )
        world.con.execute(
            f"insert into {table} select * from {table} where {key} in (select unnest(?)) and seen = {FIRST_DAY} "
            "order by rowid",
            [keys],
        )
        count += len(keys)
    world.dirt["duplicate_rows"] = count


def _correct_records(world: World) -> None:
    """Records of the first extract that a later delivery says differently; names and words, never amounts."""
    sf = _chosen(
        world,
        "accounts sf",
        f"select Id from sf_account where seen = {FIRST_DAY} order by rowid",
        DIRT["corrected_accounts"],
    )
    fx = _chosen(
        world,
        "accounts fx",
        f"select _id from fx_account where seen = {FIRST_DAY} order by rowid",
        DIRT["corrected_accounts"],
    )
    stamp = "utc({seen}, 600)"
    corrected = _redeliver(
        world,
        "sf_account",
        "Id",
        sf,
        FIRST_DAY + 2,
        {"Industry": "'Logistics'", "LastModifiedDate": stamp, "SystemModstamp": stamp},
        24,
    )
    corrected += _redeliver(
        world,
        "fx_account",
        "_id",
        fx,
        FIRST_DAY + 2,
        {"industry_level1": "'6'", "industry_level1__r": "'物流'", "last_modified_time": "epoch_at({seen}, 600)"},
        24,
    )
    world.dirt["corrected_accounts"] = corrected
    lines = _chosen(
        world,
        "lines",
        f"select 单据编号 || '/' || 行号 from billing_line where seen = {FIRST_DAY} order by rowid",
        DIRT["corrected_lines"],
    )
    changes = {"摘要": "摘要 || '（更正）'", "修改时间": "local_time({seen}, 700)"}
    world.dirt["corrected_lines"] = _redeliver(
        world, "billing_line", "单据编号 || '/' || 行号", lines, FIRST_DAY + 5, changes, 4
    )
    paid = _chosen(
        world,
        "invoices",
        f"select 单据编号 from billing_invoice where seen = {FIRST_DAY} and 状态 = '已收款' order by rowid",
        DIRT["corrected_invoices"],
    )
    changes = {"销售渠道": "'EDI'", "修改时间": "local_time({seen}, 700)"}
    world.dirt["corrected_invoices"] = _redeliver(world, "billing_invoice", "单据编号", paid, FIRST_DAY + 9, changes, 3)
    repriced = _chosen(world, "products", "select 产品编码 from billing_product order by rowid", 5)
    changes = {"目录价": "cast(cast(目录价 as decimal(18, 2)) + 5 as varchar)", "修改时间": "local_time({seen}, 540)"}
    world.dirt["repriced_products"] = _redeliver(world, "billing_product", "产品编码", repriced, FIRST_DAY + 1, changes)


def _delete_records(world: World) -> None:
    """Accounts with past sales and closed cases deleted late in June: IsDeleted = 1, or life_status = invalid."""
    sf_changes = {"IsDeleted": "'1'", "LastModifiedDate": "utc({seen}, 900)", "SystemModstamp": "utc({seen}, 900)"}
    fx_changes = {"life_status": "'invalid'", "last_modified_time": "epoch_at({seen}, 900)"}
    for what, column, code, limit in (
        ("account", "Id", "AccountNumber", "deleted_accounts"),
        ("case", "Id", "CaseNumber", "deleted_cases"),
    ):
        fx_code = "account_no" if what == "account" else "name"
        sold = "{0} in (select customer_code from documents)" if what == "account" else "{0} is not null"
        sf = _chosen(
            world,
            f"delete sf {what}",
            f"select {column} from sf_{what} where seen = {FIRST_DAY} and {sold.format(code)} order by rowid",
            DIRT[limit],
        )
        fx = _chosen(
            world,
            f"delete fx {what}",
            f"select _id from fx_{what} where seen = {FIRST_DAY} and {sold.format(fx_code)} order by rowid",
            DIRT[limit],
        )
        world.dirt[limit] = _redeliver(world, f"sf_{what}", "Id", sf, FIRST_DAY + 26, sf_changes) + _redeliver(
            world, f"fx_{what}", "_id", fx, FIRST_DAY + 26, fx_changes
        )


def _void_invoices(world: World) -> None:
    """Invoices keyed in twice and voided before they were posted: delivered with their lines, and in no ledger."""
    chosen = _chosen(
        world,
        "void",
        "select id from documents where original < 0 and lines <= 6 order by number",
        DIRT["void_invoices"],
    )
    number = "'FP' || substr(单据编号, 3, 4) || '9' || substr(单据编号, 8)"
    first_version = "qualify row_number() over (partition by 单据编号 order by seen, rowid) = 1"
    world.con.execute(
        f"insert into billing_invoice select * replace ({number} as 单据编号, '已作废' as 状态) from billing_invoice "
        f"where 单据编号 in (select unnest(?)) {first_version} order by 单据编号",
        [chosen],
    )
    world.con.execute(
        f"insert into billing_line select * replace ({number} as 单据编号) from billing_line "
        "where 单据编号 in (select unnest(?)) "
        "qualify row_number() over (partition by 单据编号, 行号 order by seen, rowid) = 1 order by 单据编号, 行号::int",
        [chosen],
    )
    world.dirt["void_invoices"] = len(chosen)


def _break_values(world: World) -> None:
    """Values no reader can take. What is mended comes again, right, the next day; so do the records to be cut off."""
    first = f"seen = {FIRST_DAY}"
    mended = 0
    for table, key, column, bad in (
        ("billing_application", "核销单号", "核销日期", "'2026-02-30'"),
        ("sf_opportunity", "Id", "Amount", "'to be agreed'"),
    ):
        keys = _chosen(world, table, f"select {key} from {table} where {first} order by rowid", 1)
        mended += _redeliver(world, table, key, keys, FIRST_DAY + 1, {})
        world.con.execute(f"update {table} set {column} = {bad} where {key} in (select unnest(?)) and {first}", [keys])
    mended += _break_an_update(world)
    for table, key in CUT_OFF:
        mended += _redeliver(world, table, key, record_to_cut(world, table, key), FIRST_DAY + 1, {})
    world.dirt["unreadable_rows_mended"] = mended
    odd = _chosen(world, "options", f"select _id from fx_record where {first} order by rowid", DIRT["unknown_options"])
    world.con.execute(
        "update fx_record set active_record_type = '7', active_record_type__r = '直播互动' "
        f"where _id in (select unnest(?)) and {first}",
        [odd],
    )
    world.dirt["unknown_options"] = len(odd)
    broken = _chosen(world, "breaks", f"select Id from sf_case where {first} order by rowid", DIRT["line_breaks"])
    world.con.execute(
        "update sf_case set Description = 'Pallet arrived damaged.' || chr(10) || 'Asked for a \"new\" one, today.' "
        f"where Id in (select unnest(?)) and {first}",
        [broken],
    )
    world.dirt["line_breaks"] = len(broken)


def _break_an_update(world: World) -> int:
    """An invoice whose update "paid" comes with an impossible date: its former version stands until the next day."""
    keys = _chosen(world, "update",
        f"""select u.单据编号 from billing_invoice u
            join billing_invoice f on f.单据编号 = u.单据编号 and f.seen < u.seen
        where u.seen between {FIRST_DAY + 14} and {FIRST_DAY + 20} and u.状态 = '已收款' order by u.rowid""",
            1)  # fmt: skip
    for key in keys:
        day = world.value(f"select max(seen) from billing_invoice where 单据编号 = '{key}'")
        _redeliver(world, "billing_invoice", "单据编号", [key], day + 1, {})
        world.con.execute(
            f"update billing_invoice set 开票日期 = '2026-06-31' where 单据编号 = '{key}' and seen = {day}"
        )
    return len(keys)


CUT_OFF = (("sf_case", "Id"), ("fx_case", "_id"))
"""Tables of which one row of the first extract is cut off in the middle of the line."""


def record_to_cut(world: World, table: str, key: str) -> list[str]:
    return _chosen(world, "cut " + table, f"select {key} from {table} where seen = {FIRST_DAY} order by rowid", 1)
