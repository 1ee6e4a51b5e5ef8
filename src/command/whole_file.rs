//! A file that is written whole or not at all, and known to be writable long before.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::exit::{Failure, Kind};

/// A place where a file can be written. What is there stays until there is something better.
pub(super) struct WholeFile {
    path: PathBuf,
    /// In the same folder, so that one can be renamed into the other.
    draft: PathBuf,
}

impl WholeFile {
    /// Makes sure that a file can be written there, and leaves nothing behind.
    ///
    /// # Errors
    ///
    /// Usage, where it cannot.
    pub(super) fn at(path: &Path) -> Result<Self, Failure> {
        let refuse = |why: &dyn Display| Failure::usage(format!("{} cannot be written: {why}", path.display()));
        // A link stays: what it names is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // A device or a pipe would be replaced too, and that is never what is meant.
        if target.metadata().is_ok_and(|meta| !meta.is_file()) {
            return Err(refuse(&"it is not a file"));
        }
        let Some(name) = target.file_name() else { return Err(refuse(&"it has no name")) };
        let mut draft_name = std::ffi::OsString::from(".");
        draft_name.push(name);
        // Not the process number: in containers it is the same each time, and a draft may be left there.
        draft_name.push(format!(".{:016x}", fastrand::u64(..)));
        let file = Self { draft: target.with_file_name(draft_name), path: target };
        // Made and removed, not kept: whoever is interrupted while waiting leaves nothing.
        file.begin().and_then(|_| fs::remove_file(&file.draft)).map_err(|error| refuse(&error))?;
        Ok(file)
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// Try again, where it could not be written; then nothing was changed.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        let written = self.begin().and_then(|mut draft| draft.write_all(text.as_bytes()));
        written.and_then(|()| fs::rename(&self.draft, &self.path)).map_err(|error| {
            let _ = fs::remove_file(&self.draft);
            Failure::new(Kind::TryAgain, format!("{} could not be written: {error}", self.path.display()))
        })
    }

    fn begin(&self) -> io::Result<File> {
        File::options().write(true).create_new(true).open(&self.draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_appears_whole_where_a_link_points_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let [real, link] = ["real.xml", "link.xml"].map(|name| folder.path().join(name));
        fs::write(&real, "old").expect("a file");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let file = WholeFile::at(&link).expect("a place");
        assert_eq!(fs::read_to_string(&real).expect("the file"), "old");
        file.write("new").expect("a writable folder");
        assert_eq!(fs::read_to_string(&real).expect("the file"), "new");
        assert!(link.is_symlink());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2);
    }

    #[test]
    fn what_is_no_file_is_refused_and_stays() {
        for path in ["/dev/null", "/", "", "/nowhere/report.xml"] {
            let failure = WholeFile::at(Path::new(path)).err().expect("it is refused");
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.message.starts_with(path), "{}", failure.message);
        }
        assert!(!Path::new("/dev/null").is_file());
    }
}
