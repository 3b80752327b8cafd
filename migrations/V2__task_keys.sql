-- Batches name many tasks of many podcasts. Looked up by both columns, a batch costs the product of its two lists; by the id, which
-- comes first now, it costs one look a task and partition.
alter table tasks drop constraint tasks_pkey;
alter table tasks add primary key (id, podcast_id);
