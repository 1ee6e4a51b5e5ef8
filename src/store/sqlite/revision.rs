//! Replacing what a job runs or gets, with what was there before kept.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::push::add_payload;
use super::row::{self, Explain as _, bad_column};
use super::schema::Annex;
use super::transaction::Txn;
use crate::clock::Timestamp;
use crate::job::{Command, JobId, Part, Revision};
use crate::store::Result;

/// Gives those of these jobs that are dead what is new.
pub(super) fn revise_dead(tx: &Txn<'_>, new: &[(JobId, &Part)], now: Timestamp) -> Result<()> {
    let sql = "select exists (select 1 from job where id = :id and state = 'dead')";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    for &(id, part) in new {
        let is_dead: bool = query.query_row(named_params! { ":id": id }, |row| row.get(0)).explain(tx.path())?;
        if is_dead {
            revise(tx, id, part, now)?;
        }
    }
    Ok(())
}

fn revise(tx: &Txn<'_>, id: JobId, new: &Part, now: Timestamp) -> Result<()> {
    Annex::Revisions.build(tx).explain(tx.path())?;
    let old = match new {
        Part::Payload(_) => Part::Payload(payload(tx, id).explain(tx.path())?),
        Part::Command(_) => Part::Command(command(tx, id).explain(tx.path())?),
    };
    if old == *new {
        return Ok(());
    }
    note(tx, id, &old, now).explain(tx.path())?;
    match new {
        Part::Payload(body) => {
            drop_own_payload(tx, id, is_delivery(tx, id).explain(tx.path())?).explain(tx.path())?;
            let payload_id = body.as_deref().map(|body| add_payload(tx, body)).transpose()?;
            let sql = "update job set payload_id = :payload_id where id = :id";
            let mut update = tx.prepare_cached(sql).explain(tx.path())?;
            update.execute(named_params! { ":id": id, ":payload_id": payload_id }).explain(tx.path())?;
        }
        Part::Command(new) => {
            let (is_shell, command) = row::command_columns(new.as_ref());
            let sql = "update job set is_shell = :is_shell, command = :command where id = :id";
            let mut update = tx.prepare_cached(sql).explain(tx.path())?;
            let params = named_params! { ":id": id, ":is_shell": is_shell, ":command": command };
            update.execute(params).explain(tx.path())?;
        }
    }
    Ok(())
}

fn note(conn: &Connection, id: JobId, old: &Part, now: Timestamp) -> rusqlite::Result<()> {
    let (what, is_shell, old) = match old {
        Part::Payload(body) => ("payload", None, body.clone()),
        Part::Command(command) => {
            let (is_shell, command) = row::command_columns(command.as_ref());
            ("command", is_shell, command)
        }
    };
    let sql = "insert into revision (job_id, position, at, what, is_shell, old) values (
          :id, (select coalesce(max(position), 0) + 1 from revision where job_id = :id), :now, :what, :is_shell, :old
        )";
    let params = named_params! { ":id": id, ":now": now, ":what": what, ":is_shell": is_shell, ":old": old };
    conn.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

fn is_delivery(conn: &Connection, id: JobId) -> rusqlite::Result<bool> {
    let sql = "select event_id is not null from job where id = :id";
    conn.prepare_cached(sql)?.query_row(named_params! { ":id": id }, |row| row.get(0))
}

/// Removes the payload of a job, unless it is that of the event whose delivery the job is.
pub(super) fn drop_own_payload(conn: &Connection, id: JobId, is_delivery: bool) -> rusqlite::Result<()> {
    let sql = if is_delivery {
        "delete from payload where id = (
           select payload_id from job
           where id = :id and payload_id is not (select payload_id from event where event.id = event_id))"
    } else {
        "delete from payload where id = (select payload_id from job where id = :id)"
    };
    conn.prepare_cached(sql)?.execute(named_params! { ":id": id })?;
    Ok(())
}

/// The bytes for the standard input of a job.
pub(super) fn payload(conn: &Connection, id: JobId) -> rusqlite::Result<Option<Vec<u8>>> {
    let sql = "select body from payload where id = (select payload_id from job where id = :id and state <> 'dropped')";
    conn.prepare_cached(sql)?.query_row(named_params! { ":id": id }, |row| row.get(0)).optional()
}

fn command(conn: &Connection, id: JobId) -> rusqlite::Result<Option<Command>> {
    let sql = "select is_shell, command from job where id = :id";
    conn.prepare_cached(sql)?.query_row(named_params! { ":id": id }, row::command)
}

/// What was replaced in a job, the first time first.
pub(super) fn revisions(conn: &Connection, id: JobId) -> rusqlite::Result<Vec<Revision>> {
    if !Annex::Revisions.is_in(conn)? {
        return Ok(Vec::new());
    }
    let sql = "select at, what, is_shell, old from revision where job_id = :id order by position";
    conn.prepare_cached(sql)?.query_map(named_params! { ":id": id }, revision)?.collect()
}

/// Every revision there is, behind the number of its job.
pub(super) const ALL_SQL: &str = "select job_id, at, what, is_shell, old from revision";

/// A revision from its columns.
pub(super) fn revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    let old = match row.get_ref("what")?.as_str()? {
        "payload" => Part::Payload(row.get("old")?),
        "command" => Part::Command(row::command_at(row, "is_shell", "old")?),
        other => return Err(bad_column(format!("nothing is called {other:?}").into())),
    };
    Ok(Revision { at: row.get("at")?, old })
}

/// Forgets what was replaced in a job that is forgotten itself.
pub(super) fn erase(conn: &Connection, id: JobId) -> rusqlite::Result<()> {
    if Annex::Revisions.is_in(conn)? {
        conn.prepare_cached("delete from revision where job_id = :id")?.execute(named_params! { ":id": id })?;
    }
    Ok(())
}
