-- A dead letter that was replayed or dropped stays as a line without its bytes, so
-- that the ledger's n_dead has something to be compared with.
alter table footfall.dead_letters
    add column outcome text check (outcome in ('inserted', 'duplicate', 'dropped')),
    add column resolved_at timestamptz;

-- Where a partition was read from first: the ledger begins there.
alter table footfall.sink_offsets add column first_offset bigint;
update footfall.sink_offsets o set first_offset = coalesce((
    select min(from_offset) from footfall.ledger l
    where (l.cluster_id, l.topic_id, l.partition) = (o.cluster_id, o.topic_id, o.partition)),
    o.next_offset);

-- Offsets of the range that Kafka no longer had, as a person confirmed who moved the
-- position over them. Such a line has no records.
alter table footfall.ledger add column n_lost bigint not null default 0;

-- What became of records, by site and hour of occurred_at. Each transaction that
-- stores or deletes events appends lines of its own, so that none waits for another;
-- footfall.fold() adds them up. A record that cannot be read has the site '' and the
-- hour of its commit. n_inserted - n_erased is how many rows the table has.
-- No index: written 10,000 events at a time, folded to one line per site and hour.
create table footfall.tallies (
    site        text not null,
    hour        timestamptz not null,
    n_inserted  bigint not null default 0,
    n_duplicate bigint not null default 0,
    n_dead      bigint not null default 0,
    n_erased    bigint not null default 0
);

create view footfall.site_hours as
    select site, hour, sum(n_inserted)::bigint as n_inserted,
        sum(n_duplicate)::bigint as n_duplicate, sum(n_dead)::bigint as n_dead,
        sum(n_erased)::bigint as n_erased
    from footfall.tallies group by site, hour;

-- Which records of a collector's spool have arrived, by their numbers in it. A number
-- that is in no line was accepted and never came here. at is when the newest of them
-- was committed. A line with a note explains numbers that will never come.
create table footfall.arrivals (
    spool_id uuid not null,
    seqs     int8multirange not null,
    at       timestamptz not null default clock_timestamp(),
    note     text
);
-- Where a batch has few of the topic's partitions nearly each number is a range of its
-- own. They are folded within minutes: not worth the time of compressing 200 kB a batch.
alter table footfall.arrivals alter seqs set storage external;

-- The functions below run with the rights of the schema's owner: the role that stores
-- events has no right to make, change or drop a table. Each pins its search_path.

-- Says whether footfall.events has a partition of this day: 'attached', 'taken' (there
-- is such a table, and it is no partition) or null.
create function footfall.day_state(day date) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when i.inhrelid is null then 'taken' else 'attached' end
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_inherits i on i.inhrelid = c.oid
        and i.inhparent = 'footfall.events'::regclass and not i.inhdetachpending
    where n.nspname = 'footfall' and c.relname = 'events_' || to_char(day, 'YYYYMMDD')
$$;

-- Makes a day's partition. CREATE TABLE … PARTITION OF would lock readers out of the
-- whole table; ATTACH only locks events_default, for the moment of the check that it
-- has no row of the day. Returns 'made', 'attached' (was there), 'taken', or 'stray':
-- events_default has rows of the day, which drain_day moves.
create function footfall.make_day(day date) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
declare
    name text := 'events_' || to_char(day, 'YYYYMMDD');
    since timestamptz := day::timestamp at time zone 'UTC';
    until timestamptz := (day + 1)::timestamp at time zone 'UTC';
    state text;
begin
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

-- Moves a day's rows from events_default into a partition of their own, and returns
-- how many. Whoever writes a row of events_default just then waits for the move, and
-- so do readers; rows of days with a partition go on. One transaction: a row is in one
-- of the two at any time.
create function footfall.drain_day(day date) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
declare
    name text := 'events_' || to_char(day, 'YYYYMMDD');
    since timestamptz := day::timestamp at time zone 'UTC';
    until timestamptz := (day + 1)::timestamp at time zone 'UTC';
    moved bigint;
begin
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

-- Drops a day's partition with its rows, and writes them off. Reports whether there was
-- one. It waits a second for those who write, then gives up.
create function footfall.drop_day(day date) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '1s' as $$
begin
    perform pg_advisory_xact_lock(7381240859974531443);
    if footfall.day_state(day) is distinct from 'attached' then
        return false;
    end if;
    execute format('drop table footfall.%I', 'events_' || to_char(day, 'YYYYMMDD'));
    insert into footfall.tallies (site, hour, n_erased)
        select site, hour, sum(n_inserted - n_erased) from footfall.tallies
        where hour >= day::timestamp at time zone 'UTC'
            and hour < (day + 1)::timestamp at time zone 'UTC'
        group by site, hour having sum(n_inserted - n_erased) <> 0;
    return true;
end $$;

-- Deletes a site's rows of one day, and writes them off.
create function footfall.erase_day(of_site text, day date) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    n bigint;
begin
    with gone as (
        delete from footfall.events where site = of_site
            and occurred_at >= day::timestamp at time zone 'UTC'
            and occurred_at < (day + 1)::timestamp at time zone 'UTC'
        returning occurred_at),
    told as (
        insert into footfall.tallies (site, hour, n_erased)
        select of_site, date_trunc('hour', occurred_at, 'UTC'), count(*) from gone
        group by 2 returning n_erased)
    select coalesce(sum(n_erased), 0) into n from told;
    return n;
end $$;

-- Adds up what was appended: tallies by site and hour, arrivals by spool. Arrivals of
-- the last ten minutes stay apart, because the audit asks what came before. A ledger
-- of more than a week ago becomes one line an hour, where its lines touch.
create function footfall.fold() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    until timestamptz := clock_timestamp() - interval '10 minutes';
    spool uuid;
    n bigint;
begin
    if not pg_try_advisory_xact_lock(7381240860009000036) then -- "footfold"
        return;
    end if;
    with many as (
        select site, hour from footfall.tallies group by site, hour having count(*) > 1),
    gone as (
        delete from footfall.tallies t using many m
        where t.site = m.site and t.hour = m.hour returning t.*)
    insert into footfall.tallies
        select site, hour, sum(n_inserted), sum(n_duplicate), sum(n_dead), sum(n_erased)
        from gone group by site, hour;

    -- Not all at once: a busy spool's can be millions of ranges, which hardly overlap
    -- until all partitions have come as far.
    for spool in select spool_id from footfall.arrivals where note is null and at < until
            group by spool_id having count(*) > 1 loop
        loop
            with oldest as (
                select ctid from footfall.arrivals
                where spool_id = spool and note is null and at < until order by at limit 200),
            gone as (
                delete from footfall.arrivals a using oldest o where a.ctid = o.ctid returning a.*),
            added as (
                insert into footfall.arrivals (spool_id, seqs, at)
                select spool, range_agg(seqs), max(at) from gone returning 1)
            select count(*) into n from gone, added;
            exit when n < 200;
        end loop;
    end loop;

    with hours as (
        select cluster_id, topic_id, partition, date_trunc('hour', committed_at, 'UTC') as hour
        from footfall.ledger
        where committed_at < date_trunc('hour', clock_timestamp(), 'UTC') - interval '7 days'
        group by 1, 2, 3, 4
        having count(*) > 1 and sum(to_offset - from_offset) = max(to_offset) - min(from_offset)),
    gone as (
        delete from footfall.ledger l using hours h
        where l.cluster_id = h.cluster_id and l.topic_id = h.topic_id
            and l.partition = h.partition and l.committed_at >= h.hour
            and l.committed_at < h.hour + interval '1 hour'
        returning l.*, h.hour)
    insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset,
            n_in, n_inserted, n_duplicate, n_dead, n_lost, committed_at)
        select cluster_id, topic_id, partition, min(from_offset), max(to_offset), sum(n_in),
            sum(n_inserted), sum(n_duplicate), sum(n_dead), sum(n_lost), max(committed_at)
        from gone group by cluster_id, topic_id, partition, hour;
end $$;

-- Makes the tallies say what the table and the ledger hold, after rows came or went
-- behind their back: a sink of an older version, a restored partition, a delete by hand.
-- What the ledger has beyond all sites goes to the site ''. Writers wait.
create function footfall.recount() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    lock table footfall.events in share row exclusive mode;
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

select footfall.recount();

-- Rights. The role that runs the migrations owns all of it. Three roles without a login
-- hold what the others need; give them to users of yours:
--     create role sink login password '…' in role footfall_ingest;
revoke all on all functions in schema footfall from public;

-- Grants what the roles need, those that there are. For the owner; to be called again
-- when the roles were made after the migration.
create function footfall.grant_roles() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if to_regrole('footfall_ingest') is not null then
        grant usage on schema footfall to footfall_ingest;
        grant select on footfall.schema_version, footfall.events_default to footfall_ingest;
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
revoke all on function footfall.grant_roles from public;

-- Roles belong to the whole server, and not every owner of a database may make them.
do $$
declare
    name text;
begin
    foreach name in array array['footfall_ingest', 'footfall_reader', 'footfall_eraser'] loop
        if to_regrole(name) is null then
            begin
                execute format('create role %I nologin', name);
            exception
                when duplicate_object or unique_violation then null; -- made beside us
                when insufficient_privilege then
                    raise warning 'role % is not made: % may not; create it and call footfall.grant_roles()',
                        name, current_user;
            end;
        end if;
    end loop;
end $$;
select footfall.grant_roles();
