//! `qctl generate`, hidden: writes the man pages and the completion scripts that are kept in the
//! project. A test holds them in step.

use std::path::{Path, PathBuf};

use super::completions::Shell;
use super::{Answer, Ctx};
use crate::exit::{Exit, Failure, STATUSES};

/// Write the man pages and completion scripts
#[derive(clap::Args, Debug)]
pub(crate) struct Generate {
    /// Where to: `man` and `completions` are made there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Generate {
    pub(crate) fn run(self, _ctx: &mut Ctx, tree: clap::Command) -> Answer {
        let unwritable = |error: std::io::Error| Failure::usage(format!("{}: {error}", self.dir.display()));
        write_pages(&self.dir.join("man"), tree).map_err(unwritable)?;
        write_scripts(&self.dir.join("completions")).map_err(unwritable)?;
        Ok(Exit::Done)
    }
}

fn write_scripts(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for (shell, name) in Shell::ALL {
        std::fs::write(dir.join(name), shell.script())?;
    }
    Ok(())
}

fn write_pages(dir: &Path, mut tree: clap::Command) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    tree.build();
    write_page(dir, &tree, "qctl")
}

/// One page for each verb, and for each verb of a verb.
fn write_page(dir: &Path, command: &clap::Command, name: &str) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone().name(name.to_owned()).display_name(name.to_owned()))
        .date("")
        .source("qctl")
        .manual("qctl");
    let mut text = Vec::new();
    page.render(&mut text)?;
    text.extend(statuses());
    std::fs::write(dir.join(format!("{name}.1")), text)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        write_page(dir, verb, &format!("{name}-{}", verb.get_name()))?;
    }
    Ok(())
}

/// The exit statuses as a section.
fn statuses() -> Vec<u8> {
    let mut text = ".SH \"EXIT STATUS\"\n".to_owned();
    for (status, meaning) in STATUSES {
        text.push_str(&format!(".TP\n\\fB{status}\\fR\n{}\n", meaning.replace('-', "\\-")));
    }
    text.push_str(
        ".TP\n\\fB126, 127, 128+n\\fR\nrun: the command could not be executed, was not found, died of signal n\n",
    );
    text.into_bytes()
}
