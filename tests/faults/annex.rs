//! Tables that a queue file has only once it needs them: those of steps, and those of events.

use rusqlite::Connection;

/// Whether the file has this one.
pub(crate) fn has_table(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    conn.query_row("select exists (select 1 from sqlite_schema where name = ?)", [name], |row| row.get(0))
}
