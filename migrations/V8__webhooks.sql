-- What a tenant's own server is told when a podcast has ended, and how it knows that it comes from here.

alter table podcasts add column callback_url text;

create table webhooks (
    -- What its receiver knows it by, however often it is sent.
    id uuid primary key,
    podcast_id uuid not null references podcasts on delete cascade,
    tenant text not null,
    principal text not null,
    url text not null,
    -- The event that it tells.
    event text not null,
    seq bigint not null,
    -- waiting: is sent at next_at; delivered; failed: given up; disabled: its receiver is gone for good.
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed', 'disabled')),
    attempts integer not null default 0,
    -- While it is being sent, this is when another producer may try.
    next_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    delivered_at timestamptz,
    -- What came of each attempt, newest last.
    history jsonb not null default '[]',
    unique (podcast_id, seq)
);
create index webhooks_due on webhooks (next_at) where state = 'waiting';

-- Keys to sign with. A new one signs at once; the one before signs beside it until it retires. A signature needs the secret
-- itself, so it is kept as it is.
create table webhook_secrets (
    id uuid primary key,
    tenant text not null,
    secret bytea not null,
    created_at timestamptz not null default now(),
    retires_at timestamptz
);
create index webhook_secrets_by_tenant on webhook_secrets (tenant, id desc);

-- Addresses that answered 410: nothing more is sent there until somebody replays one of their webhooks.
create table webhook_addresses_gone (
    tenant text not null,
    url text not null,
    since timestamptz not null default now(),
    primary key (tenant, url)
);
