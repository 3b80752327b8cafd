-- What was answered in a minute, as collectors counted it: so that the dashboard's figures cost no look at attempts. A row for each
-- collector, which alone changes it.
create table minutes (
    minute timestamptz not null,
    tenant text not null,
    kind text not null,
    collector uuid not null,
    done bigint not null,
    cached bigint not null,
    failed bigint not null,
    units bigint not null,
    cost_micros bigint not null,
    -- How long the attempts that were done took: bucket i holds those below 2^i milliseconds that are in none before it.
    took bigint[] not null,
    primary key (minute, tenant, kind, collector)
);
create index minutes_by_tenant on minutes (tenant, minute);
