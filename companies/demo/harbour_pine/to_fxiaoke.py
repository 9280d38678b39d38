"""What Fxiaoke answers: one table per object, columns by api name; `field_...__c` are fields of this tenant."""

from __future__ import annotations

from harbour_pine.profile import ACQUIRED_THROUGH_ZH, FIRST_DAY, INDUSTRIES_ZH, SALES_PEOPLE, SALES_PEOPLE_ZH
from harbour_pine.rendering import VERSIONS, sql_list, versions
from harbour_pine.world import World


def fxiaoke_system(object_name: str, created: str, modified: str, owner: str) -> str:
    """The fields Fxiaoke puts on every object."""
    return (
        f"[(1000 + {owner})::varchar] as owner, '销售部' as owner_department, 'default__c' as record_type, "
        "'normal' as life_status, '0' as lock_status, false as is_deleted, "
        f"{created} as create_time, {modified} as last_modified_time, '600001' as tenant_id, "
        f"'{object_name}' as object_describe_api_name"
    )


def render_fxiaoke(world: World) -> None:
    """One table per object, columns by api name; nulls will be absent keys, field_...__c are the tenant's own."""
    at = "epoch_at(c.acquired, c.minute)"
    world.con.execute(f"""
        create table fx_account as
        select c.id as _id, c.name as name, nullif(c.code, '') as account_no,
            case when c.kind = 'prospect' then '1' else '2' end as account_type,
                case when c.kind = 'prospect' then '潜在客户' else '成交客户' end as account_type__r,
            pick(['1', '2', '3'], list_position(['Key Account', 'Mid-Market', 'Small Business'],
                c.segment) - 1) as account_level,
            pick(['重要客户', '普通客户', '小客户'], list_position(['Key Account', 'Mid-Market', 'Small Business'],
                c.segment) - 1) as account_level__r,
            c.won_through::varchar as account_source, pick({sql_list(ACQUIRED_THROUGH_ZH)},
                c.won_through) as account_source__r,
            c.industry::varchar as industry_level1, pick({sql_list(INDUSTRIES_ZH)}, c.industry) as industry_level1__r,
            '248' as country, '中国' as country__r, c.province_zh as province__r, c.city_zh as city__r,
                '021-' || c.phone as tel,
            c.credit_limit::varchar || '.00' as field_m3Q7x__c, c.terms::varchar as field_8Kd2P__c,
                epoch_day(c.acquired) as field_t5W1r__c,
            {fxiaoke_system("AccountObj", at, at, "c.owner")}, greatest(c.acquired, {FIRST_DAY})::int as seen
        from customers c where c.crm = 'fx' order by seen, c.customer
    """)
    world.con.execute(f"""
        create table fx_user as
        select (1000 + n)::varchar as _id, pick({sql_list(SALES_PEOPLE_ZH)},
            n) as name, '销售部' as main_department__r,
            epoch_at(0, 540) as last_modified_time, 'normal' as life_status, false as is_deleted,
                {FIRST_DAY} as seen from range({SALES_PEOPLE}) as r(n)
    """)
    modified = "epoch_at(case when v.is_changed then s.closed else s.opened end, s.minute + 60)"
    world.con.execute(f"""
        create table fx_case as
        select s.id as _id, 'GD' || printf('%07d', s.number) as name, s.account as account_id,
            c.name as account_id__r,
            case when v.is_changed then '3' else '2' end as field_v24BD__c, case when v.is_changed then
                '已关闭' else '处理中' end as field_v24BD__c__r,
            pick(['投诉', '咨询', '退货', '物流'], s.type) as field_wQ3p1__c__r, pick(['热线', '邮件', '微信'],
                s.origin) as field_zL6n2__c__r,
            s.escalated as field_eS2u8__c, case when v.is_changed then epoch_at(s.closed,
                s.minute + 60) end as field_kJ7c2__c,
            case when v.is_changed then s.minutes::varchar end as field_hM4nT__c, epoch_at(s.opened,
                s.minute + s.first_response % 60) as field_fR1s9__c,
            {fxiaoke_system("CasesObj", "epoch_at(s.opened, s.minute)", modified, f"s.number % {SALES_PEOPLE}")},
            greatest(case when v.is_changed then s.closed else s.opened end, {FIRST_DAY})::int as seen
        from cases s join customers c on c.customer = s.customer cross join {VERSIONS}
        where s.crm = 'fx' and ({versions("s.opened", "s.closed")}) order by seen, s.number
    """)
    at, later = "epoch_at(a.day, a.minute)", "epoch_at(a.day, a.minute + 30)"
    world.con.execute(f"""
        create table fx_record as
        select a.id as _id, '电话沟通' as active_record_content,
            '2' as active_record_type, '电话' as active_record_type__r,
            [{{'describe_api_name': 'AccountObj', 'id': a.account, 'name': c.name}}] as related_object_data,
                ['AccountObj'] as related_api_names,
            a.minutes::varchar as field_d3Mn7__c, {fxiaoke_system("ActiveRecordObj", at, later, "a.owner")}, a.seen
        from activities a join customers c on c.customer = a.customer where a.crm = 'fx' and
            a.kind = 'call' order by a.seen, a.day, a.id
    """)
    world.con.execute(f"""
        create table fx_checkin as
        select a.id as _id, '拜访-' || c.name as name, a.account as account_id, c.name as account_id__r,
            {at} as field_cT5i1__c, a.minutes::varchar as field_d3Mn7__c,
            {fxiaoke_system("CheckinsObj", at, later, "a.owner")}, a.seen
        from activities a join customers c on c.customer = a.customer where a.crm = 'fx' and
            a.kind = 'visit' order by a.seen, a.day, a.id
    """)
    _render_fxiaoke_marketing(world)


def _render_fxiaoke_marketing(world: World) -> None:
    """Service appraisals, market activities with members, and opportunities."""
    at = "epoch_at(s.day, s.minute)"
    world.con.execute(f"""
        create table fx_survey as
        select s.id as _id, s.account as account_id, s.case_id as field_c8Lk4__c,
            s.score::varchar as field_a1Sc9__c, epoch_day(s.day) as field_r2Dt6__c,
            {fxiaoke_system("AppraiseObj", at, at, "0")}, greatest(s.day, {FIRST_DAY})::int as seen
        from surveys s where s.crm = 'fx' order by seen, s.day, s.id
    """)
    at = "epoch_at(c.day, 540)"
    world.con.execute(f"""
        create table fx_campaign as
        select c.id as _id, c.name as name, c.channel as field_h6Ch3__c__r, epoch_day(c.day) as field_b4Sd8__c,
            epoch_day(c.day + 25) as field_b4Ed9__c,
            yuan(c.cost) as field_b9Bc2__c, yuan(c.cost * 98 // 100) as field_b9Ac3__c,
                {fxiaoke_system("MarketingEventObj", at, at, "0")},
            greatest(c.day, {FIRST_DAY})::int as seen
        from campaigns c where c.crm = 'fx' order by c.day
    """)
    changed = "(v.is_changed and m.responded >= 0)"
    modified = f"epoch_at(case when {changed} then m.responded else m.added end, m.minute)"
    world.con.execute(f"""
        create table fx_member as
        select m.id as _id, m.campaign as field_m1Ev4__c, m.account as field_m2Ac5__c, {changed} as field_m3Rs6__c,
            case when {changed} then epoch_day(m.responded) end as field_m4Rd7__c,
            {fxiaoke_system("CampaignMembersObj", "epoch_at(m.added, m.minute)", modified, "0")},
            greatest(case when {changed} then m.responded else m.added end, {FIRST_DAY})::int as seen
        from members m cross join {VERSIONS} 
        where m.crm = 'fx' and ({versions("m.added", "m.responded")}) order by seen, m.id
    """)
    modified = "epoch_at(case when v.is_changed then o.close else o.created end, o.minute)"
    world.con.execute(f"""
        create table fx_opportunity as
        select o.id as _id, o.name || '-供货' as name, o.account as account_id, o.name as account_id__r,
            yuan(o.amount) as amount, epoch_day(o.close) as close_date,
            case when not v.is_changed then '5' when o.won then '8' else '9' end as sales_stage,
            case when not v.is_changed then '商务谈判' when o.won then '赢单' else '输单' end as sales_stage__r,
            case when not v.is_changed then '1' when o.won then '2' else '3' end as sales_status,
            case when not v.is_changed then '进行中' when o.won then '赢单' else '输单' end as sales_status__r,
            case when not v.is_changed then '50.0' when o.won then '100.0' else '0.0' end as probability,
            {fxiaoke_system("NewOpportunityObj", "epoch_at(o.created, o.minute)", modified, "o.owner")},
            greatest(case when v.is_changed then o.close else o.created end, {FIRST_DAY})::int as seen
        from opportunities o cross join {VERSIONS} 
        where o.crm = 'fx' and ({versions("o.created", "o.close")}) order by seen, o.id
    """)
