-- noqa: disable=all
{#
    How a large model is brought up to date instead of built anew. All of the machinery; what is told by a model is only its
    unit, and how a change of each input reaches it.

    A model is a function of its inputs, unit by unit: the rows of an invoice, of a voucher, of a month. `unique_key` names
    the unit (several rows may share it). What differs after a build is known by comparing the
    rows of a unit before and after, and logged in builds.changes_<model>; who reads the model reads there which units to
    derive again. So a change that changes nothing ends where it is found.

        {{ config(materialized='incremental', unique_key=['source_instance', 'invoice_id'], post_hook='{{ record_build() }}') }}
        {%- do plan_build(follows={'stg_invoices': 'select source_instance, invoice_id from changes', ...}) -%}
        ... from {{ ref('stg_invoices') }} {{ of_touched_units(['source_instance', 'invoice_id']) }}

    plan_build decides for each build, before the model's SQL is rendered:

        touched   derive only the units in builds.touched_<model>, and compare them
        whole     derive everything, and compare everything: only what differs is written and logged
        full      dbt's full refresh: a new epoch, after which every follower is built in full, too

    It is `full` unless the warehouse knows that everything else is as it was: the code (a hash of all SQL of this project and
    of the engine), the table itself, the epoch of each input it follows, and the whole content of each input it does not
    follow. An input that is forgotten is therefore no error of amount but of speed. What a build was made from is recorded
    in the transaction that writes the rows: a crash in between repeats work and leaves none out.

    Tables of schema builds, made by pipelines/builds.py: models, inputs, loads (as built); plans, planned_inputs (of this
    invocation); raw_loads (the loads of the raw layer as they are). Only in DuckDB's own warehouse: other engines build in full.
#}

{# Replaces dbt's own, which is_incremental() and the materialization ask. #}
{% macro should_full_refresh() %}
    {%- set wanted = config.get('full_refresh') -%}
    {%- set wanted = flags.FULL_REFRESH if wanted is none else wanted -%}
    {%- if wanted or model.config.materialized != 'incremental' -%}
        {{ return(wanted) }}
    {%- endif -%}
    {{ return(planned_mode() == 'full') }}
{% endmacro %}

{# What plan_build decided in this invocation; full where nothing was planned. Kept with the node, which lives longer than a context. #}
{% macro planned_mode() %}
    {%- set plan = graph.get('nodes', {}).get(model.unique_id, {}).get('plan', {}) -%}
    {{ return(plan.mode if plan.invocation == invocation_id and target.name == 'warehouse' else 'full') }}
{% endmacro %}

{% macro builds_are_recorded() %}
    {%- if not execute or target.name != 'warehouse' or model.resource_type != 'model' or flags.WHICH not in ('run', 'build') -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set found = run_query("select 1 from duckdb_tables() where schema_name = 'builds' and table_name = 'plans'") -%}
    {{ return(found.rows | length > 0) }}
{% endmacro %}

{#
    Plan the build of the model that calls it. `follows` says for an input (a model that is incremental itself) which units a
    change of it touches: SQL of the unit's columns, from `changes`: the units of the input that changed since this model
    was built. `whole` derives everything, and is for models of moderate size that large ones follow.
#}
{% macro plan_build(follows={}, whole=false) %}
    {%- if execute and builds_are_recorded() -%}
        {%- set reasons = _reasons_for_full_refresh() -%}
        {%- set touching = [] -%}
        {%- for input in _inputs() -%}
            {%- set name = input.split('.')[1] -%}
            {%- if name in follows -%}
                {%- set known = _followed(input) -%}
                {%- if known is none -%}
                    {%- do reasons.append(name ~ ' was built anew') -%}
                {%- else -%}
                    {%- do touching.append(
                        'select * from (with changes as (select * from builds."changes_' ~ name ~ '" where build > ' ~ known
                        ~ ') ' ~ follows[name] ~ ') as by_' ~ name
                    ) -%}
                {%- endif -%}
            {%- elif not whole and not _is_as_it_was(input) -%}
                {%- do reasons.append(name ~ ' has changed') -%}
            {%- endif -%}
        {%- endfor -%}
        {%- do _decide(reasons, 'whole' if whole else 'touched', touching) -%}
    {%- endif -%}
{% endmacro %}

{#
    Plan the build of the staging model of an entity, and name the relation its current versions are picked from: of a day that
    is later than all before it the rows of that day suffice, because they supersede every earlier row of the same record.
#}
{% macro versions_to_judge(entity, key) -%}
    {%- if execute and builds_are_recorded() -%}
        {{- _plan_staging(entity, key) -}}
    {%- else -%}
        {{- source('raw', entity) -}}
    {%- endif -%}
{%- endmacro %}

{# The filter that keeps a derivation to the units it has to derive; nothing in a full refresh. #}
{% macro of_touched_units(columns, also='where') -%}
    {%- if execute and planned_mode() == 'touched' and is_incremental() -%}
        {{ also }} ({{ columns | join(', ') }}) in (select * from builds."touched_{{ this.identifier }}")
    {%- endif -%}
{%- endmacro %}

{# The same for models whose unit is the month: literals, by which an engine skips what it need not read. #}
{% macro of_touched_months(column='month', also='where') -%}
    {%- if execute and planned_mode() == 'touched' and is_incremental() -%}
        {%- set months = run_query('select * from builds."touched_' ~ this.identifier ~ '" order by all') -%}
        {{ also }} {{ column }} in (
            cast(null as date){% for month in months.rows %}, cast('{{ month[0] }}' as date){% endfor %}
        )
    {%- endif -%}
{%- endmacro %}

{# Units of `relation` that a change of the customer keys touches: those that name a changed id or a changed name. #}
{% macro touched_by_customer_keys(relation, unit) -%}
    select {{ unit | join(', ') }} from {{ relation }}
    where (source_instance, customer_id) in (
        select changes.source_instance, changes.customer_key from changes where changes.key_kind = 'id'
    )
    union all
    select {{ unit | join(', ') }} from {{ relation }}
    where customer_name in (
        select said.customer_name
        from (select distinct customer_name from {{ relation }}) as said
        where {{ name_key('said.customer_name') }} in (
            select changes.customer_key from changes where changes.key_kind = 'name'
        )
    )
{%- endmacro %}

{# Units of `relation` that a change of the conversion rates touches. #}
{% macro touched_by_conversion_rates(relation, unit, currency, day) -%}
    select {{ unit | join(', ') }} from {{ relation }}
    where ({{ currency }}, {{ day }}) in (select changes.currency_code, changes.rate_date from changes)
{%- endmacro %}

{# dbt's incremental strategy `changed_units`: the rows of a unit are replaced when they differ, and the unit is logged. #}
{% macro get_incremental_changed_units_sql(arguments) %}
    {%- set target_relation, derived, unit = arguments.target_relation, arguments.temp_relation, arguments.unique_key -%}
    {%- set name = target_relation.identifier -%}
    {%- set columns = arguments.dest_columns | map(attribute='quoted') | join(', ') -%}
    {%- set log_columns = (unit + config.get('meta', {}).get('logged', [])) | join(', ') -%}
    {%- set touched = _units_of('builds."touched_' ~ name ~ '"', unit) if planned_mode() == 'touched' else 'true' -%}
    {%- set differing = _units_of('"differing_' ~ name ~ '"', unit) -%}
    create or replace temp table "differing_{{ name }}" as
    select {{ unit | join(', ') }} from (
        select {{ unit | join(', ') }}, hash({{ columns }}) as content, 1 as side from {{ derived }}
        union all
        select {{ unit | join(', ') }}, hash({{ columns }}) as content, -1 as side
        from {{ target_relation }} as present where {{ touched }}
    )
    group by {{ unit | join(', ') }}
    having sum(side) != 0 or sum(side * content::hugeint) != 0;

    delete from builds."changes_{{ name }}"
    where build <= (select coalesce(min(build), 9223372036854775807) from builds.inputs where input = '{{ name }}');

    insert into builds."changes_{{ name }}"
    select (select build + 1 from builds.models where model = '{{ name }}') as build, {{ log_columns }} from (
        select {{ log_columns }} from {{ target_relation }} as present where {{ differing }}
        union
        select {{ log_columns }} from {{ derived }} as present where {{ differing }}
    );

    delete from {{ target_relation }} as present where {{ differing }};

    insert into {{ target_relation }} ({{ columns }})
    select {{ columns }} from {{ derived }} as present where {{ differing }};

    drop table "differing_{{ name }}";
{% endmacro %}

{% macro _units_of(units, unit) -%}
    exists (
        select 1 from {{ units }} as units
        where {% for column in unit %}units.{{ column }} is not distinct from present.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
    )
{%- endmacro %}

{# Post-hook, in the transaction that writes the rows: what they were made from. #}
{% macro record_build() %}
    {%- if builds_are_recorded() -%}
        {%- set name, mode = this.identifier, planned_mode() -%}
        {%- set mine = "model = '" ~ name ~ "'" -%}
        {%- if mode == 'full' -%}
            {%- set log_columns = (config.get('unique_key') + config.get('meta', {}).get('logged', [])) | join(', ') -%}
            create or replace table builds."changes_{{ name }}" as
            select cast(0 as bigint) as build, {{ log_columns }} from {{ this }} limit 0;
            delete from builds.models where {{ mine }};
            insert into builds.models values ('{{ name }}', '{{ invocation_id }}', 0, getvariable('whalecurve_code'));
            comment on table {{ this }} is '{{ invocation_id }}';
        {%- else -%}
            update builds.models set build = build + 1 where {{ mine }};
        {%- endif %}
        delete from builds.inputs where {{ mine }};
        insert into builds.inputs from builds.planned_inputs where {{ mine }};
        delete from builds.loads where {{ mine }};
        insert into builds.loads
        select plans.model, raw_loads.source, raw_loads.extract_date, raw_loads.stamp
        from builds.plans as plans inner join builds.raw_loads as raw_loads on plans.entity = raw_loads.entity
        where plans.{{ mine }};
    {%- endif -%}
{% endmacro %}

{# Why the model cannot be brought up to date whatever its inputs say. Forgets the plan of an earlier invocation. #}
{% macro _reasons_for_full_refresh(entity=none) %}
    {%- set name = this.identifier -%}
    {%- set mine = "model = '" ~ name ~ "'" -%}
    {%- do run_query(
        "delete from builds.planned_inputs where " ~ mine ~ "; delete from builds.plans where " ~ mine ~ "; insert into builds.plans values ('"
        ~ name ~ "', '" ~ invocation_id ~ "', null, null, " ~ ("'" ~ entity ~ "'" if entity else "null") ~ ")"
    ) -%}
    {%- set found = run_query(
        "select models.code is not distinct from getvariable('whalecurve_code') and models.code is not null, "
        ~ "tables.comment is not distinct from models.epoch "
        ~ "from builds.models as models left join duckdb_tables() as tables on tables.database_name = current_database() "
        ~ "and tables.schema_name = '" ~ this.schema ~ "' and tables.table_name = models.model where models." ~ mine
    ) -%}
    {%- set reasons = [] -%}
    {%- if flags.FULL_REFRESH or config.get('full_refresh') -%}
        {%- do reasons.append('asked for') -%}
    {%- elif not found.rows | length -%}
        {%- do reasons.append('never built') -%}
    {%- elif not found.rows[0][0] -%}
        {%- do reasons.append('the code has changed') -%}
    {%- elif not found.rows[0][1] -%}
        {%- do reasons.append('the table is not the one that was recorded') -%}
    {%- endif -%}
    {{ return(reasons) }}
{% endmacro %}

{# Every relation the model reads, schema.name; a view is what it reads itself. #}
{% macro _inputs() %}
    {%- set inputs, waiting = [], model.depends_on.nodes | list -%}
    {%- for _ in range(1000) if waiting -%}
        {%- set unique_id = waiting.pop() -%}
        {%- if unique_id.startswith('source.') -%}
            {%- set node = graph.sources[unique_id] -%}
            {%- do inputs.append(node.schema ~ '.' ~ node.identifier) -%}
        {%- else -%}
            {%- set node = graph.nodes[unique_id] -%}
            {%- if node.config.materialized in ('view', 'ephemeral') -%}
                {%- do waiting.extend(node.depends_on.nodes) -%}
            {%- else -%}
                {%- do inputs.append(node.schema ~ '.' ~ node.name) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(inputs | unique | sort) }}
{% endmacro %}

{# The build of a followed input this model last read; none when the input was built anew since. #}
{% macro _followed(input) %}
    {%- set name = input.split('.')[1] -%}
    {%- do run_query(
        "insert into builds.planned_inputs select '" ~ this.identifier ~ "', model, epoch, build, null from builds.models "
        ~ "where model = '" ~ name ~ "'"
    ) -%}
    {%- set found = run_query(
        "select inputs.build from builds.inputs as inputs inner join builds.models as models on inputs.input = models.model "
        ~ "and inputs.epoch = models.epoch where inputs.model = '" ~ this.identifier ~ "' and models.model = '" ~ name ~ "'"
    ) -%}
    {{ return(found.rows[0][0] if found.rows | length else none) }}
{% endmacro %}

{# Whether an input that is not followed holds exactly what it held, columns and rows. #}
{% macro _is_as_it_was(input) %}
    {%- set schema, name = input.split('.') -%}
    {%- do run_query(
        "insert into builds.planned_inputs select '" ~ this.identifier ~ "', '" ~ name ~ "', null, null, " ~ _columns(schema, name)
        ~ " || (select ' ' || count(*) || ' ' || coalesce(sum(hash(content)), 0) from " ~ schema ~ '."' ~ name ~ '" as content)'
    ) -%}
    {{ return(_planned_fingerprint_holds(name)) }}
{% endmacro %}

{% macro _planned_fingerprint_holds(name) %}
    {%- set found = run_query(
        "select 1 from builds.planned_inputs as planned inner join builds.inputs as built using (model, input, fingerprint) "
        ~ "where model = '" ~ this.identifier ~ "' and input = '" ~ name ~ "'"
    ) -%}
    {{ return(found.rows | length > 0) }}
{% endmacro %}

{% macro _columns(schema, name) -%}
    (select string_agg(column_name || ' ' || data_type, ', ' order by column_index) from duckdb_columns()
     where database_name = current_database() and schema_name = '{{ schema }}' and table_name = '{{ name }}')
{%- endmacro %}

{# Writes the plan; what is touched is looked up here, and where it is much, all is built anew. #}
{% macro _decide(reasons, mode, touching) %}
    {%- set name, unit = this.identifier, config.get('unique_key') | join(', ') -%}
    {%- if not reasons and mode == 'touched' -%}
        {%- do run_query(
            'create or replace table builds."touched_' ~ name ~ '" as select distinct ' ~ unit ~ ' from ('
            ~ (touching | join(' union all ') if touching else 'select ' ~ unit ~ ' from ' ~ this ~ ' limit 0')
            ~ ')'
        ) -%}
        {%- set found = run_query(
            'select count(*), (select count(*) from ' ~ this ~ '), count(*) filter (where '
            ~ (config.get('unique_key') | join(' is null or ')) ~ ' is null) from builds."touched_' ~ name ~ '"'
        ) -%}
        {%- if found.rows[0][2] -%}
            {%- do reasons.append('a touched unit has no key') -%}
        {%- endif -%}
        {%- if found.rows[0][0] > 1000 and found.rows[0][0] * 3 > found.rows[0][1] -%}
            {%- do reasons.append('most of it is touched') -%}
        {%- endif -%}
    {%- endif -%}
    {%- set mode = 'full' if reasons else mode -%}
    {%- do graph.nodes[model.unique_id].update({'plan': {'invocation': invocation_id, 'mode': mode}}) -%}
    {%- do run_query(
        "update builds.plans set mode = '" ~ mode ~ "', reason = '" ~ (reasons | join('; ')) ~ "' where model = '" ~ name ~ "'"
    ) -%}
{% endmacro %}

{% macro _plan_staging(entity, key) %}
    {%- set raw = source('raw', entity) -%}
    {%- set name = this.identifier -%}
    {%- set unit = (['source_instance'] + key) | join(', ') -%}
    {%- set reasons = _reasons_for_full_refresh(entity) -%}
    {%- do run_query(
        "insert into builds.planned_inputs select '" ~ name ~ "', '" ~ entity ~ "', null, null, " ~ _columns('raw', entity)
    ) -%}
    {%- if not _planned_fingerprint_holds(entity) -%}
        {%- do reasons.append('the columns of raw.' ~ entity ~ ' have changed') -%}
    {%- endif -%}
    {%- set added = run_query(
        "select source, extract_date, extract_date > coalesce((select max(extract_date) from builds.loads as known "
        ~ "where known.model = '" ~ name ~ "' and known.source = loads.source), date '0001-01-01') as is_latest, size_bytes "
        ~ "from builds.raw_loads as loads where entity = '" ~ entity ~ "' and not exists (select 1 from builds.loads as known where "
        ~ "known.model = '" ~ name ~ "' and known.source = loads.source and known.extract_date = loads.extract_date "
        ~ "and known.stamp = loads.stamp) order by source, extract_date"
    ).rows -%}
    {%- set gone = run_query(
        "select count(*) from builds.loads as known where model = '" ~ name ~ "' and not exists (select 1 from builds.raw_loads as loads "
        ~ "where loads.entity = '" ~ entity ~ "' and known.source = loads.source and known.extract_date = loads.extract_date "
        ~ "and known.stamp = loads.stamp)"
    ).rows[0][0] -%}
    {%- set all_bytes = run_query("select coalesce(sum(size_bytes), 0) from builds.raw_loads where entity = '" ~ entity ~ "'").rows[0][0] -%}
    {%- if added | map(attribute=3) | sum > 1000000 and added | map(attribute=3) | sum * 3 > all_bytes -%}
        {%- do reasons.append('most of it is new') -%}
    {%- endif -%}
    {%- set new_rows -%}
        (select * from {{ raw }} where false
        {%- for source_name, date, _, _ in added %} or (source_instance = '{{ source_name }}' and extract_date = cast('{{ date }}' as date)){% endfor %})
    {%- endset -%}
    {%- set mode = 'touched' if not gone and added | rejectattr(2) | list | length == 0 else 'whole' -%}
    {%- if mode == 'touched' and added and not reasons -%}
        {#- A record that a later delivery left out comes back when a row of it arrives that cannot be read. -#}
        {%- set unreadable = "(select " ~ unit ~ " from " ~ new_rows ~ " where quarantine_reason is not null and (" ~ unit
            ~ ") not in (select " ~ unit ~ " from " ~ this ~ "))" -%}
        {%- set returning = "select exists (from " ~ unreadable ~ ") and exists (select 1 from " ~ raw
            ~ " where quarantine_reason is null and (" ~ unit ~ ") in (from " ~ unreadable ~ "))" -%}
        {%- if run_query(returning).rows[0][0] -%}
            {%- set mode = 'whole' -%}
        {%- endif -%}
    {%- endif -%}
    {%- set touching -%}
        select {{ unit }} from {{ new_rows }} where quarantine_reason is null
        {%- for scope in ["restated.restates = '*'", 'records.restates = restated.restates'] %}
        union all
        select {% for column in ['source_instance'] + key %}records.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
        from {{ this }} as records
        inner join (
            select source_instance, restates, max(extract_date) as extract_date
            from {{ new_rows }} where restates is not null group by all
        ) as restated
            on records.source_instance = restated.source_instance and {{ scope }}
        left join (
            select {{ unit }}, max(extract_date) as extract_date
            from {{ new_rows }} where quarantine_reason is not null group by all
        ) as unreadable
            on {% for column in ['source_instance'] + key %}records.{{ column }} = unreadable.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
        where restated.extract_date > coalesce(unreadable.extract_date, date '0001-01-01')
        {%- endfor %}
    {%- endset -%}
    {%- do _decide(reasons, mode, [touching] if added else []) -%}
    {{- new_rows if planned_mode() == 'touched' else raw -}}
{% endmacro %}
