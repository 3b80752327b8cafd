-- What equal work that was done before has saved a podcast, and when its first segment could be heard.
alter table podcasts
    add column saved_calls bigint not null default 0,
    add column saved_micros bigint not null default 0,
    add column first_audio_at timestamptz;

-- Tasks that wait for equal work of another podcast: found when that is done.
create index tasks_awaiting on tasks (input_hash) where state = 'scheduled' and last_class = 'returned';

-- How long work takes, learnt from what was observed: of each kind, engine and voice (empty: all of them) the sums of a line.
create table durations (
    kind text not null,
    engine text not null,
    voice text not null,
    line jsonb not null,
    updated_at timestamptz not null default now(),
    primary key (kind, engine, voice)
);
