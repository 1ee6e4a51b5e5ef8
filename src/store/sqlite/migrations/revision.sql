-- What was replaced in jobs: `what` is 'payload' or 'command', `old` what was there before, null where nothing was.
create table revision (
  job_id integer not null,
  position integer not null,
  at integer not null,
  what text not null,
  is_shell integer,
  old blob,
  primary key (job_id, position)
) strict, without rowid;
