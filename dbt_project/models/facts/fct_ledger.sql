with

gl_entries as (

    select * from {{ ref('stg_gl_entries') }}

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
            own_keys.customer_id,
            shared_keys.customer_id,
            case when direct_pools.pool_id is not null then gl_entries.customer_id end
        ) as customer_id,
        gl_entries.functional_amount,
        {{ cents('gl_entries.functional_amount') }} as amount_cents,
        posting_scopes.role,
        posting_scopes.pool_id,
        posting_scopes.scope_rule_id,
        posting_scopes.out_of_scope_reason,
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
    {{ join_customer_keys('gl_entries') }}

)

select * from ledger_lines
