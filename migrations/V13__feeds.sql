-- What a tenant's feed says of itself, and the hash of the token that opens it to players.
create table feeds (
    tenant text primary key,
    settings jsonb not null default '{}',
    token_hash bytea unique,
    updated_at timestamptz not null default now()
);
