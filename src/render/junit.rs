//! Jobs that were waited for as a JUnit report: one suite, one case for each job.
//!
//! There is no standard, only what the readers (Jenkins, GitLab, GitHub actions) take; this is what
//! they all take. Well-formed whatever a job printed.

use std::io;
use std::time::Duration;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::waited::{Fate, Waited};
use super::{json, words};
use crate::clock::Timestamp;

/// A report.
#[derive(Debug)]
pub struct Report<'a> {
    /// The jobs.
    pub jobs: &'a [Waited],
    /// When the waiting began.
    pub began: Timestamp,
    /// Whether the time was up. Only then is a job that was not done with an error.
    pub is_time_up: bool,
}

/// The report as a document.
pub fn document(report: &Report<'_>) -> String {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    report.write(&mut xml).expect("memory takes all that is written");
    let mut text = String::from_utf8(xml.into_inner()).expect("it was written from strings");
    text.push('\n');
    text
}

type Xml = Writer<Vec<u8>>;

impl Report<'_> {
    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        let n = |fate| self.jobs.iter().filter(|waited| waited.fate == fate).count();
        let (n_failed, n_pending) = (n(Fate::Failed), n(Fate::Pending));
        let (n_errors, n_skipped) = if self.is_time_up { (n_pending, 0) } else { (0, n_pending) };
        let totals = [
            ("name", "qctl".to_owned()),
            ("tests", self.jobs.len().to_string()),
            ("failures", n_failed.to_string()),
            ("errors", n_errors.to_string()),
            ("skipped", n_skipped.to_string()),
            ("time", seconds(self.jobs.iter().map(|waited| waited.took).sum())),
            ("timestamp", words::utc(self.began)),
        ];
        let totals = || totals.iter().map(|(name, value)| (*name, value.as_str()));
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        xml.create_element("testsuites").with_attributes(totals()).write_inner_content(|xml| {
            xml.create_element("testsuite")
                .with_attributes(totals())
                .write_inner_content(|xml| self.jobs.iter().try_for_each(|waited| self.write_case(xml, waited)))?;
            Ok(())
        })?;
        Ok(())
    }

    fn write_case(&self, xml: &mut Xml, waited: &Waited) -> io::Result<()> {
        let id = waited.id.to_string();
        let name = match waited.command() {
            // Deleted, or for a handler.
            command if command.is_empty() => format!("job {id}"),
            command => allowed(&command),
        };
        let queue = waited.job.as_ref().map_or("qctl", |job| job.queue.as_str());
        let case = [("name", name.as_str()), ("classname", queue), ("time", &seconds(waited.took))];
        xml.create_element("testcase").with_attributes(case).write_inner_content(|xml| {
            xml.create_element("properties").write_inner_content(|xml| {
                xml.create_element("property")
                    .with_attributes([("name", "job"), ("value", id.as_str())])
                    .write_empty()?;
                Ok(())
            })?;
            self.write_end(xml, waited)
        })?;
        Ok(())
    }

    fn write_end(&self, xml: &mut Xml, waited: &Waited) -> io::Result<()> {
        match waited.fate {
            Fate::Succeeded => {}
            Fate::Failed => {
                let kind = waited.job.as_ref().and_then(json::reason).unwrap_or(waited.state());
                let message = allowed(&waited.error());
                let failure = xml.create_element("failure").with_attributes([("type", kind), ("message", &message)]);
                failure.write_text_content(BytesText::new(&allowed(&waited.tail.join("\n"))))?;
            }
            Fate::Pending if self.is_time_up => {
                let message = format!("{} when the time was up", waited.state());
                xml.create_element("error")
                    .with_attributes([("type", "timeout"), ("message", message.as_str())])
                    .write_empty()?;
            }
            Fate::Pending => {
                let message = format!("{} when the waiting ended", waited.state());
                xml.create_element("skipped").with_attribute(("message", message.as_str())).write_empty()?;
            }
        }
        Ok(())
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:03}", duration.as_secs(), duration.subsec_millis())
}

/// The text with what XML 1.0 forbids, even as a reference, written as an escape.
fn allowed(text: &str) -> String {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\u{20}'..='\u{fffd}' | '\u{10000}'..);
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_allowed(c) {
            clean.push(c);
        } else {
            clean.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;

    use super::*;
    use crate::job::JobId;

    /// The text of the only failure, as a reader of the report gets it.
    fn failure(document: &str) -> String {
        let mut reader = Reader::from_str(document);
        let mut text = String::new();
        let mut is_within = false;
        loop {
            match reader.read_event().expect("well-formed XML") {
                Event::Start(tag) if tag.name().as_ref() == "failure" => is_within = true,
                Event::End(tag) if tag.name().as_ref() == "failure" => is_within = false,
                Event::Text(part) if is_within => text.push_str(&part),
                Event::GeneralRef(name) if is_within => {
                    let entity = format!("&{};", &*name);
                    text.push_str(&quick_xml::escape::unescape(&entity).expect("a known entity"));
                }
                Event::Eof => return text,
                _ => {}
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_a_job_printed_comes_back(line in "[ -~é日\u{fffe}\u{ffff}]{0,20}(\\]\\]>)?") {
            let waited = Waited {
                id: JobId::new(1).expect("it is positive"),
                fate: Fate::Failed,
                job: None,
                took: Duration::from_millis(1500),
                tail: vec![line.clone(), "end".to_owned()],
            };
            let report = Report { jobs: &[waited], began: Timestamp::default(), is_time_up: false };
            let document = document(&report);
            prop_assert!(document.contains("time=\"1.500\""));
            prop_assert_eq!(failure(&document), allowed(&format!("{line}\nend")));
        }

        #[test]
        fn only_characters_that_xml_knows_are_left(text in any::<String>()) {
            let is_known = |c: char| (c >= ' ' || "\t\n".contains(c)) && !['\u{fffe}', '\u{ffff}'].contains(&c);
            prop_assert!(allowed(&text).chars().all(is_known));
        }
    }
}
