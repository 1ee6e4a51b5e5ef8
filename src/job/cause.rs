//! What an attempt failed of, without what differs each time: two thousand dead jobs are usually three causes.
//!
//! [`common`] takes out of a line of stderr what varies: numbers, ids, hex, times, paths, quoted parts. It reads the
//! line once, from left to right, and knows no language: what it does not recognise it leaves, so that different
//! causes stay apart.

use std::borrow::Cow;

/// What stands in the place of a part that varies.
const STAR: char = '*';

/// The longest text of a cause, in characters: enough to tell causes apart, short enough to be a row of a table.
pub(super) const MAX_CHARS: usize = 160;

/// Words before a number that is no count but says what went wrong: `HTTP 404`, `[Errno 28]`, `exit status 3`.
const CODE_WORDS: [&str; 8] = ["code", "errno", "http", "httperror", "signal", "sqlstate", "status", "returned error"];

/// What a line has in common with others that tell of the same: parts that vary are stars.
///
/// - What stands in quotes, of any kind, is one star within them; a quote within a word is none.
/// - Paths, with the line and column behind them, files by an extension of at most four letters, and addresses of mail
///   are a star. Of a URL scheme and host stay.
/// - Of a word with digits the digits are a star (`worker12`, `30s`), but all of it is one where it looks like an id: an
///   UUID, hex digits, letters and digits by turns. So are eight letters or more that are hex digits.
/// - A number of at most three digits that is a code stays: one behind `status`, `code`, `errno`, `signal`, `HTTP`,
///   `HTTPError` or `returned error`; and what stands in brackets behind `error`, as in `error[E0308]`.
/// - Stars that only marks or a space part are one, so that a date is a star, and a list.
pub(super) fn common(line: &str) -> String {
    let mut scan = Scan { out: Vec::new() };
    let plain = plain(line);
    let mut rest = plain.as_ref();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' => scan.mark(" "),
            STAR => scan.star(),
            _ if scan.may_quote() && closing(first).is_some() => match quoted(rest) {
                Some(length) => scan.quotes(first, &rest[..length]),
                None => scan.mark(&rest[..first.len_utf8()]),
            },
            _ if !ends_word(first, rest) => scan.word(&rest[..word_length(rest)]),
            _ => scan.mark(&rest[..first.len_utf8()]),
        };
        rest = &rest[length..];
    }
    scan.finish()
}

/// The line without colours and other controls, and with single spaces.
fn plain(line: &str) -> Cow<'_, str> {
    let mut kept = String::with_capacity(line.len());
    let mut chars = line.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next_if_eq(&'[').is_some() => {
                while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
            }
            _ if c.is_whitespace() => {
                if !kept.ends_with(' ') {
                    kept.push(' ');
                }
            }
            _ if c.is_control() => {}
            _ => kept.push(c),
        }
    }
    if kept == line { Cow::Borrowed(line) } else { Cow::Owned(kept) }
}

/// The mark that ends what this one begins, if it begins a quotation.
fn closing(open: char) -> Option<char> {
    match open {
        '\'' | '"' => Some(open),
        '`' => Some('`'),
        '‘' => Some('’'),
        '“' => Some('”'),
        '«' => Some('»'),
        _ => None,
    }
}

/// The length of the quotation that the text begins with, its marks included; the closing one is not within a word.
fn quoted(text: &str) -> Option<usize> {
    let open = text.chars().next()?;
    let close = closing(open)?;
    // GNU programs open with ` and close with '.
    let closes = |c: char| c == close || (open == '`' && c == '\'');
    text.char_indices().skip(1).find_map(|(at, c)| {
        let end = at + c.len_utf8();
        let is_within = text[end..].chars().next().is_some_and(char::is_alphanumeric);
        (closes(c) && !is_within).then_some(end)
    })
}

/// The length of the word that the text begins with; a URL ends only where no URL can go on.
fn word_length(text: &str) -> usize {
    let end = text.char_indices().find(|&(at, c)| ends_word(c, &text[at..])).map_or(text.len(), |(at, _)| at);
    if text[..end].contains("://") {
        let ends_url = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | ')' | ']' | '}');
        text[end..].find(ends_url).map_or(text.len(), |more| end + more)
    } else {
        end
    }
}

/// Whether a character may stand in what is looked at as one word, such as a path or a date.
fn is_part_of_word(c: char) -> bool {
    !c.is_whitespace()
        && !matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '"' | '`' | '=' | '|' | '*')
}

/// Whether a word ends before this character, with which the rest of the line begins.
fn ends_word(c: char, rest: &str) -> bool {
    let is_last_mark = matches!(c, ':' | '.' | '!' | '?' | '\'' | '’' | '”' | '»')
        && rest[c.len_utf8()..].chars().next().is_none_or(|next| !is_part_of_word(next));
    !is_part_of_word(c) || is_last_mark
}

/// A part of what is made of a line.
enum Part {
    /// What stays.
    Text(String),
    /// A mark or a space, which stays too.
    Mark(String),
    /// What varies.
    Star,
}

struct Scan {
    out: Vec<Part>,
}

impl Scan {
    /// Whether a quotation may begin here: not within a word.
    fn may_quote(&self) -> bool {
        !matches!(self.out.last(), Some(Part::Text(_) | Part::Star))
    }

    fn mark(&mut self, mark: &str) -> usize {
        self.out.push(Part::Mark(mark.to_owned()));
        mark.len()
    }

    fn star(&mut self) -> usize {
        self.out.push(Part::Star);
        STAR.len_utf8()
    }

    fn quotes(&mut self, open: char, whole: &str) -> usize {
        // One kind of mark: programs print others where the locale is another.
        let mark = if matches!(open, '`' | '‘') { '\'' } else { open };
        let close = closing(mark).unwrap_or(mark);
        self.out.push(Part::Text(format!("{mark}{STAR}{close}")));
        whole.len()
    }

    fn word(&mut self, word: &str) -> usize {
        if self.is_code(word) {
            self.out.push(Part::Text(word.to_owned()));
        } else if let Some((scheme, rest)) = word.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            let host = host.rsplit('@').next().unwrap_or(host);
            self.out.push(Part::Text(format!("{scheme}://")));
            self.runs(host.split(':').next().unwrap_or(host));
            if rest.len() > host.len() {
                self.out.extend([Part::Mark("/".to_owned()), Part::Star]);
            }
        } else if word.starts_with("HTTP/") {
            self.out.push(Part::Text("HTTP".to_owned()));
        } else if is_path(word) || is_mail(word) || is_date(word) || is_id(word) {
            self.out.push(Part::Star);
        } else {
            self.runs(word);
        }
        word.len()
    }

    /// The runs of letters, digits and marks of a word.
    fn runs(&mut self, word: &str) {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c: char| c.is_alphanumeric() != first.is_alphanumeric()).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            if !first.is_alphanumeric() {
                self.out.push(Part::Mark(run.to_owned()));
            } else if is_id(run) {
                self.out.push(Part::Star);
            } else {
                self.digits(run);
            }
            rest = after;
        }
    }

    /// A run of letters and digits, of which the digits vary.
    fn digits(&mut self, run: &str) {
        let mut rest = run;
        while let Some(first) = rest.chars().next() {
            let end = rest.find(|c: char| c.is_numeric() != first.is_numeric()).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            self.out.push(if first.is_numeric() { Part::Star } else { Part::Text(part.to_owned()) });
            rest = after;
        }
    }

    /// Whether the word is a number or a name that says what went wrong, by what stands before it.
    fn is_code(&self, word: &str) -> bool {
        let before: String =
            self.out.iter().rev().take(6).collect::<Vec<_>>().into_iter().rev().map(Part::text).collect();
        let before = before.to_lowercase();
        let is_number = word.len() <= 3 && word.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            let words = before.trim_end_matches([' ', ':', '=', '(', '[', '#']);
            return words.len() < before.len() && CODE_WORDS.iter().any(|&code| ends_in_word(words, code));
        }
        let is_name = word.len() <= 6 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_name && ends_in_word(before.strip_suffix('[').unwrap_or_default(), "error")
    }

    /// The whole, stars that only marks part being one, with the names of days and months before them.
    fn finish(self) -> String {
        let mut parts: Vec<Part> = Vec::new();
        for part in self.out {
            if matches!(part, Part::Star) {
                while is_date_word_last(&parts) {
                    parts.truncate(parts.len() - 2);
                }
                let n_joining = parts.iter().rev().take_while(|part| part.joins()).count();
                let before = parts.len() - n_joining;
                if n_joining <= 2 && before > 0 && matches!(parts[before - 1], Part::Star) {
                    parts.truncate(before);
                    continue;
                }
                // The sign of a number.
                if let [.., Part::Mark(_)] | [] = &parts[..parts.len().saturating_sub(1)]
                    && matches!(parts.last(), Some(Part::Mark(mark)) if mark == "-" || mark == "+")
                {
                    parts.pop();
                }
            }
            parts.push(part);
        }
        let whole: String = parts.iter().map(Part::text).collect();
        whole.trim().chars().take(MAX_CHARS).collect()
    }
}

impl Part {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Mark(text) => text,
            Self::Star => "*",
        }
    }

    /// Whether stars on both sides of it are one.
    fn joins(&self) -> bool {
        matches!(self, Self::Mark(mark) if mark.chars().all(|c| " .,:;/-+_".contains(c)))
    }
}

/// Whether the parts end with the name of a day or a month, and a mark.
fn is_date_word_last(parts: &[Part]) -> bool {
    const NAMES: [&str; 19] = [
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
        "Oct", "Nov", "Dec",
    ];
    let Some((mark, [.., Part::Text(word)])) = parts.split_last() else { return false };
    mark.joins() && NAMES.contains(&word.as_str())
}

/// Whether the text ends in this word, and not only in its letters.
fn ends_in_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|before| !before.ends_with(char::is_alphanumeric))
}

/// Whether it is the path of a file, or a file's name, perhaps with a line and a column.
fn is_path(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
    let is_word = |part: &str| !part.is_empty() && part.chars().all(char::is_alphabetic);
    let is_number = |part: &str| part.starts_with(char::is_numeric) && part.chars().all(|c| c.is_numeric() || c == '.');
    if word.contains('\\') {
        return true;
    }
    match word.split_once('/') {
        // Either one or the other, or so many of so many.
        Some((one, other)) if is_word(one) && (is_word(other) || other.is_empty()) => false,
        Some((one, other)) => one.is_empty() || !is_number(one) || !is_number(other),
        None => word.rsplit_once('.').is_some_and(|(stem, extension)| {
            let is_stem = stem.len() > 1 && !stem.contains('.') && stem.contains(char::is_alphabetic);
            let is_extension = extension.len() <= 4 && extension.starts_with(|c: char| c.is_ascii_lowercase());
            is_stem && is_extension && extension.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        }),
    }
}

fn is_mail(word: &str) -> bool {
    word.split_once('@').is_some_and(|(who, host)| !who.is_empty() && host.contains('.'))
}

/// Whether it begins with a date of ISO 8601, whatever time and zone come behind it.
fn is_date(word: &str) -> bool {
    let shape: String = word.chars().take(10).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00" || shape == "0000/00/00"
}

/// Whether it looks drawn by chance, or counted in hexadecimal, and not written by a person.
fn is_id(word: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(digits) = word.strip_prefix("0x") {
        return is_hex(digits);
    }
    let is_uuid = word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && word.split('-').all(is_hex);
    let inner: Vec<char> = word.chars().filter(|c| !matches!(c, '-' | '_')).collect();
    if is_uuid || inner.is_empty() || !inner.iter().all(|c| c.is_ascii_alphanumeric()) {
        return is_uuid;
    }
    let n_turns = inner.windows(2).filter(|two| two[0].is_ascii_digit() != two[1].is_ascii_digit()).count();
    let has = |is: fn(&char) -> bool| inner.iter().any(is);
    let has_digit = has(char::is_ascii_digit);
    if inner.len() < word.len() {
        return inner.len() >= 16 && n_turns >= 3 && has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
    }
    let by_hex = is_hex(word) && (word.len() >= 8 || (has_digit && n_turns > 0 && word.len() >= 4));
    by_hex
        || (has_digit && (word.len() >= 16 || (n_turns >= 2 && word.len() >= 10) || (n_turns >= 3 && word.len() >= 6)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_varies_is_a_star_and_what_tells_of_the_cause_stays() {
        for (line, expected) in [
            (
                "connect to 10.0.0.7 port 5432 failed: Connection refused",
                "connect to * port * failed: Connection refused",
            ),
            ("curl: (22) The requested URL returned error: 404", "curl: (*) The requested URL returned error: 404"),
            ("curl: (22) The requested URL returned error: 503", "curl: (*) The requested URL returned error: 503"),
            (
                "OSError: [Errno 28] No space left on device: '/srv/a b/x.tmp'",
                "OSError: [Errno 28] No space left on device: '*'",
            ),
            ("error[E0308]: mismatched types", "error[E0308]: mismatched types"),
            (
                "error: could not compile `qctl` (lib) due to 3 previous errors",
                "error: could not compile '*' (lib) due to * previous errors",
            ),
            ("src/main.rs:12:5: error: expected ';'", "*: error: expected '*'"),
            (
                "rsync: [sender] link_stat \"/srv/x\" failed: No such file or directory (2)",
                "rsync: [sender] link_stat \"*\" failed: No such file or directory (*)",
            ),
            (
                "rsync error: some files could not be transferred (code 23) at main.c(1338) [sender=3.2.7]",
                "rsync error: some files could not be transferred (code 23) at *(*) [sender=*]",
            ),
            (
                "requests.exceptions.ConnectTimeout: HTTPSConnectionPool(host='api.a.org', port=443): Max retries exceeded",
                "requests.exceptions.ConnectTimeout: HTTPSConnectionPool(host='*', port=*): Max retries exceeded",
            ),
            ("timed out after 30s", "timed out after *s"),
            (
                "2026-11-30T12:00:01.5Z worker12: order 8f14e45f-ceea-467f-a8d2-0c5f3c9c2b1a gone",
                "* worker*: order * gone",
            ),
            ("Mon Nov 30 12:00:01 2026: disk full", "*: disk full"),
            ("can't open file, won't try", "can't open file, won't try"),
            (
                "GET https://api.example.com:8443/v1/users/7?x=1 HTTP/1.1 404 Not Found",
                "GET https://api.example.com/* HTTP 404 Not Found",
            ),
            ("\u{1b}[31merror\u{1b}[0m:  I/O  error and/or timeout", "error: I/O error and/or timeout"),
            ("make: *** [Makefile:12: all] Error 2", "make: * [Makefile:*: all] Error *"),
            ("exited with status 3", "exited with status 3"),
        ] {
            assert_eq!(common(line), expected, "of {line:?}");
        }
    }

    /// Sentences as programs print them, with a hole for what varies.
    const SENTENCES: [&str; 6] = [
        "cannot reach {}: connection refused",
        "order {} not found in store",
        "lost {} on the way (giving up)",
        "while reading {}, unexpected end of file",
        "backup of {} failed: permission denied",
        "{}: too many open files",
    ];

    fn varying() -> impl Strategy<Value = (String, String)> {
        let two = |pattern: &str| {
            let one = || proptest::string::string_regex(pattern).expect("a pattern");
            (one(), one())
        };
        prop_oneof![
            two("[0-9]{1,12}"),
            two("-?[0-9]{1,4}\\.[0-9]{1,3}"),
            two("[0-9a-f]{7}[0-9]|[0-9a-f]{12,40}"),
            two("0x[0-9a-f]{4,16}"),
            two("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
            two("01[0-9A-HJKMNP-TV-Z]{24}"),
            two("(/[a-z0-9._-]{0,12}[a-z0-9]){1,5}"),
            two("(\\.\\./|\\./|~/)[a-z0-9_-]{1,9}(/[a-z]{1,9}){0,3}"),
            two("20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?Z?"),
            two("20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]"),
            two("(Jan|May|Dec) [1-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]"),
            two("'[a-zA-Z0-9 /._-]{0,20}'"),
            two("\"[a-zA-Z0-9 /'._-]{0,20}\""),
            two("[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}(:[0-9]{2,5})?"),
            two("[a-z]{1,9}@[a-z]{1,9}\\.(com|org)"),
        ]
    }

    proptest! {
        #[test]
        fn lines_that_differ_only_in_what_varies_fall_together(sentence in 0..SENTENCES.len(), (one, other) in varying()) {
            let of = |part: &str| common(&SENTENCES[sentence].replace("{}", part));
            prop_assert_eq!(of(&one), of(&other));
        }

        #[test]
        fn different_sentences_stay_apart_whatever_varies_in_them(
            left in 0..SENTENCES.len(), further in 1..SENTENCES.len(), (one, other) in varying()
        ) {
            let right = (left + further) % SENTENCES.len();
            let of = |nth: usize, part: &str| common(&SENTENCES[nth].replace("{}", part));
            prop_assert_ne!(of(left, &one), of(right, &other));
        }

        #[test]
        fn any_line_has_a_cause_of_bounded_length(line in "\\PC{0,300}") {
            prop_assert!(common(&line).chars().count() <= MAX_CHARS);
        }

        #[test]
        fn words_without_digits_or_marks_stay_as_they_are(line in "[g-z]{1,12}( [g-z]{1,12}){0,9}") {
            let expected: String = line.chars().take(MAX_CHARS).collect();
            prop_assert_eq!(common(&line), expected);
        }
    }
}
