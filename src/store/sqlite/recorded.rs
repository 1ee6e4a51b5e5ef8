//! What is on record of steps: reading it, and forgetting it.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};

use super::row::Explain as _;
use super::schema::Annex;
use super::step::Stage;
use super::step_file::Folder;
use super::transaction::Txn;
use crate::job::{JobId, Printed, StateKind, Step, StepOutput, StepPath, StepState};
use crate::store::{Forgotten, Result};

/// What a recorded step printed; `None` where none is recorded.
pub(super) fn output(conn: &Connection, folder: &Folder, job: JobId, path: &StepPath) -> Result<Option<StepOutput>> {
    if !Annex::Steps.is_in(conn).explain(folder.queue())? {
        return Ok(None);
    }
    let sql = "select file, output, bytes from step
        where job_id = :job and name = :name and occurrence = :occurrence and state = 'recorded'";
    let params = named_params! { ":job": job, ":name": path.name(), ":occurrence": path.occurrence() };
    let printed = |row: &Row<'_>| match row.get::<_, Option<String>>("file")? {
        Some(name) => Ok(Printed::File { name, bytes: row.get::<_, Option<u64>>("bytes")?.unwrap_or(0) }),
        None => Ok(Printed::Bytes(row.get::<_, Option<Vec<u8>>>("output")?.unwrap_or_default())),
    };
    let found = conn
        .prepare_cached(sql)
        .and_then(|mut query| query.query_row(params, printed).optional())
        .explain(folder.queue())?;
    found.map(|printed| folder.read(printed)).transpose()
}

/// The steps of a job, in the order in which they were begun first.
pub(super) fn steps(conn: &Connection, job: JobId) -> rusqlite::Result<Vec<Step>> {
    if !Annex::Steps.is_in(conn)? {
        return Ok(Vec::new());
    }
    let sql = "select step.name, step.occurrence, step.state, step.token, step.key, step.started_at, step.ended_at,
          step.wake_at, step.exit_code, step.bytes, (job.state = 'running' and job.token = step.token) as is_own
        from step join job on job.id = step.job_id
        where step.job_id = :job and job.state <> 'dropped'
        order by step.position";
    conn.prepare_cached(sql)?.query_map(named_params! { ":job": job }, step)?.collect()
}

/// Every step there is, behind the number of its job.
pub(super) const ALL_SQL: &str = "select job_id, name, occurrence, state, token, key, started_at, ended_at,
      wake_at, exit_code, bytes, 0 as is_own
    from step";

/// A step from its columns, and from whether the job runs under its token.
pub(super) fn step(row: &Row<'_>) -> rusqlite::Result<Step> {
    let is_own: bool = row.get("is_own")?;
    let state = match row.get("state")? {
        Stage::Recorded => StepState::Recorded { bytes: row.get::<_, Option<u64>>("bytes")?.unwrap_or(0) },
        Stage::Failed => StepState::Failed { exit_code: row.get("exit_code")? },
        Stage::Sleeping => StepState::Sleeping { until: row.get("wake_at")? },
        Stage::Begun if is_own => StepState::Running,
        Stage::Begun => StepState::Uncertain,
    };
    Ok(Step {
        path: StepPath::of_row(row.get("name")?, row.get("occurrence")?),
        state,
        token: row.get("token")?,
        key: row.get("key")?,
        started_at: row.get("started_at")?,
        ended_at: row.get("ended_at")?,
    })
}

/// Forgets these steps of a job that does not run, with what is inside of them and what they are inside of; all
/// or none.
pub(super) fn reset(tx: &Txn<'_>, job: JobId, paths: &[StepPath]) -> Result<Forgotten> {
    let sql = "select state from job where id = :id and state <> 'dropped'";
    let mut query = tx.prepare_cached(sql).explain(tx.path())?;
    let state: Option<StateKind> =
        query.query_row(named_params! { ":id": job }, |row| row.get(0)).optional().explain(tx.path())?;
    match state {
        None => return Ok(Forgotten::NoJob),
        Some(StateKind::Running) => return Ok(Forgotten::Running),
        Some(_) => {}
    }
    let steps: Vec<StepPath> = steps(tx, job).explain(tx.path())?.into_iter().map(|step| step.path).collect();
    if let Some(unknown) = paths.iter().find(|path| !steps.contains(path)) {
        return Ok(Forgotten::NoStep(unknown.clone()));
    }
    let is_meant =
        |step: &StepPath| paths.iter().any(|path| step == path || step.is_inside(path) || path.is_inside(step));
    let meant: Vec<StepPath> = steps.into_iter().filter(is_meant).collect();
    drop_steps(tx, job, &meant)?;
    Ok(Forgotten::Steps(meant))
}

/// Forgets a step of a job with all that was begun after it and what they are inside of; answers whether there
/// is such a step.
pub(super) fn reset_from(tx: &Txn<'_>, job: JobId, path: &StepPath) -> Result<bool> {
    let steps: Vec<StepPath> = steps(tx, job).explain(tx.path())?.into_iter().map(|step| step.path).collect();
    let Some(at) = steps.iter().position(|step| step == path) else { return Ok(false) };
    let (before, after) = steps.split_at(at);
    let around = before.iter().filter(|step| after.iter().any(|later| later.is_inside(step)));
    let meant: Vec<StepPath> = around.chain(after).cloned().collect();
    drop_steps(tx, job, &meant)?;
    Ok(true)
}

fn drop_steps(tx: &Txn<'_>, job: JobId, paths: &[StepPath]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let sql = "delete from step where job_id = :job and name = :name and occurrence = :occurrence returning file";
    let mut delete = tx.prepare_cached(sql).explain(tx.path())?;
    for path in paths {
        let params = named_params! { ":job": job, ":name": path.name(), ":occurrence": path.occurrence() };
        let file: Option<Option<String>> = delete.query_row(params, |row| row.get(0)).optional().explain(tx.path())?;
        tx.drop_files(file.flatten());
    }
    Ok(())
}

/// Forgets the steps of a job that is forgotten itself.
pub(super) fn erase(tx: &Txn<'_>, job: JobId) -> Result<()> {
    if !Annex::Steps.is_in(tx).explain(tx.path())? {
        return Ok(());
    }
    let mut delete = tx.prepare_cached("delete from step where job_id = :job returning file").explain(tx.path())?;
    let files = delete.query_map(named_params! { ":job": job }, |row| row.get(0)).explain(tx.path())?;
    let files: Vec<Option<String>> = files.collect::<rusqlite::Result<_>>().explain(tx.path())?;
    tx.drop_files(files.into_iter().flatten());
    Ok(())
}

/// The files that recorded steps have.
pub(super) fn files(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    if !Annex::Steps.is_in(conn)? {
        return Ok(Vec::new());
    }
    conn.prepare("select file from step where file is not null")?.query_map([], |row| row.get(0))?.collect()
}
