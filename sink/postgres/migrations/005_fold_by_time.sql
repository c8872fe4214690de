-- footfall.fold() asks every ten minutes for lines of more than a week ago, and there are
-- few beside those of the week: a busy sink writes some 60 a second. Without an index it reads
-- them all. A B-tree and no BRIN: what folding frees is filled with new lines, so a block does
-- not stay of one time. Costs a microsecond a line, of which a batch of 10,000 rows has one to
-- three; 21 MB and half a second to make for a million lines, while the sinks wait.
create index ledger_committed_at on footfall.ledger (committed_at);

-- As before, with what is old in a variable: an index is of no use for a condition with
-- clock_timestamp(), which is volatile.
create or replace function footfall.fold() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    until timestamptz := clock_timestamp() - interval '10 minutes';
    old timestamptz := date_trunc('hour', clock_timestamp(), 'UTC') - interval '7 days';
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
        where committed_at < old
        group by 1, 2, 3, 4
        having count(*) > 1 and sum(to_offset - from_offset) = max(to_offset) - min(from_offset)),
    gone as (
        delete from footfall.ledger l using hours h
        where l.cluster_id = h.cluster_id and l.topic_id = h.topic_id
            and l.partition = h.partition and l.committed_at >= h.hour
            and l.committed_at < h.hour + interval '1 hour' and l.committed_at < old
        returning l.*, h.hour)
    insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset,
            n_in, n_inserted, n_duplicate, n_dead, n_lost, committed_at)
        select cluster_id, topic_id, partition, min(from_offset), max(to_offset), sum(n_in),
            sum(n_inserted), sum(n_duplicate), sum(n_dead), sum(n_lost), max(committed_at)
        from gone group by cluster_id, topic_id, partition, hour;
end $$;
