//! Small pictures made of characters: a course of counts, and stretches of time to scale.

use super::Look;
use crate::clock::Timestamp;

/// Eight heights, and nothing.
const HEIGHTS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The same where there is only ASCII.
const ASCII_HEIGHTS: [&str; 9] = [" ", ".", ".", ":", ":", "|", "|", "#", "#"];

/// One character for each count, the highest the tallest; a count above zero is always seen.
pub fn sparkline(counts: &[u64], look: &Look) -> String {
    let heights = if look.has_unicode { HEIGHTS } else { ASCII_HEIGHTS };
    let highest = counts.iter().copied().max().unwrap_or(0).max(1);
    let height =
        |count: u64| usize::try_from((u128::from(count) * 8).div_ceil(u128::from(highest))).unwrap_or(8).min(8);
    counts.iter().map(|&count| heights[height(count)]).collect()
}

/// Where a stretch of time lies within a longer one, in so many columns.
///
/// However short it is, it is one column wide.
pub fn stretch(part: (Timestamp, Timestamp), whole: (Timestamp, Timestamp), columns: usize, look: &Look) -> String {
    let (filled, empty) = if look.has_unicode { ("█", "·") } else { ("#", ".") };
    let length = whole.1.since(whole.0).as_millis().max(1);
    let columns = columns.max(1);
    let column = |instant: Timestamp| {
        let at = instant.since(whole.0).as_millis() * columns as u128 / length;
        usize::try_from(at).unwrap_or(columns).min(columns)
    };
    let first = column(part.0).min(columns - 1);
    let end = column(part.1).max(first + 1);
    format!("{}{}{}", empty.repeat(first), filled.repeat(end - first), empty.repeat(columns - end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn look(has_unicode: bool) -> Look {
        Look { width: 80, has_color: false, has_unicode, now: Timestamp::default(), zone: || TimeZone::UTC }
    }

    #[test]
    fn a_sparkline_is_as_high_as_its_counts() {
        assert_eq!(sparkline(&[0, 1, 4, 8, 800], &look(true)), " ▁▁▁█");
        assert_eq!(sparkline(&[0, 1, 2, 4], &look(true)), " ▂▄█");
        assert_eq!(sparkline(&[0, 1, 2, 4], &look(false)), " .:#");
        assert_eq!(sparkline(&[0, 0], &look(true)), "  ");
        assert_eq!(sparkline(&[], &look(true)), "");
    }

    #[test]
    fn a_stretch_lies_where_it_lay_and_is_never_nothing() {
        let at = Timestamp::from_millis;
        let bar = |from, to| stretch((at(from), at(to)), (at(0), at(100)), 10, &look(false));
        assert_eq!(bar(0, 100), "##########");
        assert_eq!(bar(20, 50), "..###.....");
        assert_eq!(bar(99, 100), ".........#");
        assert_eq!(bar(100, 100), ".........#");
        assert_eq!(bar(0, 0), "#.........");
    }
}
