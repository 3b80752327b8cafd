-- Which rows need a blob: before one is collected, its name is looked up here.
create index tasks_by_audio on tasks ((result ->> 'audio')) where kind = 'tts' and result is not null;
create index tasks_by_source on tasks ((coalesce(input #>> '{source,blob}', input #>> '{plan,source,blob}')))
    where kind in ('outline', 'script') and coalesce(input #>> '{source,blob}', input #>> '{plan,source,blob}') is not null;
create index chapters_by_mix on chapters ((mix ->> 'audio')) where mix is not null;
create index podcasts_by_episode on podcasts ((episode ->> 'audio')) where episode is not null;
