"""What the ledger exports: tables of the AICPA Audit Data Standards."""

from __future__ import annotations

from harbour_pine.profile import ACCOUNTS, COST_CENTERS, FIRST_DAY, LAST_DAY, MONTHS, RETAINED
from harbour_pine.world import World


def render_ledger(world: World) -> None:
    """GL_Detail, Chart_Of_Accounts, Segment01_Listing and Trial_Balance (actual and budget) in ADS spelling."""
    world.con.execute("""
        create table ads_gl as
        select journal as Journal_ID, line::varchar as Journal_ID_Line_Number, header as JE_Header_Description,
            text as JE_Line_Description, source as Source, '1000' as Business_Unit_Code,
                ads_date(day) as Effective_Date,
            year(on_day(day))::varchar as Fiscal_Year, strftime(on_day(day), 'M%m') as Period,
                account as GL_Account_Number,
            yuan(abs(cents)) as Amount, case when cents < 0 then 'C' else
                'D' end as Amount_Credit_Debit_Indicator, 'CNY' as Amount_Currency,
            entered_by as Entered_By, ads_date(day) as Entered_Date, '180000' as Entered_Time,
            coalesce(reversal_indicator, '') as Reversal_Indicator, coalesce(reversal_journal,
                '') as Reversal_Journal_ID,
            coalesce(cost_center, '') as Segment01, coalesce(customer_code, '') as Segment02, seen
        from gl order by seen, day, journal, line
    """)
    accounts = ", ".join(f"('{n}', '{name}', '{kind}', '{sub}')" for n, name, kind, sub in ACCOUNTS)
    world.con.execute(f"""
        create table ads_account as
        select number as GL_Account_Number, name as GL_Account_Name, subtype as FS_Caption,
            kind as Account_Type, subtype as Account_Subtype,
            '' as Parent_GL_Account_Number, {FIRST_DAY} as seen
        from (values {accounts}) as a(number, name, kind, subtype)
    """)
    centers = ", ".join(f"('{code}', '{name}')" for code, name in COST_CENTERS)
    world.con.execute(f"""
        create table ads_segment as
        select code as Segment01_Code, name as Segment01_Name, '' as Segment01_Parent,
            {FIRST_DAY} as seen from (values {centers}) as c(code, name)
    """)
    _render_trial_balance(world)


TRIAL_BALANCE_HEAD = """
    account as GL_Account_Number, '1000' as Business_Unit_Code, fiscal_year::varchar as Fiscal_Year,
        printf('M%02d', period) as Period,
    strftime(last_day(make_date(fiscal_year::int, period::int, 1)), '%Y%m%d') as Balance_As_Of_Date,
    yuan(beginning) as Amount_Beginning, yuan(ending) as Amount_Ending, 'CNY' as Amount_Currency
"""


def _render_trial_balance(world: World) -> None:
    """Balances of each month, once as known on the first day and for May and June again at the end; then the budgets.

    Income and expense accounts begin each year at zero, and
        the year's result goes to retained earnings. Budget rows say
    the budget cumulated over the fiscal year, so that a month's budget is ending less beginning, as with actuals.
    """
    world.con.execute("""
        create table ads_balance (GL_Account_Number text, Business_Unit_Code text, Fiscal_Year text, Period text,
            Balance_As_Of_Date text, Amount_Beginning text, Amount_Ending text, Amount_Currency text, BudgetFlag text,
            Segment01 text, seen int)
    """)
    for known, months in ((FIRST_DAY, range(23)), (LAST_DAY, range(22, 24))):
        wanted = ", ".join(f"date '{MONTHS[m]}'" for m in months)
        world.con.execute(f"""
            insert into ads_balance
            with posted as (
                select account, date_trunc('month', on_day(day))::date as month, sum(cents)::bigint as cents
                from (select distinct on (journal, line) journal, line, account, day,
                    cents from gl where seen <= {known}) group by all
            ),
            moved as (
                select account, month, cents from posted
                union all  -- the result of a year is closed to retained earnings without a voucher, on paper only
                select '{RETAINED}', make_date(year(month)::int + 1, 1, 1), cents from posted
                where account >= '6' and year(month) < year(on_day({known}))
            ),
            grid as (
                select account, unnest([{wanted}]) as month from (select distinct account from moved)
            ),
            balances as (
                select g.account, year(g.month) as fiscal_year, month(g.month) as period,
                    coalesce(sum(m.cents) filter (m.month < g.month), 0)::bigint as beginning,
                    coalesce(sum(m.cents), 0)::bigint as ending
                from grid g left join moved m on m.account = g.account and m.month <= g.month
                    and (g.account < '6' or year(m.month) = year(g.month))
                group by all
            )
            select {TRIAL_BALANCE_HEAD}, 'actual' as BudgetFlag, '' as Segment01, {known} as seen
            from balances order by fiscal_year, period, account
        """)
    world.con.execute(f"""
        insert into ads_balance
        with planned as (
            select account, cost_center, year(on_day(day)) as fiscal_year, month(on_day(day)) as period,
                sum(budget)::bigint as budget
            from expenses group by all
        ),
        cumulated as (
            select *, sum(budget) over (partition by account, cost_center,
                fiscal_year order by period)::bigint as ending,
                ending - budget as beginning
            from planned
        )
        select {TRIAL_BALANCE_HEAD}, 'budget' as BudgetFlag, cost_center as Segment01, {FIRST_DAY} as seen
        from cumulated order by fiscal_year, period, cost_center, account
    """)
