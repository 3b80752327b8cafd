-- The truth of the fleet. Tenant and principal stand on every row. Ids are UUID v7, so they sort by time, and the tables that
-- grow with the work (tasks, attempts, events) are partitioned by podcast id: retention drops partitions.

create table fleet (
    only_row boolean primary key default true check (only_row),
    -- Names the marker queue in the broker; another epoch means that the broker has forgotten what it held.
    epoch uuid not null
);
insert into fleet (epoch) values (gen_random_uuid());

-- A process that publishes tickets. When its lease is over, what it dispatched beyond `confirmed` is dispatched again.
create table publishers (
    id uuid primary key,
    role text not null,
    confirmed bigint not null default 0,
    lease_until timestamptz not null
);

create table podcasts (
    id uuid primary key,
    tenant text not null,
    principal text not null,
    idempotency_key text,
    request_hash text not null,
    request jsonb not null,
    state text not null default 'running' check (state in ('running', 'completed', 'failed', 'cancelled')),
    generation integer not null default 1,
    lane text not null,
    -- Virtual finish time of the podcast in its tenant's share, in microseconds; ranks of its tasks derive from it.
    rank bigint not null,
    -- Engines and speakers, fixed at acceptance.
    engines jsonb not null,
    brief jsonb not null,
    title text,
    traceparent text,
    deadline timestamptz not null,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    event_seq bigint not null default 0,
    -- Counters of the fan-in, changed only under this row's lock.
    chapters_total integer not null default 0,
    chapters_written integer not null default 0,
    chapters_mixed integer not null default 0,
    segments_total integer not null default 0,
    segments_done integer not null default 0,
    episode jsonb,
    failure jsonb,
    unique (tenant, idempotency_key)
);
create index podcasts_by_tenant on podcasts (tenant, id desc);
create index podcasts_by_deadline on podcasts (deadline) where state = 'running';

create table chapters (
    podcast_id uuid not null references podcasts on delete cascade,
    generation integer not null,
    chapter integer not null,
    tenant text not null,
    principal text not null,
    title text not null,
    written boolean not null default false,
    segments_total integer not null default 0,
    segments_done integer not null default 0,
    mix jsonb,
    primary key (podcast_id, generation, chapter)
) with (fillfactor = 80);

create table segments (
    podcast_id uuid not null references podcasts on delete cascade,
    generation integer not null,
    chapter integer not null,
    segment integer not null,
    tenant text not null,
    principal text not null,
    speaker text not null,
    text text not null,
    pause text not null,
    primary key (podcast_id, generation, chapter, segment)
);

create table tasks (
    podcast_id uuid not null,
    id uuid not null,
    tenant text not null,
    principal text not null,
    generation integer not null,
    kind text not null,
    chapter integer not null default 0,
    segment integer not null default 0,
    -- ready: may be dispatched; scheduled: waits for run_at; dispatched: its ticket is out; done; dead: a person has to look;
    -- held: its podcast failed; cancelled.
    state text not null check (state in ('ready', 'scheduled', 'dispatched', 'done', 'dead', 'held', 'cancelled')),
    lane text not null,
    rank bigint not null,
    engine text not null,
    input jsonb not null,
    input_hash text not null,
    result jsonb,
    -- Rises at every dispatch and never resets.
    attempt integer not null default 0,
    failures smallint not null default 0,
    throttles smallint not null default 0,
    interruptions smallint not null default 0,
    -- Parts of a script that were accepted, and the turns in them.
    parts integer not null default 0,
    turns integer not null default 0,
    deadline timestamptz not null,
    traceparent text,
    run_at timestamptz,
    publisher uuid,
    publish_seq bigint,
    epoch uuid,
    dispatched_at timestamptz,
    last_class text,
    last_error text,
    primary key (podcast_id, id),
    unique (podcast_id, generation, kind, chapter, segment)
) partition by range (podcast_id);

-- The dispatcher takes the lowest rank of a lane; a million rows behind it cost nothing.
create index tasks_ready on tasks (kind, lane, rank) where state = 'ready';
create index tasks_scheduled on tasks (run_at) where state = 'scheduled';
create index tasks_dispatched on tasks (kind, lane) where state = 'dispatched';

-- A row for each answered (or lost) dispatch.
create table attempts (
    podcast_id uuid not null,
    task_id uuid not null,
    attempt integer not null,
    part integer not null default 0,
    tenant text not null,
    principal text not null,
    kind text not null,
    engine text not null,
    class text not null,
    worker text not null,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    units bigint not null,
    cost_micros bigint not null,
    cached boolean not null,
    message text,
    recorded_at timestamptz not null default now()
) partition by range (podcast_id);
create index attempts_by_task on attempts (podcast_id, task_id);

create table events (
    podcast_id uuid not null,
    seq bigint not null,
    tenant text not null,
    principal text not null,
    at timestamptz not null default now(),
    event text not null,
    data jsonb not null,
    primary key (podcast_id, seq)
) partition by range (podcast_id);

create table dead_letters (
    id uuid primary key,
    tenant text not null,
    principal text not null,
    -- task: given up; message: nobody could read it.
    source text not null check (source in ('task', 'message')),
    state text not null default 'open' check (state in ('open', 'replayed', 'discarded')),
    podcast_id uuid,
    task_id uuid,
    kind text,
    engine text,
    class text not null,
    message text not null,
    chain jsonb not null default '[]',
    history jsonb not null default '[]',
    payload bytea,
    fingerprint text not null,
    version text not null,
    created_at timestamptz not null default now()
);
create index dead_letters_open on dead_letters (tenant, fingerprint, created_at) where state = 'open';
create index dead_letters_by_podcast on dead_letters (podcast_id);

create table audit (
    id uuid primary key,
    tenant text not null,
    principal text not null,
    at timestamptz not null default now(),
    action text not null,
    subject text not null,
    reason text,
    before jsonb,
    after jsonb
);

create table workers (
    id text primary key,
    version text not null,
    host text not null,
    pid integer not null,
    pulse jsonb not null,
    seen_at timestamptz not null default now()
);

create table api_keys (
    id uuid primary key,
    tenant text not null,
    principal text not null,
    role text not null,
    hash bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz
);

-- The lowest UUID v7 of an instant: its first 48 bits are milliseconds since 1970 (RFC 9562).
create function uuid_floor(at timestamptz) returns uuid language sql immutable strict as $$
    select rpad(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- Makes the monthly partitions from this month to `months` ahead; what lies outside them goes to the default partition.
create function make_partitions(months integer) returns void language plpgsql as $$
declare
    parent text;
    first timestamptz;
    name text;
begin
    perform pg_advisory_xact_lock(7047001);
    for i in 0..months loop
        first := date_trunc('month', now(), 'UTC') + make_interval(months => i);
        foreach parent in array array['tasks', 'attempts', 'events'] loop
            name := parent || '_' || to_char(first at time zone 'UTC', 'YYYYMM');
            if to_regclass(name) is null then
                execute format(
                    'create table %I partition of %I for values from (%L) to (%L)', name, parent,
                    uuid_floor(first), uuid_floor(first + interval '1 month'));
            end if;
        end loop;
    end loop;
end
$$;

create table tasks_default partition of tasks default;
create table attempts_default partition of attempts default;
create table events_default partition of events default;
select make_partitions(3);
