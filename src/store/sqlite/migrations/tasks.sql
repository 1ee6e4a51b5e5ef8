-- Requeues that are recorded, each with the jobs that were selected for it once and for all.

-- `position` is the place of the first job that it has not come to, and `probe` that of the first of those that
-- went first of which it is not known that it has ended. `sampled` is how many went first. `rate` alone is an even
-- one; with `ramp_to` and `ramp_over` it is the first of a ramp.
create table task (
  id integer primary key,
  phase text not null,
  selection text not null,
  sample integer,
  if_ok integer,
  rate text,
  ramp_to text,
  ramp_over integer,
  to_queue text,
  delay integer,
  max_attempts integer,
  from_step text,
  created_at integer not null,
  started_at integer,
  released_at integer,
  paused_at integer,
  ended_at integer,
  jobs integer not null,
  position integer not null default 0,
  probe integer not null default 0,
  released integer not null default 0,
  sampled integer not null default 0,
  skipped integer not null default 0
) strict;

create index task_open on task (id) where ended_at is null and paused_at is null;

-- `skipped` is why it was not put back, for those that were come to.
create table task_job (
  task_id integer not null,
  position integer not null,
  job_id integer not null,
  skipped text,
  primary key (task_id, position)
) strict, without rowid;
