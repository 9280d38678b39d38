-- noqa: disable=LT02
{#
    What dbt does on Spark in another way than its adapter: it writes the common table expressions marked by `keep` aside
    before the statement that reads them, so that it reads tables.
#}

{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {%- set compiled_code = kept_aside(relation, compiled_code) -%}
    {%- if temporary -%}
        {{ create_temporary_view(relation, compiled_code) }}
    {%- else -%}
        create table {{ relation }}
        {%- if config.get('contract').enforced %}
        {{ get_assert_columns_equivalent(compiled_code) }}
        {%- set compiled_code = get_select_subquery(compiled_code) %}
        {%- endif %}
        {{ file_format_clause() }}
        {{ partition_cols(label="partitioned by") }}
        as
        {{ compiled_code }}
    {%- endif -%}
{%- endmacro %}

{#
    The statement with each marked expression replaced by a read of the table it was written to, in the order they stand in:
    a later one reads the tables of those before. The tables are replaced by the next run and read by nobody else.
#}
{% macro kept_aside(relation, compiled_code) -%}
    {%- set parts = compiled_code.split('/*keep ') -%}
    {%- set statement = namespace(text=parts[0]) -%}
    {%- for part in parts[1:] -%}
        {%- set name = part.split(' */')[0] -%}
        {%- set body, rest = part.split(' */', 1)[1].split('/*kept*/') -%}
        {%- set aside = 'aside.' ~ relation.identifier ~ '__' ~ name -%}
        {%- do run_query('drop table if exists ' ~ aside) -%}
        {%- do run_query(
            'create table ' ~ aside ~ ' using parquet as ' ~ statement.text ~ body ~ ' select * from ' ~ name
        ) -%}
        {%- set statement.text = statement.text ~ name ~ ' as (select * from ' ~ aside ~ ')' ~ rest -%}
    {%- endfor -%}
    {{ return(statement.text) }}
{%- endmacro %}

{# The types of a contract, as Spark calls them. #}
{% macro spark__get_empty_schema_sql(columns) -%}
    select
    {% for column in columns.values() %}
        cast(null as {{ 'string' if column.data_type | lower == 'varchar' else column.data_type }}) as {{ column.name }}
        {{- ',' if not loop.last }}
    {% endfor %}
    where false
{%- endmacro %}
