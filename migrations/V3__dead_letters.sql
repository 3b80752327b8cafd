-- Dead letters that a person can act on: where a message came from, what was decided about a letter, by whom and why; how
-- often a cause was seen; and replays of many letters at once.

alter table dead_letters drop constraint dead_letters_source_check;
alter table dead_letters
    -- task: given up; podcast: its deadline passed; message: nobody could read it, or it asked for what cannot be done.
    add constraint dead_letters_source_check check (source in ('task', 'podcast', 'message')),
    -- What a message was meant to be: request, ticket, outcome or unknown.
    add column origin text,
    -- Of a request: its idempotency key.
    add column message_id text,
    -- How long the payload was; what is kept of it may be less.
    add column payload_bytes integer,
    add column settled_at timestamptz,
    add column settled_by text,
    add column settled_reason text,
    -- The replay of many letters that replayed this one.
    add column replay_id uuid,
    -- The podcast that a replayed request became.
    add column became uuid,
    -- What an edit changed; the original stays in `payload`.
    add column difference jsonb;

update dead_letters set source = 'podcast' where source = 'message' and podcast_id is not null;
update dead_letters set origin = case when message like 'a request was refused:%' then 'request' else 'unknown' end
    where source = 'message';

create index dead_letters_by_tenant on dead_letters (tenant, id desc);
create index dead_letters_by_fingerprint on dead_letters (tenant, fingerprint, id desc);
create index dead_letters_settled on dead_letters (settled_at) where settled_at is not null;
create index audit_by_subject on audit (tenant, subject, id);

-- A cause, for as long as the fleet remembers: also after its letters are gone.
create table fingerprints (
    tenant text not null,
    fingerprint text not null,
    first_seen timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    seen bigint not null default 1,
    first_version text not null,
    last_version text not null,
    primary key (tenant, fingerprint)
);
insert into fingerprints (tenant, fingerprint, first_seen, last_seen, seen, first_version, last_version)
select tenant, fingerprint, min(created_at), max(created_at), count(*),
       (array_agg(version order by id))[1], (array_agg(version order by id desc))[1]
from dead_letters group by tenant, fingerprint;

-- A replay of many letters: in steps, each of which must prove itself before the next one begins.
create table replays (
    id uuid primary key,
    tenant text not null,
    principal text not null,
    filter jsonb not null,
    reason text not null,
    state text not null default 'running' check (state in ('running', 'completed', 'stopped', 'cancelled')),
    -- Why it stopped, or who cancelled it.
    remark text,
    rate_per_minute integer not null,
    total integer not null,
    step integer not null default 0,
    -- The earliest time of the next letter, by the rate.
    next_at timestamptz not null default now(),
    -- The process that takes the next letters; another one may when this is over.
    claimed_until timestamptz not null default now(),
    created_at timestamptz not null default now(),
    finished_at timestamptz
);
create index replays_running on replays (claimed_until) where state = 'running';
create index replays_by_tenant on replays (tenant, id desc);

create table replay_items (
    replay_id uuid not null references replays on delete cascade,
    letter_id uuid not null references dead_letters on delete cascade,
    state text not null default 'waiting' check (state in ('waiting', 'replayed', 'skipped', 'failed')),
    step integer,
    tries smallint not null default 0,
    -- Why it was skipped or failed.
    detail text,
    at timestamptz,
    primary key (replay_id, letter_id)
);
create index replay_items_waiting on replay_items (replay_id, letter_id) where state = 'waiting';
