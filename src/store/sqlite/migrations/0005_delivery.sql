-- Of which event and subscription a job is the delivery. The names stand here, so that whoever reads jobs need
-- not look at tables that most files do not have.
alter table job add column event_id integer;
alter table job add column topic text;
alter table job add column subscription text;
