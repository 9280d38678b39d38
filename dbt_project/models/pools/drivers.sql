with

drivers as (

    select * from {{ source('rules', 'drivers') }}

)

select * from drivers
