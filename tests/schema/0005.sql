-- A queue of schema 5, as the qctl of 2026-11-30 left it (sqlite3 FILE .dump, folders and variables replaced): three dead
-- jobs, two of which said the same but for a mailbox; one that failed and waits for its backoff; and the delivery of an
-- event, which succeeded.
PRAGMA application_id = 1902343276;
PRAGMA user_version = 5;
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
INSERT INTO "attempt" VALUES(1,1,'failed',65,NULL,'no mailbox user7@example.com',1796005961899,1796005961902,773,12943360,0,29,0,'w1');
INSERT INTO "attempt" VALUES(2,1,'failed',65,NULL,'no mailbox user9@example.com',1796005961902,1796005961904,767,13336576,0,29,0,'w1');
INSERT INTO "attempt" VALUES(3,1,'failed',3,NULL,'exit 3',1796005961904,1796005961905,704,13336576,0,0,0,'w1');
INSERT INTO "attempt" VALUES(4,1,'failed',127,NULL,'qctl step a -- echo a; exit 1: command not found',1796005961905,1796005961905,NULL,NULL,0,55,0,'w1');
INSERT INTO "attempt" VALUES(5,1,'succeeded',0,NULL,NULL,1796005961906,1796005961907,714,13336576,0,0,0,'w1');
CREATE TABLE context (
  id integer primary key,
  cwd blob not null,
  env blob not null,
  terms text not null,
  unique (cwd, env, terms)
) strict;
INSERT INTO "context" VALUES(1,X'2F',X'504154483D2F7573722F62696E3A2F62696E','{"backoff":{"exp":[10000,3600000]},"jitter":"half","dead_on":[],"timeout":null,"kill_after":10000}');
INSERT INTO "context" VALUES(2,X'2F',X'504154483D2F7573722F62696E3A2F62696E','{"backoff":{"exp":[10000,3600000]},"jitter":"half","dead_on":[[3,3]],"timeout":null,"kill_after":10000}');
CREATE TABLE counter (
  queue_id integer not null,
  what text not null,
  n integer not null,
  primary key (queue_id, what)
) strict, without rowid;
INSERT INTO "counter" VALUES(0,'event',1);
INSERT INTO "counter" VALUES(0,'job',5);
INSERT INTO "counter" VALUES(0,'worker',1);
INSERT INTO "counter" VALUES(1,'dead',3);
INSERT INTO "counter" VALUES(1,'ready',0);
INSERT INTO "counter" VALUES(1,'running',0);
INSERT INTO "counter" VALUES(2,'ready',0);
INSERT INTO "counter" VALUES(2,'retrying',1);
INSERT INTO "counter" VALUES(2,'running',0);
INSERT INTO "counter" VALUES(3,'ready',0);
INSERT INTO "counter" VALUES(3,'running',0);
INSERT INTO "counter" VALUES(3,'succeeded',1);
CREATE TABLE event (
  id integer primary key,
  topic_id integer not null,
  published_at integer not null,
  key text,
  key_until integer,
  labels text,
  payload_id integer,
  bytes integer not null,
  deliveries integer not null,
  is_forgotten integer not null default 0
) strict;
INSERT INTO "event" VALUES(1,1,1796005961891,NULL,NULL,NULL,NULL,0,1,0);
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
, is_taken integer not null default 0, wish text, progress text, snoozes integer not null default 0, event_id integer, topic text, subscription text) strict;
INSERT INTO "job" VALUES(1,1,'dead',0,1796005961873,1,1,0,1,NULL,0,1796005961873,1796005961899,1796005961902,NULL,'exhausted','failed',65,NULL,'no mailbox user7@example.com',1,NULL,1,X'6563686F20226E6F206D61696C626F78207573657237406578616D706C652E636F6D22203E26323B2065786974203635',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(2,1,'dead',0,1796005961877,1,1,0,1,NULL,0,1796005961877,1796005961902,1796005961904,NULL,'exhausted','failed',65,NULL,'no mailbox user9@example.com',1,NULL,1,X'6563686F20226E6F206D61696C626F78207573657239406578616D706C652E636F6D22203E26323B2065786974203635',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(3,1,'dead',0,1796005961880,1,1,0,1,NULL,0,1796005961880,1796005961904,1796005961905,NULL,'permanent','failed',3,NULL,'exit 3',2,NULL,1,X'657869742033',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(4,2,'retrying',0,1796005969280,1,5,0,1,NULL,0,1796005961883,1796005961905,NULL,NULL,NULL,'failed',127,NULL,'qctl step a -- echo a; exit 1: command not found',1,NULL,0,X'7163746C20737465702061202D2D206563686F20613B20657869742031002D2D6261636B6F66660066697865643A3168',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(5,3,'succeeded',0,1796005961891,1,5,0,1,NULL,0,1796005961891,1796005961906,1796005961907,NULL,NULL,'succeeded',0,NULL,NULL,1,NULL,1,X'74727565',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,0,1,'signed.up','welcome');
CREATE TABLE label (
  name text not null,
  value text not null,
  job_id integer not null,
  primary key (name, value, job_id)
) strict, without rowid;
CREATE TABLE output (
  id integer primary key,
  token integer not null,
  stream text not null,
  start integer not null,
  body blob not null
) strict;
INSERT INTO "output" VALUES(16777216,1,'stderr',0,X'6E6F206D61696C626F78207573657237406578616D706C652E636F6D0A');
INSERT INTO "output" VALUES(33554432,1,'stderr',0,X'6E6F206D61696C626F78207573657239406578616D706C652E636F6D0A');
INSERT INTO "output" VALUES(67108864,1,'stderr',0,X'7163746C3A207163746C20737465702061202D2D206563686F20613B206578697420313A20636F6D6D616E64206E6F7420666F756E640A');
CREATE TABLE pace (
  queue_id integer not null,
  slot integer not null,
  what text not null,
  took integer not null,
  n integer not null,
  primary key (queue_id, slot, what, took)
) strict, without rowid;
INSERT INTO "pace" VALUES(1,1796005800000,'failed',1,1);
INSERT INTO "pace" VALUES(1,1796005800000,'failed',2,1);
INSERT INTO "pace" VALUES(1,1796005800000,'failed',3,1);
INSERT INTO "pace" VALUES(1,1796005800000,'wait',24,1);
INSERT INTO "pace" VALUES(1,1796005800000,'wait',25,1);
INSERT INTO "pace" VALUES(1,1796005800000,'wait',26,1);
INSERT INTO "pace" VALUES(2,1796005800000,'failed',0,1);
INSERT INTO "pace" VALUES(2,1796005800000,'wait',22,1);
INSERT INTO "pace" VALUES(3,1796005800000,'succeeded',1,1);
INSERT INTO "pace" VALUES(3,1796005800000,'wait',15,1);
CREATE TABLE payload (
  id integer primary key,
  body blob not null
) strict;
CREATE TABLE queue (
  id integer primary key,
  name text not null unique,
  paused_at integer,
  settings text not null default '{}'
, served_until integer) strict;
INSERT INTO "queue" VALUES(1,'mail',NULL,'{"max_attempts":1}',1796005961909);
INSERT INTO "queue" VALUES(2,'default',NULL,'{}',1796005961909);
INSERT INTO "queue" VALUES(3,'welcome',NULL,'{}',1796005961909);
CREATE TABLE subscription (
  id integer primary key,
  name text not null unique,
  pattern text not null,
  queue_id integer not null,
  created_at integer not null,
  paused_at integer,
  next_event integer,
  rate text,
  delivered_at integer,
  only_where text,
  own text not null,
  context_id integer not null,
  priority integer not null,
  max_attempts integer not null,
  is_shell integer,
  command blob,
  env blob
) strict;
INSERT INTO "subscription" VALUES(1,'welcome','signed.up',3,1796005961888,NULL,NULL,NULL,NULL,NULL,'{}',1,0,5,1,X'74727565',NULL);
CREATE TABLE topic (
  id integer primary key,
  name text not null unique,
  n integer not null default 0,
  bytes integer not null default 0,
  last_at integer,
  settings text
) strict;
INSERT INTO "topic" VALUES(1,'signed.up',1,0,1796005961891,NULL);
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
CREATE INDEX job_ready on job (queue_id, priority desc, id) where state = 'ready';
CREATE INDEX job_due on job (run_at) where state in ('scheduled', 'retrying');
CREATE INDEX job_expiring on job (expires_at)
  where expires_at is not null and started_at is null and state in ('scheduled', 'ready');
CREATE INDEX job_running on job (worker_id) where state = 'running';
CREATE INDEX job_dead on job (finished_at) where state = 'dead';
CREATE UNIQUE INDEX job_key on job (queue_id, key) where key_holds = 1;
CREATE INDEX job_finished on job (queue_id, finished_at)
  where state in ('succeeded', 'cancelled');
CREATE INDEX event_topic on event (topic_id) where is_forgotten = 0;
CREATE UNIQUE INDEX event_key on event (topic_id, key) where key is not null;
CREATE INDEX subscription_pattern on subscription (pattern);
CREATE INDEX subscription_behind on subscription (next_event) where next_event is not null;
COMMIT;
