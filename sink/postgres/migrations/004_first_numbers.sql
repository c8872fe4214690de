-- A spool's numbers begin at 1, so its first ones can be missing too: they were gone from
-- Kafka before a sink first came. But a spool that is older than its database's accounts
-- may have had its first numbers stored when nobody noted numbers. So a database that
-- already has positions remembers when this was; of spools made before then the audit
-- asks for nothing below the first number that arrived. Null: all begin at 1.
alter table footfall.schema_version add column spools_whole_since timestamptz;
update footfall.schema_version set spools_whole_since = clock_timestamp()
    where exists (select from footfall.sink_offsets);
