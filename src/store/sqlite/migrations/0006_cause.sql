-- In which group of its queue a dead job is. What is counted of groups stands in tables of its own.
alter table job add column cause text;
