-- Recorded steps. `name` is the path without the number of its last name, `token` the attempt that began
-- the step last, `seen` the one that came by last, `position` the order in which the steps of a job were
-- begun first. What was printed stands last, so that no other column lies behind it.
create table step (
  job_id integer not null,
  name text not null,
  occurrence integer not null,
  position integer not null,
  state text not null,
  token integer not null,
  seen integer not null,
  key text not null,
  command text,
  input text,
  started_at integer not null,
  ended_at integer,
  wake_at integer,
  exit_code integer,
  bytes integer,
  file text,
  output blob,
  primary key (job_id, name, occurrence)
) strict, without rowid;
