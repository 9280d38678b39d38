-- noqa: disable=LT02
{#
    One step of the declared order of matching: the method at `position` joins what the steps before it left apart.

    A value (an id, a tax number, a name) joins those without account code to the customer it stands for: the one
    account code that carries it, or, where none does, each other. A value of several codes joins nobody, and somebody
    whose values point to several codes is left alone. Reads CTEs matched_<before>, match_values and matching_order;
    makes matched_<after>. Whoever is joined goes to the smallest node, so the order of delivery is nothing to it.
#}
{% macro matching_step(before, after, position, rounds=4) -%}
    {%- set s = '_' ~ after -%}
    {{ keep('node_values' ~ s) }} node_values{{ s }} as (

    select distinct
        earlier.node,
        substr(earlier.node, 1, 1) = ':' as is_coded,
        match_values.match_value

    from matched_{{ before }} as earlier
    inner join match_values
        on earlier.record_key = match_values.record_key
    inner join matching_order
        on match_values.matched_by = matching_order.method

    where matching_order.position = {{ position }}

) {{ kept() }},

meanings{{ s }} as (

    select
        match_value,
        count(*) as node_count,
        count(*) filter (where is_coded) as code_count,
        min(node) filter (where is_coded) as coded_node

    from node_values{{ s }}

    group by match_value

),

-- Those without a code who share a value that no code has: each takes the smallest node it can reach. A round doubles
-- the reach; further than one step lie only customers of several ids, numbers or names.
{{ keep('edges' ~ s) }} edges{{ s }} as (

    select
        node_values.node,
        node_values.match_value

    from node_values{{ s }} as node_values
    inner join meanings{{ s }} as meanings
        on node_values.match_value = meanings.match_value

    where meanings.code_count = 0 and meanings.node_count > 1

) {{ kept() }},

labels{{ s }}_0 as (

    select distinct
        node,
        node as reached_node

    from edges{{ s }}

),

{% for round in range(1, rounds + 1) %}
{{ keep('reached' ~ s ~ '_' ~ round) }} reached{{ s }}_{{ round }} as (

    select
        edges.node,
        min(value_labels.reached_node) as reached_node

    from edges{{ s }} as edges
    inner join (
        select
            value_edges.match_value,
            min(reached_nodes.reached_node) as reached_node
        from edges{{ s }} as value_edges
        inner join labels{{ s }}_{{ round - 1 }} as reached_nodes
            on value_edges.node = reached_nodes.node
        group by value_edges.match_value
    ) as value_labels
        on edges.match_value = value_labels.match_value

    group by edges.node

) {{ kept() }},

labels{{ s }}_{{ round }} as (

    select
        reached.node,
        further.reached_node

    from reached{{ s }}_{{ round }} as reached
    inner join reached{{ s }}_{{ round }} as further
        on reached.reached_node = further.node

),

{% endfor %}
-- The codes that those joined so far can be joined to.
codes{{ s }} as (

    select
        coalesce(reached_nodes.reached_node, node_values.node) as reached_node,
        count(distinct meanings.coded_node) as code_count,
        min(meanings.coded_node) as coded_node

    from node_values{{ s }} as node_values
    inner join meanings{{ s }} as meanings
        on node_values.match_value = meanings.match_value
    left join labels{{ s }}_{{ rounds }} as reached_nodes
        on node_values.node = reached_nodes.node

    where
        not node_values.is_coded
        and meanings.code_count = 1

    group by coalesce(reached_nodes.reached_node, node_values.node)

),

joined{{ s }} as (

    select
        nodes.node,
        case
            when codes.code_count = 1 then codes.coded_node
            when codes.code_count > 1 then nodes.node
            else coalesce(reached_nodes.reached_node, nodes.node)
        end as joined_node

    from (select distinct node from node_values{{ s }} where not is_coded) as nodes
    left join labels{{ s }}_{{ rounds }} as reached_nodes
        on nodes.node = reached_nodes.node
    left join codes{{ s }} as codes
        on coalesce(reached_nodes.reached_node, nodes.node) = codes.reached_node

),

{{ keep('matched_' ~ after) }} matched_{{ after }} as (

    select
        earlier.record_key,
        coalesce(joined.joined_node, earlier.node) as node,
        coalesce(
            earlier.match_method,
            case when joined.joined_node != earlier.node then matching_order.method end
        ) as match_method

    from matched_{{ before }} as earlier
    left join joined{{ s }} as joined
        on earlier.node = joined.node
    left join matching_order
        on matching_order.position = {{ position }}

) {{ kept() }},
{%- endmacro %}
