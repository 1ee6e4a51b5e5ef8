-- Which jobs were dropped and can be brought back. Their rows stay where they are, in state 'dropped' and with the
-- number of their queue negated, so that nothing that asks for jobs meets them; `key_holds` is 0 where one held its
-- key. The queue stands here by its name, because it may be removed, and its number given to another.
create table dropped (
  drop_id integer not null,
  job_id integer not null,
  dropped_at integer not null,
  queue text not null,
  primary key (drop_id, job_id)
) strict, without rowid;
