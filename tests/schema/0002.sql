-- A queue of schema 2, as the qctl of 2026-11-24 made it of that of schema 1 (sqlite3 FILE .dump).
PRAGMA application_id = 1902343276;
PRAGMA user_version = 2;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
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
INSERT INTO "attempt" VALUES(1,1,'failed',3,NULL,'err',1795537552386,1795537552388,699,12001280,4,4,0,'w1');
INSERT INTO "attempt" VALUES(2,1,'succeeded',0,NULL,NULL,1795537552388,1795537552389,621,12394496,5,0,0,'w1');
INSERT INTO "attempt" VALUES(3,1,'failed',1,NULL,'exit 1',1795537552390,1795537552391,540,12394496,0,0,0,'w1');
CREATE TABLE context (
  id integer primary key,
  cwd blob not null,
  env blob not null,
  terms text not null,
  unique (cwd, env, terms)
) strict;
INSERT INTO "context" VALUES(1,X'2F746D70',X'4C414E473D432E5554462D3800504154483D2F7573722F62696E3A2F62696E','{"backoff":{"exp":[10000,3600000]},"jitter":"half","dead_on":[],"timeout":null,"kill_after":10000}');
INSERT INTO "context" VALUES(2,X'2F746D70',X'4C414E473D432E5554462D3800504154483D2F7573722F62696E3A2F62696E','{"backoff":{"fixed":3600000},"jitter":"half","dead_on":[],"timeout":null,"kill_after":10000}');
CREATE TABLE counter (
  queue_id integer not null,
  what text not null,
  n integer not null,
  primary key (queue_id, what)
) strict, without rowid;
INSERT INTO "counter" VALUES(0,'job',6);
INSERT INTO "counter" VALUES(0,'worker',1);
INSERT INTO "counter" VALUES(1,'dead',1);
INSERT INTO "counter" VALUES(1,'ready',0);
INSERT INTO "counter" VALUES(1,'running',0);
INSERT INTO "counter" VALUES(2,'cancelled',1);
INSERT INTO "counter" VALUES(2,'ready',1);
INSERT INTO "counter" VALUES(2,'retrying',1);
INSERT INTO "counter" VALUES(2,'running',0);
INSERT INTO "counter" VALUES(2,'scheduled',1);
INSERT INTO "counter" VALUES(2,'succeeded',1);
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
) strict;
INSERT INTO "job" VALUES(1,1,'dead',0,1795537552351,1,1,0,1,NULL,0,1795537552351,1795537552385,1795537552388,NULL,'exhausted','failed',3,NULL,'err',1,NULL,1,X'6563686F206F75743B206563686F20657272203E26323B20657869742033',NULL,'{"build":"7"}','inv-1',1,1795623952351);
INSERT INTO "job" VALUES(2,2,'succeeded',0,1795537552358,1,5,0,1,NULL,0,1795537552358,1795537552388,1795537552389,NULL,NULL,'succeeded',0,NULL,NULL,1,NULL,1,X'6563686F20646F6E65',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job" VALUES(3,2,'retrying',0,1795539922670,1,5,0,1,NULL,0,1795537552362,1795537552389,NULL,NULL,NULL,'failed',1,NULL,'exit 1',2,NULL,1,X'657869742031',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job" VALUES(4,2,'scheduled',0,1804177552366,0,5,0,0,NULL,0,1795537552366,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,1,0,X'7763002D63',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job" VALUES(5,2,'cancelled',0,1804177552371,0,5,0,0,NULL,0,1795537552371,NULL,1795537552375,NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,1,X'74727565',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "job" VALUES(6,2,'ready',0,1795537552396,0,5,0,0,NULL,0,1795537552396,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,0,X'2E2F726561647900612062',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE label (
  name text not null,
  value text not null,
  job_id integer not null,
  primary key (name, value, job_id)
) strict, without rowid;
INSERT INTO "label" VALUES('build','7',1);
CREATE TABLE output (
  id integer primary key,
  token integer not null,
  stream text not null,
  start integer not null,
  body blob not null
) strict;
INSERT INTO "output" VALUES(16777216,1,'stdout',0,X'6F75740A');
INSERT INTO "output" VALUES(16777217,1,'stderr',0,X'6572720A');
INSERT INTO "output" VALUES(33554432,1,'stdout',0,X'646F6E650A');
CREATE TABLE pace (
  queue_id integer not null,
  slot integer not null,
  what text not null,
  took integer not null,
  n integer not null,
  primary key (queue_id, slot, what, took)
) strict, without rowid;
CREATE TABLE payload (
  id integer primary key,
  body blob not null
) strict;
INSERT INTO "payload" VALUES(1,X'68656C6C6F');
CREATE TABLE queue (
  id integer primary key,
  name text not null unique,
  paused_at integer,
  settings text not null default '{}'
, served_until integer) strict;
INSERT INTO "queue" VALUES(1,'mail',NULL,'{"max_attempts":7,"timeout":300000}',NULL);
INSERT INTO "queue" VALUES(2,'default',1795537552400,'{}',NULL);
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
, has_handler integer not null default 0) strict;
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
