-- Columns are event.Fields in their order; a test compares them.
create table footfall.events (
    event_id        uuid not null,
    schema          smallint not null,
    site            text not null,
    type            text not null,
    name            text,
    occurred_at     timestamptz not null,
    received_at     timestamptz not null,
    clock           text not null,
    url             text,
    hostname        text,
    path            text,
    query           text,
    title           text,
    referrer        text,
    referrer_host   text,
    source          text,
    channel         text,
    utm_source      text,
    utm_medium      text,
    utm_campaign    text,
    utm_term        text,
    utm_content     text,
    click_id_type   text,
    visitor_id      text,
    session_id      text,
    user_id         text,
    pageview_id     text,
    ip              inet,
    country         text,
    region          text,
    city            text,
    asn             bigint,
    user_agent      text,
    browser         text,
    browser_version text,
    os              text,
    os_version      text,
    device          text,
    bot             boolean not null,
    bot_reasons     text[],
    language        text,
    timezone        text,
    screen_w        integer,
    screen_h        integer,
    viewport_w      integer,
    viewport_h      integer,
    engaged_ms      bigint,
    scroll_pct      smallint,
    revenue         numeric,
    currency        text,
    transport       text not null,
    snippet_version text,
    consent         text,
    gpc             boolean not null,
    props           jsonb,
    loaded_at       timestamptz not null default clock_timestamp(),
    primary key (occurred_at, event_id)
) partition by range (occurred_at);

-- What the indexes cost COPY, in µs of the server's CPU, bytes of WAL and bytes of disk a
-- row (PostgreSQL 15, 200,000 rows of one day with about 30 fields set, in order of time,
-- medians of 4):
--     none                   2.50   476   512
--     the key                3.02   561   553   one event is one row
--     and (site, occurred_at) 4.00   636   585   each query and the audit asks for a site
--     and BRIN (loaded_at)   4.23   636   585   the live view asks for the newest
create index events_site_occurred_at on footfall.events (site, occurred_at);

-- Rows arrive in the order of loaded_at, so a summary of page ranges finds the
-- newest ones at almost no cost. Small ranges: the live view reads few rows.
create index events_loaded_at on footfall.events
    using brin (loaded_at) with (pages_per_range = 32, autosummarize = on);

-- Rows of days that have no partition. The sink makes the days it needs.
create table footfall.events_default partition of footfall.events default;

-- The next offset of each partition. Moved in the transaction that stores the
-- records, only by compare-and-set: this row is what makes a record one row.
create table footfall.sink_offsets (
    cluster_id  text not null,
    topic_id    uuid not null,
    topic       text not null,
    partition   integer not null,
    next_offset bigint not null,
    primary key (cluster_id, topic_id, partition)
) with (fillfactor = 50);

-- One row for each stored run of records. Within (cluster_id, topic_id, partition)
-- the ranges touch, and n_in = n_inserted + n_duplicate + n_dead.
create table footfall.ledger (
    id           bigint generated always as identity primary key,
    cluster_id   text not null,
    topic_id     uuid not null,
    partition    integer not null,
    from_offset  bigint not null,
    to_offset    bigint not null,
    n_in         bigint not null,
    n_inserted   bigint not null,
    n_duplicate  bigint not null,
    n_dead       bigint not null,
    committed_at timestamptz not null default clock_timestamp()
);

create table footfall.dead_letters (
    id            bigint generated always as identity primary key,
    at            timestamptz not null default clock_timestamp(),
    reason        text not null,
    sqlstate      text,
    detail        text,
    cluster_id    text not null,
    topic_id      uuid not null,
    topic         text not null,
    partition     integer not null,
    record_offset bigint not null,
    key           bytea,
    value         bytea
);

-- How far a collector's spool is stored, for replay after a restart.
create table footfall.spools (
    spool_id   uuid primary key,
    next_seq   bigint not null,
    updated_at timestamptz not null default clock_timestamp()
);
