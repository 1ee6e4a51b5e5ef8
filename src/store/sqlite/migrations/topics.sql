-- Events, kept for whoever comes later. The number of a topic, and of each thing here, is the file's own.

-- A topic with what it has on record; or a pattern that only has settings.
create table topic (
  id integer primary key,
  name text not null unique,
  n integer not null default 0,
  bytes integer not null default 0,
  last_at integer,
  settings text
) strict;

-- `deliveries` is how many jobs have it and its payload; one that is no longer on record (`is_forgotten`) goes
-- with the last of them.
create table event (
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

create index event_topic on event (topic_id) where is_forgotten = 0;
create unique index event_key on event (topic_id, key) where key is not null;

-- `next_event` is the first one that is still to be delivered, null where there is none: then whoever
-- publishes delivers.
create table subscription (
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

create index subscription_pattern on subscription (pattern);
create index subscription_behind on subscription (next_event) where next_event is not null;
