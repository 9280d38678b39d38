with

company as (

    select * from {{ source('rules', 'company') }}

),

ledger_lines as (

    select * from {{ ref('fct_ledger') }}

),

trial_balances as (

    select * from {{ ref('stg_trial_balances') }}

),

-- A chart of accounts delivered by another source describes the account where its own source does not.
accounts as (

    select
        gl_account_number,
        min(account_type) as account_type

    from {{ ref('stg_gl_accounts') }}

    group by gl_account_number

),

parent_accounts as (

    select distinct parent_gl_account_number as gl_account_number
    from {{ ref('stg_gl_accounts') }}
    where parent_gl_account_number is not null

),

-- A ledger that names no period is taken by calendar month.
gl_entries as (

    select
        delivered.*,
        {{ month_of('delivered.effective_date') }} as month,
        case
            when delivered.period_number is null then year(delivered.effective_date)
            else coalesce(delivered.fiscal_year, year(delivered.effective_date))
        end as entry_year,
        case
            when delivered.fiscal_year is null then month(delivered.effective_date)
            else coalesce(delivered.period_number, month(delivered.effective_date))
        end as entry_period,
        coalesce(nullif(delivered.functional_currency_code, ''), company.base_currency)
            as functional_currency

    from {{ ref('stg_gl_entries') }} as delivered
    cross join company

),

-- Voucher balance. Head counts and square metres are posted on one side only.

unbalanced_vouchers as (

    select
        gl_entries.source_instance,
        gl_entries.legal_entity_id,
        gl_entries.journal_id,
        max(gl_entries.journal_number) as journal_number,
        min(gl_entries.effective_date) as voucher_date,
        sum(case when gl_entries.functional_amount > 0 then gl_entries.functional_amount else 0 end)
            as debits,
        sum(case when gl_entries.functional_amount < 0 then -gl_entries.functional_amount else 0 end)
            as credits

    from gl_entries
    left join accounts
        on gl_entries.gl_account_number = accounts.gl_account_number

    where coalesce(accounts.account_type, '') != 'statistical'

    group by gl_entries.source_instance, gl_entries.legal_entity_id, gl_entries.journal_id

    having sum(gl_entries.functional_amount) != 0

),

first_lines as (

    select
        unbalanced_vouchers.*,
        gl_entries.source_file,
        gl_entries.source_row,
        {{ month_of('unbalanced_vouchers.voucher_date') }} as month

    from unbalanced_vouchers
    inner join gl_entries
        on
            unbalanced_vouchers.source_instance = gl_entries.source_instance
            and unbalanced_vouchers.journal_id = gl_entries.journal_id
            and unbalanced_vouchers.legal_entity_id is not distinct from gl_entries.legal_entity_id

    qualify row_number() over (
        partition by
            unbalanced_vouchers.source_instance,
            unbalanced_vouchers.legal_entity_id,
            unbalanced_vouchers.journal_id
        order by gl_entries.source_file asc, gl_entries.source_row asc
    ) = 1

),

voucher_balance as (

    select
        'voucher_balance' as check_name,
        month,
        source_instance,
        source_file,
        source_row,
        journal_id,
        cast(null as string) as gl_account_number,
        debits as expected_amount,
        credits as found_amount,
        debits - credits as difference,
        source_instance || ': voucher ' || coalesce(journal_number, journal_id)
        || coalesce(' of ' || legal_entity_id, '') || ' of ' || cast(voucher_date as string)
        || ' does not balance: debits ' || {{ amount_text('debits') | indent(8) }}
        || ', credits ' || {{ amount_text('credits') | indent(8) }}
        || ', difference ' || {{ amount_text('(debits - credits)') | indent(8) }}
        || ' (' || {{ place_text('source_file', 'source_row') }} || ').' as explanation

    from first_lines

),

-- Trial balance: what each account moved by in a period, according to the trial balance and to the entries.

trial_balance_movements as (

    select
        source_instance,
        gl_account_number,
        fiscal_year,
        period_number,
        case
            when coalesce(period_debit, period_credit) is not null
                then coalesce(period_debit, 0) - coalesce(period_credit, 0)
            else amount_ending - amount_beginning
        end as movement,
        source_file,
        source_row

    from trial_balances

),

-- Balances that do not open at zero have last year's result still outside equity, where it is carried without an entry.
trial_balance_periods as (

    select
        source_instance,
        fiscal_year,
        period_number,
        max(extract_date) as drawn_on,
        coalesce(-sum(amount_beginning), 0) as carried_forward

    from trial_balances

    group by source_instance, fiscal_year, period_number

),

ledger_sources as (

    select distinct source_instance from gl_entries

),

entry_movements as (

    select
        gl_entries.source_instance,
        gl_entries.gl_account_number,
        gl_entries.entry_year as fiscal_year,
        gl_entries.entry_period as period_number,
        sum(gl_entries.functional_amount) as movement,
        sum(
            case
                when gl_entries.extract_date <= trial_balance_periods.drawn_on
                    then gl_entries.functional_amount
                else 0
            end
        ) as movement_when_drawn,
        min(gl_entries.month) as month

    from gl_entries
    inner join trial_balance_periods
        on
            gl_entries.source_instance = trial_balance_periods.source_instance
            and gl_entries.entry_year = trial_balance_periods.fiscal_year
            and gl_entries.entry_period = trial_balance_periods.period_number

    group by
        gl_entries.source_instance,
        gl_entries.gl_account_number,
        gl_entries.entry_year,
        gl_entries.entry_period

),

period_months as (

    select
        trial_balance_periods.source_instance,
        trial_balance_periods.fiscal_year,
        trial_balance_periods.period_number,
        trial_balance_periods.drawn_on,
        trial_balance_periods.carried_forward,
        coalesce(
            min(entry_movements.month),
            cast(
                make_date(
                    cast(trial_balance_periods.fiscal_year as integer),
                    cast(least(greatest(trial_balance_periods.period_number, 1), 12) as integer),
                    1
                )
                as date
            )
        ) as month

    from trial_balance_periods
    inner join ledger_sources
        on trial_balance_periods.source_instance = ledger_sources.source_instance
    left join entry_movements
        on
            trial_balance_periods.source_instance = entry_movements.source_instance
            and trial_balance_periods.fiscal_year = entry_movements.fiscal_year
            and trial_balance_periods.period_number = entry_movements.period_number

    group by
        trial_balance_periods.source_instance,
        trial_balance_periods.fiscal_year,
        trial_balance_periods.period_number,
        trial_balance_periods.drawn_on,
        trial_balance_periods.carried_forward

),

moved_accounts as (

    select
        source_instance,
        gl_account_number,
        fiscal_year,
        period_number

    from trial_balance_movements

    union

    select
        source_instance,
        gl_account_number,
        fiscal_year,
        period_number

    from entry_movements

),

-- An entry that became known after the trial balance was drawn need not be in it.
compared_accounts as (

    select
        period_months.month,
        period_months.drawn_on,
        moved_accounts.source_instance,
        moved_accounts.gl_account_number,
        moved_accounts.fiscal_year,
        moved_accounts.period_number,
        trial_balance_movements.source_file,
        trial_balance_movements.source_row,
        coalesce(trial_balance_movements.movement, 0) as expected_amount,
        coalesce(entry_movements.movement, 0) as found_amount,
        case
            when
                coalesce(trial_balance_movements.movement, 0)
                in (coalesce(entry_movements.movement, 0), coalesce(entry_movements.movement_when_drawn, 0))
                then true
            when
                trial_balance_movements.gl_account_number is not null
                and trial_balance_movements.movement is null
                then true
            when parent_accounts.gl_account_number is not null and entry_movements.movement is null
                then true
            else
                coalesce(accounts.account_type, '') = 'equity'
                and coalesce(trial_balance_movements.movement, 0) - coalesce(entry_movements.movement, 0)
                = period_months.carried_forward
        end as agrees

    from moved_accounts
    inner join period_months
        on
            moved_accounts.source_instance = period_months.source_instance
            and moved_accounts.fiscal_year = period_months.fiscal_year
            and moved_accounts.period_number = period_months.period_number
    left join trial_balance_movements
        on
            moved_accounts.source_instance = trial_balance_movements.source_instance
            and moved_accounts.gl_account_number = trial_balance_movements.gl_account_number
            and moved_accounts.fiscal_year = trial_balance_movements.fiscal_year
            and moved_accounts.period_number = trial_balance_movements.period_number
    left join entry_movements
        on
            moved_accounts.source_instance = entry_movements.source_instance
            and moved_accounts.gl_account_number = entry_movements.gl_account_number
            and moved_accounts.fiscal_year = entry_movements.fiscal_year
            and moved_accounts.period_number = entry_movements.period_number
    left join accounts
        on moved_accounts.gl_account_number = accounts.gl_account_number
    left join parent_accounts
        on moved_accounts.gl_account_number = parent_accounts.gl_account_number

),

trial_balance as (

    select
        'trial_balance' as check_name,
        month,
        source_instance,
        source_file,
        source_row,
        cast(null as string) as journal_id,
        gl_account_number,
        expected_amount,
        found_amount,
        found_amount - expected_amount as difference,
        source_instance || ': account ' || gl_account_number || ' moved by '
        || {{ amount_text('found_amount') | indent(8) }}
        || ' in period ' || fiscal_year || '/' || period_number || ' by its entries, and by '
        || {{ amount_text('expected_amount') | indent(8) }}
        || ' by the trial balance delivered on ' || cast(drawn_on as string)
        || case
            when source_file is null then ', which does not list it.'
            else ' (' || {{ place_text('source_file', 'source_row') }} || ').'
        end as explanation

    from compared_accounts

    where not agrees

),

-- Revenue is a credit: a file with debit and credit swapped still balances. Revenue is what the scope rules or, without
-- one, the account type call so; what a rule takes out of it (exchange gains, interest) may be a debit.

monthly_revenue as (

    select
        source_instance,
        month,
        sum(case when functional_amount > 0 then functional_amount else 0 end) as debits,
        sum(case when functional_amount < 0 then -functional_amount else 0 end) as credits

    from ledger_lines

    where role = 'revenue'

    group by source_instance, month

),

first_debits as (

    select
        monthly_revenue.*,
        ledger_lines.gl_account_number,
        ledger_lines.source_file,
        ledger_lines.source_row

    from monthly_revenue
    inner join ledger_lines
        on
            monthly_revenue.source_instance = ledger_lines.source_instance
            and monthly_revenue.month = ledger_lines.month

    where
        monthly_revenue.debits > monthly_revenue.credits
        and ledger_lines.functional_amount > 0
        and ledger_lines.role = 'revenue'

    qualify row_number() over (
        partition by monthly_revenue.source_instance, monthly_revenue.month
        order by ledger_lines.source_file asc, ledger_lines.source_row asc
    ) = 1

),

revenue_is_credit as (

    select
        'revenue_is_credit' as check_name,
        month,
        source_instance,
        source_file,
        source_row,
        cast(null as string) as journal_id,
        gl_account_number,
        cast(0 as decimal(22, 4)) as expected_amount,
        debits - credits as found_amount,
        debits - credits as difference,
        source_instance || ': revenue of ' || {{ month_text('month') }} || ' is a net debit of '
        || {{ amount_text('(debits - credits)') | indent(8) }}
        || ': debits ' || {{ amount_text('debits') | indent(8) }}
        || ', credits ' || {{ amount_text('credits') | indent(8) }}
        || '; debit and credit are probably swapped (first debit on account ' || gl_account_number
        || ', ' || {{ place_text('source_file', 'source_row') }} || ').' as explanation

    from first_debits

),

-- The functional amount, and not the one in the currency of the transaction.

two_amounts as (

    select
        *,
        case
            when transaction_currency_code = functional_currency then transaction_amount
            when
                exchange_rate > 0
                and exchange_rate != 1
                and transaction_amount != 0
                and transaction_amount = functional_amount
                then {{ converted('transaction_amount', whole_rate('exchange_rate'), whole_rate('1')) | indent(16) }}
            else functional_amount
        end as expected_amount

    from gl_entries

    where
        transaction_amount is not null
        and transaction_currency_code is not null

),

functional_amount as (

    select
        'functional_amount' as check_name,
        month,
        source_instance,
        source_file,
        source_row,
        journal_id,
        gl_account_number,
        expected_amount,
        functional_amount as found_amount,
        functional_amount - expected_amount as difference,
        source_instance || ': voucher ' || coalesce(journal_number, journal_id) || ' line '
        || journal_line_number || ' has the functional amount '
        || {{ amount_text('functional_amount') | indent(8) }} || ' ' || functional_currency
        || ' and the transaction amount ' || {{ amount_text('transaction_amount') | indent(8) }}
        || ' ' || transaction_currency_code
        || case
            when transaction_currency_code = functional_currency then ', which should be the same'
            else ' at a rate of ' || {{ decimal_text('exchange_rate') }}
        end
        || ' (' || {{ place_text('source_file', 'source_row') }} || ').' as explanation

    from two_amounts

    where functional_amount != expected_amount

),

failures as (

    select * from voucher_balance
    union all
    select * from trial_balance
    union all
    select * from revenue_is_credit
    union all
    select * from functional_amount

),

made_checks as (

    select distinct
        'voucher_balance' as check_name,
        month,
        source_instance

    from gl_entries

    union all

    select distinct
        'trial_balance' as check_name,
        month,
        source_instance

    from period_months

    union all

    select
        'revenue_is_credit' as check_name,
        month,
        source_instance

    from monthly_revenue

    union all

    select distinct
        'functional_amount' as check_name,
        month,
        source_instance

    from two_amounts

),

ledger_controls as (

    select
        made_checks.check_name,
        made_checks.month,
        made_checks.source_instance,
        failures.source_file,
        failures.source_row,
        failures.journal_id,
        failures.gl_account_number,
        cast(failures.expected_amount as decimal(22, 4)) as expected_amount,
        cast(failures.found_amount as decimal(22, 4)) as found_amount,
        cast(coalesce(failures.difference, 0) as decimal(22, 4)) as difference,
        failures.explanation

    from made_checks
    left join failures
        on
            made_checks.check_name = failures.check_name
            and made_checks.month = failures.month
            and made_checks.source_instance = failures.source_instance

)

select * from ledger_controls
