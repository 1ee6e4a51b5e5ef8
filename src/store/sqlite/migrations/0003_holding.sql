-- Where a worker's byte and the marks of its attempts are: the lock file as it was when it came, and the
-- queue file that this was said in. Each is `device:inode`. A path may come to mean another lock file,
-- which knows nothing of that worker; and a copy of the queue file speaks of a worker of the original.
alter table worker add column queue_file text;
alter table worker add column lock_file text;

-- Whether a running job has been taken from its worker, whose word on it counts no more. It is settled as
-- lost once none of its processes is left.
alter table job add column is_taken integer not null default 0;
