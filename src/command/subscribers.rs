//! Subscriptions as they are listed.

use super::Ctx;
use crate::exit::Failure;
use crate::job::Subscription;
use crate::render::{json, plain, table, topic};
use crate::ui::Format;

/// Prints subscriptions.
pub(super) fn print(ctx: &Ctx, all: &[Subscription], none: &str) -> Result<(), Failure> {
    match ctx.ui.format {
        Format::Json => ctx.ui.print(&json::document("subscriptions", all.iter().map(topic::subscription).collect())),
        Format::Plain => ctx.ui.print(&plain::subscriptions(all)),
        Format::Table if all.is_empty() => {
            ctx.ui.hint(none);
            Ok(())
        }
        Format::Table => ctx.ui.print(&table::subscriptions(all, &ctx.ui.look)),
    }
}
