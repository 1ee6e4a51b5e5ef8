//! `qctl completions`

use super::{Answer, Ctx};
use crate::exit::Exit;
use crate::render::json;
use crate::ui::Format;

/// Print what makes a shell complete qctl's commands
///
/// Completion asks the binary, so that it offers real jobs and queues and never goes stale.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  source <(qctl completions bash)       in ~/.bashrc
  source <(qctl completions zsh)        in ~/.zshrc
  qctl completions fish | source        in ~/.config/fish/config.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// The shells that can be helped.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Shell {
    pub(crate) const ALL: [(Self, &'static str); 3] =
        [(Self::Bash, "qctl.bash"), (Self::Zsh, "_qctl"), (Self::Fish, "qctl.fish")];

    /// The lines that have the shell ask the binary for the rest, so that they fit it.
    pub(crate) const fn script(self) -> &'static str {
        match self {
            Self::Bash => "source <(COMPLETE=bash qctl)\n",
            Self::Zsh => "#compdef qctl\nsource <(COMPLETE=zsh qctl)\n",
            Self::Fish => "COMPLETE=fish qctl | source\n",
        }
    }
}

impl Completions {
    pub(crate) fn run(self, ctx: &mut Ctx) -> Answer {
        let script = self.shell.script().trim_end();
        match ctx.ui.format {
            Format::Json => ctx.ui.print(&json::document("script", script.into()))?,
            Format::Table | Format::Plain => ctx.ui.print(script)?,
        }
        Ok(Exit::Done)
    }
}
