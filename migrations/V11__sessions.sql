-- Whoever signed in to the dashboard with a key. Only the hash of what the cookie holds is kept. A session opens nothing once its
-- key does not.
create table sessions (
    hash bytea primary key,
    key_id uuid not null references api_keys on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index sessions_by_key on sessions (key_id, created_at);
