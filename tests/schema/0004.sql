-- A queue of schema 4, as the qctl of 2026-11-25 left it (sqlite3 FILE .dump, commands of jobs 3 and 4 replaced): a
-- job that succeeded, one that failed and waits for its backoff, one that snoozed, and one that wanted to be buried
-- and ran when its worker was killed.
PRAGMA application_id = 1902343276;
PRAGMA user_version = 4;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE queue (
  id integer primary key,
  name text not null unique,
  paused_at integer,
  settings text not null default '{}'
, served_until integer) strict;
INSERT INTO queue VALUES(1,'default',NULL,'{}',1795579825279);
INSERT INTO queue VALUES(2,'mail',NULL,'{}',1795579825279);
CREATE TABLE counter (
  queue_id integer not null,
  what text not null,
  n integer not null,
  primary key (queue_id, what)
) strict, without rowid;
INSERT INTO counter VALUES(0,'job',4);
INSERT INTO counter VALUES(0,'worker',2);
INSERT INTO counter VALUES(1,'ready',0);
INSERT INTO counter VALUES(1,'retrying',1);
INSERT INTO counter VALUES(1,'running',1);
INSERT INTO counter VALUES(1,'succeeded',1);
INSERT INTO counter VALUES(2,'ready',0);
INSERT INTO counter VALUES(2,'retrying',1);
INSERT INTO counter VALUES(2,'running',0);
CREATE TABLE context (
  id integer primary key,
  cwd blob not null,
  env blob not null,
  terms text not null,
  unique (cwd, env, terms)
) strict;
INSERT INTO context VALUES(1,X'2f',X'504154483d2f7573722f62696e3a2f62696e','{"backoff":{"exp":[10000,3600000]},"jitter":"half","dead_on":[],"timeout":null,"kill_after":10000}');
CREATE TABLE payload (
  id integer primary key,
  body blob not null
) strict;
CREATE TABLE job (
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
, is_taken integer not null default 0, wish text, progress text, snoozes integer not null default 0) strict;
INSERT INTO job VALUES(1,1,'succeeded',0,1795579825232,1,5,0,1,NULL,0,1795579825232,1795579825259,1795579825265,NULL,NULL,'succeeded',0,NULL,NULL,1,NULL,1,X'74727565',NULL,'{"a":"b"}','k1',1,1795666225232,0,NULL,NULL,0);
INSERT INTO job VALUES(2,2,'retrying',0,1795579832433,1,3,0,1,NULL,0,1795579825243,1795579825265,NULL,NULL,NULL,'failed',3,NULL,'exit 3',1,NULL,1,X'657869742033',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,0);
INSERT INTO job VALUES(3,1,'retrying',0,1795580425276,0,5,0,1,NULL,0,1795579825247,1795579825267,NULL,NULL,NULL,'snoozed',0,NULL,NULL,1,NULL,1,X'74727565',NULL,NULL,NULL,NULL,NULL,0,NULL,'{"percent":40,"message":"half"}',1);
INSERT INTO job VALUES(4,1,'running',0,1795579825286,1,5,0,1,2,0,1795579825286,1795579825301,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,1,X'74727565',NULL,NULL,NULL,NULL,NULL,0,'{"bury":"no"}',NULL,0);
CREATE TABLE label (
  name text not null,
  value text not null,
  job_id integer not null,
  primary key (name, value, job_id)
) strict, without rowid;
INSERT INTO label VALUES('a','b',1);
CREATE TABLE worker (
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
, has_handler integer not null default 0, queue_file text, lock_file text) strict;
INSERT INTO worker VALUES(2,'host',2531,'00000000-0000-4000-8000-000000000000','',1,30000,1795579825299,1795579825299,24225136,0,'65024:12345348','65024:12345349');
CREATE TABLE attempt (
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
INSERT INTO attempt VALUES(1,1,'succeeded',0,NULL,NULL,1795579825259,1795579825265,746,11853824,0,0,0,'w1');
INSERT INTO attempt VALUES(2,1,'failed',3,NULL,'exit 3',1795579825265,1795579825267,657,12247040,0,0,0,'w1');
INSERT INTO attempt VALUES(3,1,'snoozed',0,NULL,NULL,1795579825267,1795579825276,4165,12247040,0,0,0,'w1');
CREATE TABLE output (
  id integer primary key,
  token integer not null,
  stream text not null,
  start integer not null,
  body blob not null
) strict;
CREATE TABLE pace (
  queue_id integer not null,
  slot integer not null,
  what text not null,
  took integer not null,
  n integer not null,
  primary key (queue_id, slot, what, took)
) strict, without rowid;
INSERT INTO pace VALUES(1,1795579800000,'succeeded',6,1);
INSERT INTO pace VALUES(1,1795579800000,'wait',27,1);
INSERT INTO pace VALUES(2,1795579800000,'failed',2,1);
INSERT INTO pace VALUES(2,1795579800000,'wait',22,1);
CREATE INDEX job_ready on job (queue_id, priority desc, id) where state = 'ready';
CREATE INDEX job_due on job (run_at) where state in ('scheduled', 'retrying');
CREATE INDEX job_expiring on job (expires_at)
  where expires_at is not null and started_at is null and state in ('scheduled', 'ready');
CREATE INDEX job_running on job (worker_id) where state = 'running';
CREATE INDEX job_dead on job (finished_at) where state = 'dead';
CREATE UNIQUE INDEX job_key on job (queue_id, key) where key_holds = 1;
CREATE INDEX job_finished on job (queue_id, finished_at)
  where state in ('succeeded', 'cancelled');
COMMIT;
