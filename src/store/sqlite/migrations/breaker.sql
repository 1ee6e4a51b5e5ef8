-- What the breakers of queues know. `recent` is how the last attempts ended, the oldest first, four bytes for
-- each: 0 where it succeeded, else the number of its cause. The rest is empty but in a queue that is stopped:
-- of what, and who of those that wait was tried last.
create table breaker (
  queue_id integer primary key,
  recent blob not null,
  tripped_at integer,
  exit_code integer,
  signal integer,
  body text,
  n_failures integer,
  n_attempts integer,
  next_trial_at integer,
  tried_priority integer,
  tried_id integer
) strict;
