-- What a running attempt says of itself: what is to be done with the job when it ends, and how far along
-- it is. Both are JSON; the first is gone when the attempt has ended, the other when the next one starts.
alter table job add column wish text;
alter table job add column progress text;

-- How many attempts asked to be run again later. They are not counted in `attempt`.
alter table job add column snoozes integer not null default 0;
