-- What retention, `why` and `stats` need.

-- Finished jobs of a queue in the order in which they are forgotten.
create index job_finished on job (queue_id, finished_at)
  where state in ('succeeded', 'cancelled');

-- When the last worker that served the queue was last known to be there.
alter table queue add column served_until integer;

-- Whether the worker has a handler of its own, so that it can serve jobs without a command.
alter table worker add column has_handler integer not null default 0;

-- How many attempts ended in each slot of five minutes (`slot`: its start), by how long something
-- took. `what` is 'succeeded' or 'failed' for how long an attempt ran, 'wait' for how long it had been
-- due; `took` is in milliseconds, rounded down to five significant bits.
create table pace (
  queue_id integer not null,
  slot integer not null,
  what text not null,
  took integer not null,
  n integer not null,
  primary key (queue_id, slot, what, took)
) strict, without rowid;
