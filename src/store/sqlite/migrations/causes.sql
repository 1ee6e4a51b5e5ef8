-- What jobs died of. `n` is how many are dead of it now; `is_own` is 1 where a job gave the group its name itself.
create table cause (
  queue_id integer not null,
  name text not null,
  reason text not null,
  exit_code integer,
  signal integer,
  body text not null,
  is_own integer not null,
  n integer not null,
  first_at integer not null,
  last_at integer not null,
  primary key (queue_id, name)
) strict, without rowid;

-- The dead jobs of each, in the order in which they died.
create table death (
  queue_id integer not null,
  name text not null,
  died_at integer not null,
  job_id integer not null,
  primary key (queue_id, name, died_at, job_id)
) strict, without rowid;
