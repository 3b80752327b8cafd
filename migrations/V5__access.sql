-- Who may use the API, and how much of it. A key is kept as its hash; `principal` is its name in the audit trail.
alter table api_keys
    add constraint api_keys_role_check check (role in ('viewer', 'submit', 'support', 'admin')),
    -- The key's first characters, by which a person tells it from others.
    add column prefix text not null default '',
    add column last_used_at timestamptz,
    -- Of this key alone, below the tenant's; null: the tenant's.
    add column requests_per_minute integer;
create unique index api_keys_by_hash on api_keys (hash);
create index api_keys_by_tenant on api_keys (tenant, id desc);

-- What differs for a tenant from the configured limits; null: as configured, 0: no limit.
create table tenants (
    tenant text primary key,
    requests_per_minute integer,
    podcasts_in_flight integer,
    characters_per_day bigint,
    updated_at timestamptz not null default now()
);

-- What a tenant has asked for on a day (UTC). Whoever accepts for a limited tenant holds this row's lock until the commit.
create table tenant_days (
    tenant text not null,
    day date not null,
    characters bigint not null default 0,
    primary key (tenant, day)
);
create index podcasts_running on podcasts (tenant) where state = 'running';
