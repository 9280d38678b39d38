{%- set unit = ['source_instance', 'journal_id'] -%}
{{ config(
    materialized='incremental', unique_key=unit, meta={'logged': ['month']}, post_hook='{{ record_build() }}'
) }}
{%- do plan_build(follows={
    'stg_gl_entries': 'select source_instance, journal_id from changes',
    'customer_keys': touched_by_customer_keys(ref('stg_gl_entries'), unit),
    'conversion_rates': touched_by_conversion_rates(ref('stg_gl_entries'), unit, 'functional_currency_code', 'effective_date'),
    'posting_scopes':
        'select source_instance, journal_id from ' ~ ref('stg_gl_entries') ~ ' where (source_instance, gl_account_number, '
        ~ 'effective_date) in (select source_instance, gl_account_number, posting_date from changes)',
}) %}

with

-- The amount in the currency of the transaction is never taken for the functional one.
foreign_entries as (

    select
        entries.source_instance,
        entries.journal_id,
        entries.journal_line_number,
        entries.functional_currency_code,
        entries.effective_date,
        entries.functional_amount as amount,
        conversion_rates.rate_numerator,
        conversion_rates.rate_denominator,
        {{ converted(
            'entries.functional_amount',
            'conversion_rates.rate_numerator',
            'conversion_rates.rate_denominator',
        ) | indent(8) }} as converted_amount

    from {{ ref('stg_gl_entries') }} as entries
    {{ join_conversion_rates('entries', 'functional_currency_code', 'effective_date') }}

    where
        conversion_rates.rate_numerator is not null
    {{ of_touched_units(['entries.source_instance', 'entries.journal_id'], also='and') }}

),

-- A voucher that balanced in its own currency balances in base currency.
conversion_rests as (

    {{ conversion_rests(
        'foreign_entries',
        ['source_instance', 'journal_id', 'functional_currency_code', 'effective_date'],
        'journal_line_number',
    ) | indent(4) }}

),

converted_entries as (

    select
        foreign_entries.source_instance,
        foreign_entries.journal_id,
        foreign_entries.journal_line_number,
        cast(
            foreign_entries.converted_amount + coalesce(conversion_rests.rest, 0) as decimal(22, 4)
        ) as amount

    from foreign_entries
    left join conversion_rests
        on
            foreign_entries.source_instance = conversion_rests.source_instance
            and foreign_entries.journal_id = conversion_rests.journal_id
            and foreign_entries.journal_line_number = conversion_rests.journal_line_number

),

gl_entries as (

    select
        entries.*,
        coalesce(converted_entries.amount, entries.functional_amount) as base_amount

    from {{ ref('stg_gl_entries') }} as entries
    {{ join_conversion_rates('entries', 'functional_currency_code', 'effective_date') }}
    left join converted_entries
        on
            entries.source_instance = converted_entries.source_instance
            and entries.journal_id = converted_entries.journal_id
            and entries.journal_line_number = converted_entries.journal_line_number

    where
        (conversion_rates.currency_code is null or converted_entries.journal_id is not null)
    {{ of_touched_units(['entries.source_instance', 'entries.journal_id'], also='and') }}

),

posting_scopes as (

    select * from {{ ref('posting_scopes') }}

),

direct_pools as (

    select distinct pool_id from {{ source('rules', 'pools') }}
    where stage = 'direct'

),

-- A ledger line may name a supplier where others name a customer: an unknown name counts as a customer only where
-- the cost is traced directly, and would otherwise have no receiver.
ledger_lines as (

    select
        gl_entries.source_instance,
        gl_entries.journal_id,
        gl_entries.journal_line_number,
        gl_entries.effective_date,
        {{ month_of('gl_entries.effective_date') }} as month,
        gl_entries.gl_account_number,
        posting_scopes.gl_account_name,
        posting_scopes.account_type,
        gl_entries.cost_center_id,
        coalesce(
            {{ known_customer('gl_entries') }},
            case when direct_pools.pool_id is not null then {{ unknown_customer('gl_entries') }} end
        ) as customer_id,
        gl_entries.base_amount as functional_amount,
        {{ cents('gl_entries.base_amount') }} as amount_cents,
        posting_scopes.role,
        posting_scopes.pool_id,
        posting_scopes.scope_rule_id,
        posting_scopes.out_of_scope_reason,
        gl_entries.functional_currency_code as ledger_currency_code,
        gl_entries.functional_amount as ledger_amount,
        gl_entries.reversal_journal_id,
        gl_entries.je_line_description,
        gl_entries.source_file,
        gl_entries.source_row,
        gl_entries.extract_date

    from gl_entries
    inner join posting_scopes
        on
            gl_entries.source_instance = posting_scopes.source_instance
            and gl_entries.gl_account_number = posting_scopes.gl_account_number
            and coalesce(gl_entries.cost_center_id, '')
            = coalesce(posting_scopes.cost_center_id, '')
            and gl_entries.effective_date = posting_scopes.posting_date
    left join direct_pools
        on posting_scopes.pool_id = direct_pools.pool_id
    {{ join_customer_keys('gl_entries', on='gl_entries.effective_date') }}

)

select * from ledger_lines
