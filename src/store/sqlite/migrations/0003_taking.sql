-- What the taking of jobs from a silent worker needs.

-- Whether a running job has been taken from its worker, whose word on it counts no more. It is settled as
-- lost once none of its processes is left.
alter table job add column is_taken integer not null default 0;
