-- What is held back until somebody resumes it: everything that all of the given parts fit; null fits everything.
create table pauses (
    id uuid primary key,
    -- Held tasks are scheduled for the year 9000 and this many seconds, so that those of a pause are found by one look in an index.
    number integer generated always as identity,
    tenant text,
    kind text,
    lane text,
    engine text,
    principal text not null,
    reason text not null,
    created_at timestamptz not null default now(),
    resumed_at timestamptz,
    resumed_by text,
    -- Nothing is held under its number any more.
    released boolean not null default false
);
-- What is paused is paused once.
create unique index pauses_in_force on pauses (coalesce(tenant, ''), coalesce(kind, ''), coalesce(lane, ''), coalesce(engine, ''))
    where resumed_at is null;
create index pauses_unreleased on pauses (number) where not released;
