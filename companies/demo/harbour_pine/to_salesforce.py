"""What Salesforce exports: one table per object, columns by their API names."""

from __future__ import annotations

from harbour_pine.profile import ACQUIRED_THROUGH, FIRST_DAY, INDUSTRIES, SALES_PEOPLE
from harbour_pine.rendering import VERSIONS, sql_list, versions
from harbour_pine.world import World, salesforce_ids


def render_salesforce(world: World) -> None:
    """One table per exported object, columns by their API names."""
    users = ", ".join(f"({number}, '{user}')" for number, user in enumerate(salesforce_ids("005", SALES_PEOPLE)))
    world.con.execute(f"create table sf_users as select * from (values {users}) as u(n, id)")
    world.con.execute(f"""
        create table sf_account as
        select c.id as Id, '0' as IsDeleted, '' as MasterRecordId, c.name as Name,
            case when c.kind = 'prospect' then 'Prospect' else 'Customer - Direct' end as Type, '' as ParentId,
            c.country as BillingCountry, c.state as BillingState, c.city as BillingCity, c.phone as Phone,
                c.code as AccountNumber,
            pick({sql_list(INDUSTRIES)}, c.industry) as Industry,
                (c.employees * 400000)::varchar || '.0' as AnnualRevenue,
            c.employees::varchar as NumberOfEmployees, pick(['Hot', 'Warm', 'Cold'], c.industry % 3) as Rating,
                'CNY' as CurrencyIsoCode, u.id as OwnerId,
            utc(c.acquired, c.minute) as CreatedDate, utc(c.acquired, c.minute) as LastModifiedDate,
                utc(c.acquired, c.minute) as SystemModstamp,
            pick({sql_list(ACQUIRED_THROUGH)}, c.won_through) as AccountSource, c.segment as Segment__c,
                c.credit_limit::varchar || '.0' as Credit_Limit__c,
            c.terms::varchar || '.0' as Payment_Terms_Days__c,
                on_day(c.acquired)::varchar as Customer_Since__c, greatest(c.acquired, {FIRST_DAY})::int as seen
        from customers c join sf_users u on u.n = c.owner where c.crm = 'sf' order by seen, c.customer
    """)
    world.con.execute(f"""
        create table sf_user as
        select id as Id, 'user' || n || '@harbourpine.example' as Username, 'Sales person ' || n as Name,
            'Sales' as Department, '' as Division, '1' as IsActive,
            utc(0, 540) as SystemModstamp, {FIRST_DAY} as seen from sf_users order by n
    """)
    world.con.execute(f"""
        create table sf_case as
        select s.id as Id, '0' as IsDeleted, printf('%08d', s.number) as CaseNumber, s.account as AccountId,
            '' as ContactId,
            pick(['Complaint', 'Question', 'Return', 'Delivery'], s.type) as Type, pick(['Phone', 'Email',
                'Web'], s.origin) as Origin,
            case when v.is_changed then 'Closed' else 'Working' end as Status, case when s.escalated then
                'High' else 'Medium' end as Priority,
            case when v.is_changed then '1' else '0' end as IsClosed, case when v.is_changed then utc(s.closed,
                s.minute + 60) else '' end as ClosedDate,
            case when s.escalated then '1' else '0' end as IsEscalated, 'Case ' || s.number as Subject,
                'Customer asked for help.' as Description,
            pick((select list(id order by n) from sf_users), s.number % {SALES_PEOPLE}) as OwnerId,
                utc(s.opened, s.minute) as CreatedDate,
            utc(case when v.is_changed then s.closed else s.opened end, s.minute + 60) as LastModifiedDate,
            utc(case when v.is_changed then s.closed else s.opened end, s.minute + 60) as SystemModstamp,
            case when v.is_changed then s.minutes::varchar || '.0' else '' end as Handling_Minutes__c,
            greatest(case when v.is_changed then s.closed else s.opened end, {FIRST_DAY})::int as seen
        from cases s cross join {VERSIONS} 
        where s.crm = 'sf' and ({versions("s.opened", "s.closed")}) order by seen, s.number
    """)
    changed = "utc(a.day, a.minute + 30)"
    stamps = f"utc(a.day, a.minute) as CreatedDate, {changed} as LastModifiedDate, {changed} as SystemModstamp"
    world.con.execute(f"""
        create table sf_task as
        select a.id as Id, '0' as IsDeleted, '' as WhoId, a.account as WhatId, a.account as AccountId,
            'Call' as Subject, on_day(a.day)::varchar as ActivityDate,
            'Completed' as Status, 'Normal' as Priority, 'Call' as Type, 'Call' as TaskSubtype,
                (a.minutes * 60)::varchar as CallDurationInSeconds,
            '1' as IsClosed, u.id as OwnerId, {stamps}, a.seen
        from activities a join sf_users u on u.n = a.owner where a.crm = 'sf' and
            a.kind = 'call' order by a.seen, a.day, a.id
    """)
    world.con.execute(f"""
        create table sf_event as
        select a.id as Id, '0' as IsDeleted, '' as WhoId, a.account as WhatId, a.account as AccountId,
            'Customer visit' as Subject, 'Visit' as Type,
            on_day(a.day)::varchar as ActivityDate, utc(a.day, a.minute) as StartDateTime, utc(a.day,
                a.minute + a.minutes) as EndDateTime,
            a.minutes::varchar as DurationInMinutes, '0' as IsAllDayEvent, '0' as IsChild, u.id as OwnerId,
                {stamps}, a.seen
        from activities a join sf_users u on u.n = a.owner where a.crm = 'sf' and
            a.kind = 'visit' order by a.seen, a.day, a.id
    """)
    _render_salesforce_marketing(world)


def _render_salesforce_marketing(world: World) -> None:
    """Surveys, campaigns with members, and opportunities."""
    world.con.execute(f"""
        create table sf_survey as
        select id as Id, '0' as IsDeleted, 'CSAT-' || printf('%06d', row_number() over (order by day,
            id)) as Name, account as Account__c, case_id as Case__c,
            score::varchar || '.0' as Score__c, on_day(day)::varchar as Responded_On__c, 'Email' as Channel__c,
            utc(day, minute) as CreatedDate, utc(day, minute) as SystemModstamp, greatest(day,
                {FIRST_DAY})::int as seen
        from surveys where crm = 'sf' order by seen, day, id
    """)
    world.con.execute(f"""
        create table sf_campaign as
        select id as Id, '0' as IsDeleted, name as Name, channel as Type, case when day + 28 < {FIRST_DAY} then
            'Completed' else 'In Progress' end as Status,
            on_day(day)::varchar as StartDate, on_day(day + 25)::varchar as EndDate,
                yuan(cost) as BudgetedCost, yuan(cost * 97 // 100) as ActualCost, '' as ParentId,
            utc(day, 540) as CreatedDate, utc(day, 540) as SystemModstamp, greatest(day, {FIRST_DAY})::int as seen
        from campaigns where crm = 'sf' order by day
    """)
    changed = "(v.is_changed and m.responded >= 0)"
    world.con.execute(f"""
        create table sf_member as
        select m.id as Id, '0' as IsDeleted, m.campaign as CampaignId, '' as LeadId, '' as ContactId,
            m.account as AccountId,
            case when {changed} then 'Responded' else 'Sent' end as Status, case when {changed} then '1' else
                '0' end as HasResponded,
            case when {changed} then on_day(m.responded)::varchar else '' end as FirstRespondedDate,
                utc(m.added, m.minute) as CreatedDate,
            utc(case when {changed} then m.responded else m.added end, m.minute) as SystemModstamp,
            greatest(case when {changed} then m.responded else m.added end, {FIRST_DAY})::int as seen
        from members m cross join {VERSIONS} 
        where m.crm = 'sf' and ({versions("m.added", "m.responded")}) order by seen, m.id
    """)
    world.con.execute(f"""
        create table sf_opportunity as
        select o.id as Id, '0' as IsDeleted, o.account as AccountId, o.name || ' - supply' as Name,
            case when not v.is_changed then 'Proposal/Price Quote' when o.won then 'Closed Won' else
                'Closed Lost' end as StageName, yuan(o.amount) as Amount,
            case when not v.is_changed then '50.0' when o.won then '100.0' else '0.0' end as Probability,
                on_day(o.close)::varchar as CloseDate,
            'Existing Business' as Type, pick({sql_list(ACQUIRED_THROUGH)}, o.won_through) as LeadSource,
                case when v.is_changed then '1' else '0' end as IsClosed,
            case when v.is_changed and o.won then '1' else '0' end as IsWon, '' as CampaignId,
                'CNY' as CurrencyIsoCode, u.id as OwnerId,
            utc(o.created, o.minute) as CreatedDate, utc(case when v.is_changed then o.close else
                o.created end, o.minute) as LastModifiedDate,
            utc(case when v.is_changed then o.close else o.created end, o.minute) as SystemModstamp,
            greatest(case when v.is_changed then o.close else o.created end, {FIRST_DAY})::int as seen
        from opportunities o join sf_users u on u.n = o.owner cross join {VERSIONS}
        where o.crm = 'sf' and ({versions("o.created", "o.close")}) order by seen, o.id
    """)
