-- What the role that stores events may do is bounded: it makes no partitions but of the
-- days that a sink has use for, and reads nothing of the rows without a partition but
-- when they occurred.

-- Says whether a day may get a partition: those of events that a sink takes, 430 days
-- back, and of the week that it makes ahead, with two days more for clocks that differ.
-- Other rows stay in events_default.
create function footfall.day_allowed(day date) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select day between today - 432 and today + 9
    from (select (now() at time zone 'UTC')::date as today) x
$$;
revoke all on function footfall.day_allowed from public;

-- As before, within those bounds: a day beyond them is 'stray'.
create or replace function footfall.make_day(day date) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
declare
    name text := 'events_' || to_char(day, 'YYYYMMDD');
    since timestamptz := day::timestamp at time zone 'UTC';
    until timestamptz := (day + 1)::timestamp at time zone 'UTC';
    state text;
begin
    if not footfall.day_allowed(day) then
        return 'stray';
    end if;
    perform pg_advisory_xact_lock(7381240859974531443); -- "footdays"
    state := footfall.day_state(day);
    if state is not null then
        return state;
    end if;
    execute format('create table footfall.%I (like footfall.events including defaults including constraints)', name);
    execute format('alter table footfall.events attach partition footfall.%I for values from (%L) to (%L)',
        name, since, until);
    return 'made';
exception when check_violation then
    return 'stray';
end $$;

-- As before, within those bounds: of a day beyond them it moves nothing.
create or replace function footfall.drain_day(day date) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
declare
    name text := 'events_' || to_char(day, 'YYYYMMDD');
    since timestamptz := day::timestamp at time zone 'UTC';
    until timestamptz := (day + 1)::timestamp at time zone 'UTC';
    moved bigint;
begin
    if not footfall.day_allowed(day) then
        return 0;
    end if;
    perform pg_advisory_xact_lock(7381240859974531443);
    if footfall.day_state(day) is not null then
        return 0;
    end if;
    lock table footfall.events_default in access exclusive mode;
    execute format('create table footfall.%I (like footfall.events including defaults including constraints)', name);
    execute format('with gone as (delete from footfall.events_default
        where occurred_at >= $1 and occurred_at < $2 returning *)
        insert into footfall.%I select * from gone', name) using since, until;
    get diagnostics moved = row_count;
    execute format('alter table footfall.events attach partition footfall.%I for values from (%L) to (%L)',
        name, since, until);
    return moved;
end $$;

-- As before, and nobody waits. Each of the two statements compares what it compares in one
-- snapshot, where every transaction that stores or erases rows is there with its tallies
-- or not at all. Only partitions are not made, drained or dropped meanwhile. It reads the
-- whole table: for a person to call, and for nobody else.
create or replace function footfall.recount() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise 'recount needs a transaction that is read committed: two at once would correct twice';
    end if;
    perform pg_advisory_xact_lock(7381240859974531443); -- "footdays"; one at a time, too
    insert into footfall.tallies (site, hour, n_inserted, n_erased)
        select site, hour, greatest(n, 0), greatest(-n, 0) from (
            select site, hour, sum(n) as n from (
                select site, date_trunc('hour', occurred_at, 'UTC') as hour, count(*) as n
                from footfall.events group by 1, 2
                union all
                select site, hour, sum(n_erased - n_inserted) from footfall.tallies group by 1, 2
            ) both_sides group by site, hour) x
        where n <> 0;
    insert into footfall.tallies (site, hour, n_inserted, n_erased, n_duplicate, n_dead)
        select '', date_trunc('hour', clock_timestamp(), 'UTC'), l.i - t.i, l.i - t.i, l.d - t.d, l.x - t.x
        from (select coalesce(sum(n_inserted), 0) + (select count(*) from footfall.dead_letters
                where outcome = 'inserted') as i,
            coalesce(sum(n_duplicate), 0) + (select count(*) from footfall.dead_letters
                where outcome = 'duplicate') as d, coalesce(sum(n_dead), 0) as x
            from footfall.ledger) l,
        (select coalesce(sum(n_inserted), 0) as i, coalesce(sum(n_duplicate), 0) as d,
            coalesce(sum(n_dead), 0) as x from footfall.tallies) t
        where (l.i, l.d, l.x) <> (t.i, t.d, t.x);
end $$;

-- As before, with less for ingest.
create or replace function footfall.grant_roles() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_regrole('footfall_ingest') is not null then
        grant usage on schema footfall to footfall_ingest;
        grant select on footfall.schema_version to footfall_ingest;
        -- To count the rows without a partition and find their days.
        revoke select on footfall.events_default from footfall_ingest;
        grant select (occurred_at) on footfall.events_default to footfall_ingest;
        grant insert on footfall.events, footfall.ledger, footfall.dead_letters,
            footfall.tallies, footfall.arrivals to footfall_ingest;
        -- To tell how many there are, not what is in them.
        grant select (id, at, reason, outcome) on footfall.dead_letters to footfall_ingest;
        -- For ON CONFLICT and RETURNING of the staging path.
        grant select (occurred_at, event_id) on footfall.events to footfall_ingest;
        grant select, insert, update on footfall.sink_offsets, footfall.spools to footfall_ingest;
        grant execute on function footfall.day_state, footfall.make_day, footfall.drain_day,
            footfall.fold to footfall_ingest;
        execute format('grant temporary on database %I to footfall_ingest', current_database());
    end if;
    if to_regrole('footfall_reader') is not null then
        grant usage on schema footfall to footfall_reader;
        grant select on footfall.schema_version, footfall.events, footfall.events_default,
            footfall.ledger, footfall.tallies, footfall.site_hours, footfall.arrivals,
            footfall.sink_offsets, footfall.spools to footfall_reader;
        grant execute on function footfall.day_state to footfall_reader;
        -- Not what is in them.
        grant select (id, at, reason, sqlstate, cluster_id, topic_id, topic, partition,
            record_offset, outcome, resolved_at) on footfall.dead_letters to footfall_reader;
    end if;
    if to_regrole('footfall_eraser') is not null then
        grant usage on schema footfall to footfall_eraser;
        grant select on footfall.schema_version to footfall_eraser;
        grant select, delete on footfall.events to footfall_eraser;
        grant select, update on footfall.dead_letters to footfall_eraser;
        grant insert on footfall.tallies to footfall_eraser;
        grant execute on function footfall.day_state, footfall.drop_day, footfall.erase_day
            to footfall_eraser;
    end if;
end $$;
select footfall.grant_roles();
