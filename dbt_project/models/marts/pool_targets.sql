with

pool_results as (

    select * from {{ ref('pool_results') }}

),

targets as (

    select * from {{ source('rules', 'pool_targets') }}

),

-- Of several targets that hold within a month, the one that began last.
valid_targets as (

    select
        pool_results.*,
        targets.measure,
        cast(targets.target as decimal(26, 6)) as target_value,
        cast(targets.warn_share as decimal(9, 6)) as warn_share

    from pool_results
    inner join targets
        on
            pool_results.pool_id = targets.pool_id
            and pool_results.month >= {{ month_of('coalesce(targets.valid_from, pool_results.month)') }}
            and pool_results.month <= coalesce(targets.valid_to, pool_results.month)

    qualify row_number() over (
        partition by pool_results.month, pool_results.pool_id, targets.measure
        order by targets.valid_from desc nulls last
    ) = 1

),

measured as (

    select
        month,
        pool_id,
        measure,
        target_value,
        warn_share,
        cast(
            case measure
                when 'cost' then cast(own_amount as double)
                when 'rate' then rate
                when 'unused_share'
                    then cast(unused_quantity as double) / nullif(cast(capacity_quantity as double), 0)
            end
            as decimal(26, 6)
        ) as actual_value

    from valid_targets

),

pool_targets as (

    select
        month,
        pool_id,
        measure,
        target_value,
        warn_share,
        actual_value,
        cast(actual_value - target_value as decimal(26, 6)) as gap,
        case
            when actual_value is null then 'not_measured'
            when actual_value <= target_value then 'on_target'
            when
                actual_value
                <= cast(cast(target_value as decimal(24, 6)) * (1 + warn_share) as decimal(26, 6))
                then 'watch'
            else 'missed'
        end as status

    from measured

)

select * from pool_targets
