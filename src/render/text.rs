//! Text that comes from elsewhere, made safe to show.
//!
//! A command line, a label or a line of output may hold anything: escape sequences that rewrite the
//! screen, marks that turn the reading direction, line ends that fake another record. Shown to
//! people or cut into columns, none of these comes through. Only `logs` gives raw bytes.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::job::Command;

/// Shows bytes as one line of plain text: whatever is not printable, or would change how the rest
/// reads, is written as an escape (`\n`, `\x1b`, `\u{202e}`).
pub fn safe(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_safe(&mut text, c);
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn push_safe(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        '\r' => text.push_str("\\r"),
        c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if c.is_control() || is_deceptive(c) => text.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        c => text.push(c),
    }
}

/// Characters that take no room or change the order of others: marks of direction, joiners, fillers,
/// line separators, tags and variation selectors (Unicode's `Default_Ignorable` and `Bidi_Control`).
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A command as one would type it: a shell line as it is, a vector quoted where need be.
///
/// Not yet safe to show; see [`safe`].
pub fn command_line(command: &Command) -> Vec<u8> {
    match command {
        Command::Shell(line) => line.clone(),
        Command::Program(words) => {
            // It fails only on NUL, which no argument holds.
            shlex::bytes::try_join(words.iter().map(Vec::as_slice)).unwrap_or_else(|_| words.join(&b' '))
        }
    }
}

/// One word of a command line, such as a path, quoted where need be, as safe text.
pub fn word(word: &[u8]) -> String {
    safe(&command_line(&Command::Program(vec![word.to_vec()])))
}

/// A command as safe text; empty where there is none.
pub fn command(command: Option<&Command>) -> String {
    command.map(|command| safe(&command_line(command))).unwrap_or_default()
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// A text where there is only ASCII: every other character is written as an escape.
pub fn ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            ascii.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        }
    }
    ascii
}

/// Cuts a text to so many columns; a cut is shown by `…`. Where there is only ASCII, the text becomes
/// that first, because escapes take more columns than what they stand for.
pub fn cut(text: &str, columns: usize, has_unicode: bool) -> String {
    if !has_unicode && !text.is_ascii() {
        return cut(&ascii(text), columns, has_unicode);
    }
    if width(text) <= columns {
        return text.to_owned();
    }
    let mark = if has_unicode { "…" } else { "..." };
    let room = columns.saturating_sub(width(mark));
    let mut kept = String::new();
    let mut n_columns = 0;
    for c in text.chars() {
        n_columns += c.width().unwrap_or(0);
        if n_columns > room {
            break;
        }
        kept.push(c);
    }
    kept + &mark[..mark.len().min(if columns < width(mark) { 0 } else { mark.len() })]
}

/// Output for a terminal: colours (`ESC [ … m`), line ends and tabs come through, everything else
/// that is not printable is escaped.
pub fn colors_only(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let color = color_length(rest);
        if color > 0 {
            text.push_str(&String::from_utf8_lossy(&rest[..color]));
            rest = &rest[color..];
            continue;
        }
        // Up to the next byte that could begin a colour.
        let end = rest[1..].iter().position(|&byte| byte == 0x1b).map_or(rest.len(), |at| at + 1);
        for line in rest[..end].split_inclusive(|&byte| byte == b'\n') {
            push_line(&mut text, line);
        }
        rest = &rest[end..];
    }
    text
}

/// A line, or what of one was read by now. A carriage return is a part of the line end or is shown.
fn push_line(text: &mut String, line: &[u8]) {
    let (words, end) = match line.strip_suffix(b"\n") {
        Some(line) => (line.strip_suffix(b"\r").unwrap_or(line), "\n"),
        None => (line, ""),
    };
    let cells: Vec<String> = words.split(|&byte| byte == b'\t').map(safe).collect();
    text.push_str(&cells.join("\t"));
    text.push_str(end);
}

/// How much of some output can be shown on a terminal before more of it is known: all but the
/// beginning of a character, of a colour or of a line end.
pub fn whole(bytes: &[u8]) -> usize {
    let last = |n: usize| &bytes[bytes.len().saturating_sub(n)..];
    let is_begun = |tail: &[u8]| {
        let parameters = tail.strip_prefix(b"\x1b[").or_else(|| tail.strip_prefix(b"\x1b"));
        let is_color = parameters.is_some_and(|parameters| parameters.iter().all(is_color_parameter));
        let is_character = std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none());
        tail == b"\r" || is_color || is_character
    };
    let begun = (1..=MAX_COLOR.min(bytes.len())).find(|&n| is_begun(last(n)));
    bytes.len() - begun.unwrap_or(0)
}

/// Whether a terminal is painted after this output; `None`: it says nothing about that.
pub fn leaves_paint(bytes: &[u8]) -> Option<bool> {
    let escapes = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == 0x1b);
    let mut colors =
        escapes.map(|(at, _)| &bytes[at..at + color_length(&bytes[at..])]).filter(|color| !color.is_empty());
    // A colour that is made of nothing but zeros takes back all others.
    colors.next().map(|color| color.iter().any(|byte| matches!(byte, b'1'..=b'9')))
}

/// The longest colour sequence that is passed on, in bytes. What goes on for longer is no colour, and
/// would have the rest of the output wait for its end.
const MAX_COLOR: usize = 64;

fn is_color_parameter(byte: &u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b';' | b':')
}

/// How many bytes of a colour sequence `bytes` begin with; 0 where it is something else.
fn color_length(bytes: &[u8]) -> usize {
    let Some(parameters) = bytes.strip_prefix(b"\x1b[") else { return 0 };
    let n = parameters.iter().take(MAX_COLOR).take_while(|byte| is_color_parameter(byte)).count();
    if parameters.get(n) == Some(&b'm') { n + 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_text_becomes_harmless() {
        assert_eq!(safe(b"a\x1b[2Jb\nc\td\x7f\xff"), "a\\x1b[2Jb\\nc\\td\\x7f\\xff");
        assert_eq!(safe("gnp.\u{202e}exe\u{200b}\u{9b}".as_bytes()), "gnp.\\u{202e}exe\\u{200b}\\u{9b}");
        assert_eq!(safe("naïve 日本".as_bytes()), "naïve 日本");
    }

    #[test]
    fn a_terminal_gets_colours_and_nothing_else() {
        assert_eq!(
            colors_only(b"\x1b[1;31mred\x1b[0m\n\x1b]0;title\x07\t."),
            "\x1b[1;31mred\x1b[0m\n\\x1b]0;title\\x07\t."
        );
        assert_eq!(colors_only(b"\x1b[2J\x1b"), "\\x1b[2J\\x1b");
    }

    #[test]
    fn a_carriage_return_is_part_of_a_line_end_or_is_seen() {
        assert_eq!(colors_only(b"a\r\nb\r\r"), "a\nb\\r\\r");
        assert_eq!(colors_only(b"10%\r\x1b[2K\x1b[1m20%\r"), "10%\\r\\x1b[2K\x1b[1m20%\\r");
    }

    #[test]
    fn output_is_shown_up_to_what_has_only_begun() {
        let whole = |text: &[u8]| whole(text);
        assert_eq!(
            [whole(b""), whole(b"a"), whole("日".as_bytes()), whole(b"\x1b[1m"), whole(b"\xff")],
            [0, 1, 3, 4, 1]
        );
        assert_eq!([whole(b"a\xe6\x97"), whole(b"ab\x1b"), whole(b"a\x1b[1;3"), whole(b"abc\r")], [1, 2, 1, 3]);
        let endless = [b"\x1b[".to_vec(), vec![b'1'; 99]].concat();
        assert_eq!(whole(&endless), endless.len());
    }

    #[test]
    fn paint_is_left_until_it_is_taken_back() {
        let paint = [b"plain".as_slice(), b"\x1b[31mred", b"\x1b[31mred\x1b[0m.", b"\x1b[m", b"\x1b[0;1m\x1b[2J"];
        assert_eq!(paint.map(leaves_paint), [None, Some(true), Some(false), Some(false), Some(true)]);
    }

    #[test]
    fn where_there_is_only_ascii_the_rest_is_escaped_before_it_is_cut() {
        assert_eq!(cut("日本 a", 40, false), "\\u{65e5}\\u{672c} a");
        assert_eq!(cut("日本 a", 12, false), "\\u{65e5}\\...");
        assert_eq!(cut("日本 abc", 6, true), "日本 …");
    }

    #[test]
    fn a_vector_is_shown_as_a_shell_would_read_it() {
        let words = ["ffmpeg", "-i", "in file.mov"].map(|word| word.as_bytes().to_vec()).to_vec();
        assert_eq!(command(Some(&Command::Program(words))), "ffmpeg -i 'in file.mov'");
    }

    proptest! {
        #[test]
        fn a_cut_text_fits(text in "\\PC{0,40}", columns in 0_usize..30, has_unicode: bool) {
            prop_assert!(width(&cut(&text, columns, has_unicode)) <= columns);
        }

        #[test]
        fn safe_text_is_one_printable_line(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(safe(&bytes).chars().all(|c| !c.is_control() && !is_deceptive(c)));
        }
    }
}
