{{ config(materialized='incremental', unique_key=['month'], post_hook='{{ record_build() }}') }}
{%- do plan_build(whole=true) %}

with

balances as (

    select * from {{ ref('receivable_balances') }}

),

expected_credit_losses as (

    select * from {{ ref('expected_credit_losses') }}

),

company as (

    select * from {{ source('rules', 'company') }}

),

-- Balance times days times yearly rate over 365, to cents half away from zero. By whole numbers: a ten-thousandth of
-- money times a millionth of a rate is a hundred-millionth of a cent.
scaled_costs as (

    select
        balances.customer_id,
        balances.month,
        balances.balance_days,
        company.cost_of_capital,
        {{ sign_of('balances.balance_days') }} as direction,
        2 * {{ whole_amount('abs(balances.balance_days)') }}
        * {{ wide_integer('company.cost_of_capital * 1000000') }} as doubled_cost,
        {{ wide_integer('36500000000') }} as one_cent

    from balances
    cross join company

),

financing as (

    select
        customer_id,
        month,
        balance_days,
        cost_of_capital,
        direction * cast({{ int_div('doubled_cost + one_cent', '2 * one_cent') }} as bigint) as financing_cents

    from scaled_costs

),

customer_credit_costs as (

    select
        financing.customer_id,
        financing.month,
        expected_credit_losses.movement as expected_credit_loss,
        {{ from_cents('financing.financing_cents') }} as financing_cost,
        financing.balance_days,
        financing.cost_of_capital,
        expected_credit_losses.exposure,
        expected_credit_losses.opening_allowance,
        expected_credit_losses.allowance,
        expected_credit_losses.rate_source as loss_rate_source

    from financing
    inner join expected_credit_losses
        on
            financing.customer_id = expected_credit_losses.customer_id
            and financing.month = expected_credit_losses.month

    where financing.financing_cents != 0 or expected_credit_losses.movement != 0

)

select * from customer_credit_costs
