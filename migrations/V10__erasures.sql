-- Podcasts whose rows are gone, as long as blobs or cached results of theirs may be left.
create table erasures (
    id uuid primary key,
    podcast_id uuid not null,
    tenant text not null,
    principal text not null,
    reason text not null,
    -- Keys of blobs that are still to go.
    blobs text[] not null,
    -- Cached results of the tenant's writing are still to be forgotten.
    cached boolean not null default true,
    created_at timestamptz not null default now(),
    done_at timestamptz
);
create index erasures_unfinished on erasures (id) where done_at is null;
create index erasures_by_tenant on erasures (tenant, id desc);
