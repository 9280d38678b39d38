"""What the billing system exports: tables with Chinese headers."""

from __future__ import annotations

from harbour_pine.profile import FAMILIES, FIRST_DAY
from harbour_pine.rendering import VERSIONS, sql_list, versions
from harbour_pine.world import World


def render_billing(world: World) -> None:
    """Invoices, lines, payments, applications, products as the billing system exports them."""
    paid = "(v.is_changed and d.pay_day >= 0)"
    world.con.execute(f"""
        create table billing_invoice as
        select d.id as 单据编号, d.printed_number as 发票号码,
            case when d.original < 0 then '发票' else '红字发票' end as 单据类型,
            coalesce(o.id, '') as 原单据编号, d.customer_code as 客户编码, d.order_id as 订单号,
            billing_date(d.day) as 开票日期, billing_date(d.due) as 到期日,
            yuan_grouped(d.net) as 不含税金额, yuan_grouped(d.tax) as 税额, yuan_grouped(d.gross) as 价税合计,
            '人民币' as 币别,
            case when {paid} then '已收款' else '已开票' end as 状态,
            pick(['业务员', '电话', '线上商城', 'EDI'], d.channel) as 销售渠道,
            case when {paid} then local_time(d.pay_day, d.minute + 5) else local_time(d.day, d.minute) end as 修改时间,
            case when {paid} then greatest(d.pay_day, d.seen) else d.seen end::int as seen
        from documents d left join documents o on o.document = d.original
        cross join {VERSIONS}
        where {versions("d.day", "d.pay_day")}
        order by seen, d.number
    """)
    world.con.execute("""
        create table billing_line as
        select d.id as 单据编号, l.line::varchar as 行号, p.code as 产品编码, p.name as 摘要,
            l.quantity::varchar as 数量,
            yuan(l.price) as 单价,
            yuan(l.discount) as 折扣额, yuan(l.net) as 不含税金额, yuan(l.tax) as 税额, yuan(l.cost) as 成本金额,
            local_time(d.day, d.minute) as 修改时间, d.seen::int as seen
        from lines l join documents d on d.document = l.document join products p on p.product = l.product
        order by d.seen, d.number, l.line
    """)
    world.con.execute(f"""
        create table billing_payment as
        select id as 回款单号, customer_code as 客户编码, billing_date(day) as 回款日期,
            yuan_grouped(amount) as 金额, '人民币' as 币别,
            case when amount > 5000000 then '电汇' else '网银' end as 结算方式, '2' || printf('%011d',
                row_number() over ()) as 银行流水号,
            local_time(day, minute) as 修改时间, greatest(day, {FIRST_DAY})::int as seen
        from payments order by day, id
    """)
    world.con.execute(f"""
        create table billing_application as
        select id as 核销单号, payment_id as 回款单号, document_id as 单据编号,
            billing_date(day) as 核销日期, yuan(amount) as 核销金额,
            local_time(day, minute + 1) as 修改时间, greatest(day, {FIRST_DAY})::int as seen
        from applications order by day, id
    """)
    families = sql_list(f[0] for f in FAMILIES), sql_list(f[1] for f in FAMILIES)
    world.con.execute(f"""
        create table billing_product as
        select code as 产品编码, name as 产品名称,
            {families[1]}[list_position({families[0]}, family)] as 产品类别, '件' as 单位,
            yuan(price) as 目录价, yuan(cost) as 标准成本, local_time(0, 540) as 修改时间, {FIRST_DAY} as seen
        from products order by product
    """)
