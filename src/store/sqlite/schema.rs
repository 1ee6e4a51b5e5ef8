//! Whose file it is, and which schema it has.
//!
//! The ladder is append-only: a released migration is never edited. A file of an older schema is
//! brought up to date in one transaction; one of a newer schema is refused, because an older qctl
//! cannot know what it would break.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, named_params};

use super::death;
use super::row::Explain as _;
use crate::store::{Access, Error, Result, Stray};

/// Marks a SQLite file as a qctl queue: "qctl" in ASCII.
pub(super) const APPLICATION_ID: i32 = 0x7163_746c;

/// Every migration, in order. The schema's number is how many have been applied.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_start.sql"),
    include_str!("migrations/0002_retention.sql"),
    include_str!("migrations/0003_holding.sql"),
    include_str!("migrations/0004_wish.sql"),
    include_str!("migrations/0005_delivery.sql"),
    include_str!("migrations/0006_cause.sql"),
];

/// The schema since which a dead job has its cause.
const CAUSES_SINCE: u32 = 6;

/// Tables that a file has only once it needs them.
///
/// Every process reads the whole schema before it does anything else, at 27 000 instructions for each table or index:
/// those of the kinds here would make a push a quarter slower for everyone who needs none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Annex {
    /// What recorded steps need.
    Steps,
    /// What events and subscriptions need.
    Topics,
    /// What dead jobs need.
    Causes,
    /// What recorded requeues need.
    Tasks,
    /// What bringing back dropped jobs needs.
    Dropped,
    /// What jobs need in which something was replaced.
    Revisions,
    /// What queues with a breaker need.
    Breakers,
}

impl Annex {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Steps, Self::Topics, Self::Causes, Self::Tasks, Self::Dropped, Self::Revisions, Self::Breakers];

    /// The table that is there if any of them is: they come together.
    const fn table(self) -> &'static str {
        match self {
            Self::Steps => "step",
            Self::Topics => "event",
            Self::Causes => "cause",
            Self::Tasks => "task",
            Self::Dropped => "dropped",
            Self::Revisions => "revision",
            Self::Breakers => "breaker",
        }
    }

    const fn sql(self) -> &'static str {
        match self {
            Self::Steps => include_str!("migrations/step.sql"),
            Self::Topics => include_str!("migrations/topics.sql"),
            Self::Causes => include_str!("migrations/causes.sql"),
            Self::Tasks => include_str!("migrations/tasks.sql"),
            Self::Dropped => include_str!("migrations/dropped.sql"),
            Self::Revisions => include_str!("migrations/revision.sql"),
            Self::Breakers => include_str!("migrations/breaker.sql"),
        }
    }

    /// Whether the file has it.
    pub(super) fn is_in(self, conn: &Connection) -> rusqlite::Result<bool> {
        let sql = "select exists (select 1 from sqlite_schema where name = :table)";
        conn.prepare_cached(sql)?.query_row(named_params! { ":table": self.table() }, |row| row.get(0))
    }

    /// Which the file has, found in one look.
    pub(super) fn among(conn: &Connection) -> rusqlite::Result<Vec<Self>> {
        let mut query =
            conn.prepare_cached("select name from sqlite_schema where name in ('step', 'event', 'task', 'breaker')")?;
        let tables = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(Self::ALL.into_iter().filter(|annex| tables.iter().any(|table| table == annex.table())).collect())
    }

    /// Makes it, if the file has it not, in the transaction that needs it.
    pub(super) fn build(self, conn: &Connection) -> rusqlite::Result<()> {
        if self.is_in(conn)? { Ok(()) } else { conn.execute_batch(self.sql()) }
    }
}

/// The newest schema that this qctl knows.
pub(super) fn newest() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("a ladder of four thousand million rungs is not written")
}

/// What a file turned out to be.
enum Found {
    /// A queue of this schema.
    Queue(u32),
    /// A database with nothing in it.
    Empty,
}

/// Makes sure that the file is a queue of the newest schema.
///
/// # Errors
///
/// [`Error::NotAQueue`], [`Error::TooNew`], or [`Error::Missing`] where it is empty and is not to
/// be made; in each case nothing was changed.
pub(super) fn ensure(conn: &mut Connection, path: &Path, access: Access) -> Result<()> {
    match look(conn, path)? {
        Found::Queue(schema) if schema == newest() => Ok(()),
        Found::Queue(schema) if schema > newest() => {
            Err(Error::TooNew { path: path.to_owned(), found: schema, known: newest() })
        }
        Found::Queue(_) if access == Access::Glance => Err(Error::Missing { path: path.to_owned() }),
        Found::Queue(_) => climb(conn, path),
        Found::Empty if access == Access::Create => {
            // Persistent, so it is set once here and never at an ordinary open.
            let mode: String = conn.query_row("pragma journal_mode = wal", [], |row| row.get(0)).explain(path)?;
            if mode != "wal" {
                let why = format!("SQLite cannot keep a write-ahead log here (it offers {mode:?})");
                return Err(Error::UnsafePlace { path: path.to_owned(), why });
            }
            climb(conn, path)
        }
        Found::Empty => Err(Error::Missing { path: path.to_owned() }),
    }
}

fn look(conn: &Connection, path: &Path) -> Result<Found> {
    // One look: between two, another process may make the queue, and it would be taken for a stranger's.
    let look = conn.unchecked_transaction().explain(path)?;
    let number = |pragma: &str| look.query_row(pragma, [], |row| row.get::<_, i64>(0)).explain(path);
    let application = number("pragma application_id")?;
    let schema = number("pragma user_version")?;
    if application == i64::from(APPLICATION_ID) {
        return Ok(Found::Queue(u32::try_from(schema).unwrap_or(u32::MAX)));
    }
    let n_objects = number("select count(*) from sqlite_schema")?;
    if application == 0 && schema == 0 && n_objects == 0 {
        Ok(Found::Empty)
    } else {
        Err(Error::NotAQueue { path: path.to_owned(), found: "it is another program's SQLite file" })
    }
}

/// Applies what is missing, in one transaction; another process may have done so meanwhile.
fn climb(conn: &mut Connection, path: &Path) -> Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive).explain(path)?;
    let found: u32 = tx.query_row("pragma user_version", [], |row| row.get(0)).explain(path)?;
    let done = usize::try_from(found).unwrap_or(usize::MAX).min(MIGRATIONS.len());
    for migration in &MIGRATIONS[done..] {
        tx.execute_batch(migration).explain(path)?;
    }
    if (1..CAUSES_SINCE).contains(&found) {
        death::file_all(&tx).explain(path)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID).explain(path)?;
    tx.pragma_update(None, "user_version", newest()).explain(path)?;
    tx.commit().explain(path)
}

/// What differs between the schema of a queue and the one that the ladder makes.
pub(super) fn strays(conn: &Connection) -> rusqlite::Result<Vec<Stray>> {
    let pristine = Connection::open_in_memory()?;
    for migration in MIGRATIONS {
        pristine.execute_batch(migration)?;
    }
    for annex in Annex::ALL {
        if annex.is_in(conn)? {
            annex.build(&pristine)?;
        }
    }
    let (made, mut found) = (objects(&pristine)?, objects(conn)?);
    let mut strays = Vec::new();
    for ((kind, name), sql) in made {
        let is_index = kind == "index";
        let stray = match found.remove(&(kind.clone(), name.clone())) {
            None => Stray { what: format!("{kind} {name} is missing"), cure: is_index.then_some(sql) },
            Some(other) if other != sql => Stray {
                what: format!("{kind} {name} is not as qctl makes it"),
                cure: is_index.then(|| format!("drop index {name}; {sql}")),
            },
            Some(_) => continue,
        };
        strays.push(stray);
    }
    strays.extend(found.into_keys().map(|(kind, name)| Stray {
        // A table may hold something that is dear to somebody.
        cure: (kind != "table").then(|| format!("drop {kind} \"{}\"", name.replace('"', "\"\""))),
        what: format!("{kind} {name} is not qctl's"),
    }));
    Ok(strays)
}

/// The statement of each object, by kind and name; SQLite's own are left out.
fn objects(conn: &Connection) -> rusqlite::Result<BTreeMap<(String, String), String>> {
    let sql =
        "select type, name, coalesce(sql, '') as sql from sqlite_schema where name not like 'sqlite\\_%' escape '\\'";
    let mut query = conn.prepare(sql)?;
    let objects = query.query_map([], |row| {
        let sql: String = row.get("sql")?;
        let words: Vec<&str> = sql.split_whitespace().collect();
        Ok(((row.get("type")?, row.get("name")?), words.join(" ")))
    })?;
    objects.collect()
}
