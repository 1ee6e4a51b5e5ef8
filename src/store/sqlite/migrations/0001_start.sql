-- The first schema. A migration is never edited once it has been released: add the next one.
-- Times are milliseconds: of UTC, except worker.lease_until, which is of the machine's uptime.

create table queue (
  id integer primary key,
  name text not null unique,
  paused_at integer,
  settings text not null default '{}'
) strict;

-- Numbers that are kept in the transaction that changes what they count.
-- queue_id 0 is the file's own: 'job' and 'worker' hold the last id given.
-- Else `what` is a state and `n` how many jobs of the queue stand in it.
create table counter (
  queue_id integer not null,
  what text not null,
  n integer not null,
  primary key (queue_id, what)
) strict, without rowid;

-- Where and how attempts run, shared by the jobs of one push.
create table context (
  id integer primary key,
  cwd blob not null,
  env blob not null,
  terms text not null,
  unique (cwd, env, terms)
) strict;

create table payload (
  id integer primary key,
  body blob not null
) strict;

-- Narrow on purpose: each job's row is rewritten by every claim and every settlement.
create table job (
  id integer primary key,
  queue_id integer not null,
  state text not null,
  priority integer not null,
  run_at integer not null,
  attempt integer not null default 0,
  max_attempts integer not null,
  crashes integer not null default 0,
  token integer not null default 0,
  worker_id integer,
  cancel_requested integer not null default 0,
  created_at integer not null,
  started_at integer,
  finished_at integer,
  expires_at integer,
  reason text,
  outcome text,
  exit_code integer,
  signal integer,
  error text,
  context_id integer not null,
  payload_id integer,
  is_shell integer,
  command blob,
  env blob,
  labels text,
  key text,
  key_holds integer,
  key_until integer
) strict;

create index job_ready on job (queue_id, priority desc, id) where state = 'ready';
create index job_due on job (run_at) where state in ('scheduled', 'retrying');
create index job_expiring on job (expires_at)
  where expires_at is not null and started_at is null and state in ('scheduled', 'ready');
create index job_running on job (worker_id) where state = 'running';
create index job_dead on job (finished_at) where state = 'dead';
create unique index job_key on job (queue_id, key) where key_holds = 1;

create table label (
  name text not null,
  value text not null,
  job_id integer not null,
  primary key (name, value, job_id)
) strict, without rowid;

create table worker (
  id integer primary key,
  host text not null,
  pid integer not null,
  boot_id text not null,
  queues text not null,
  slots integer not null,
  lease integer not null,
  since integer not null,
  heartbeat_at integer not null,
  lease_until integer not null
) strict;

create table attempt (
  job_id integer not null,
  token integer not null,
  outcome text not null,
  exit_code integer,
  signal integer,
  error text,
  started_at integer not null,
  ended_at integer not null,
  cpu_us integer,
  max_rss_bytes integer,
  stdout_bytes integer not null,
  stderr_bytes integer not null,
  is_truncated integer not null,
  worker text not null,
  primary key (job_id, token)
) strict, without rowid;

-- Pieces of output. The id is job_id * 2^24 plus a running number, so that a job's pieces are
-- neighbours and need no index.
create table output (
  id integer primary key,
  token integer not null,
  stream text not null,
  start integer not null,
  body blob not null
) strict;
