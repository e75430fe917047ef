//! Text from outside as it is shown: not too long, and without characters that hide or turn the text around them.

use dismax::text::harmless;

/// Most characters of a text that is shown.
const MOST: usize = 200;

/// The text without control characters (U+FFFD stands in) and cut in its middle to 200 characters.
pub(super) fn shown(text: &str) -> String {
    harmless(&clipped(text, MOST))
}

/// The text, cut in its middle to at most `most` characters (at least 3). Reads only as much of a long text as it
/// keeps.
pub(super) fn clipped(text: &str, most: usize) -> String {
    // A text of at most `most` bytes has at most as many characters.
    if text.len() <= most || text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let tail = (most - 1) / 2;
    let head: String = text.chars().take(most - 1 - tail).collect();
    let end: Vec<char> = text.chars().rev().take(tail).collect();
    head.chars().chain(['…']).chain(end.into_iter().rev()).collect()
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `1,234 rows`: a number of things whose plural has an s.
pub(super) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A share as `12.3 %`, small ones with more digits.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent != 0.0 && percent.abs() < 0.1 { format!("{percent:.3} %") } else { format!("{percent:.1} %") }
}

/// A p-value with two digits that mean something.
pub(super) fn p_value(p: f64) -> String {
    match p {
        p if p < 1e-99 => "< 1e-99".into(),
        p if p < 0.001 => format!("{p:.1e}"),
        p => format!("{p:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_middle() {
        assert_eq!(clipped("abcdef", 6), "abcdef");
        assert_eq!(clipped("abcdefg", 6), "abc…fg");
        assert_eq!(clipped("äöüßéèê", 5), "äö…èê");
        let megabyte = "\u{05D0}".repeat(1 << 20) + "end.png";
        let text = shown(&megabyte);
        assert_eq!(text.chars().count(), MOST);
        assert!(text.ends_with("end.png"), "{text}");
    }

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "row"), counted(2, "row")], ["1 row", "2 rows"]);
        assert_eq!([percent(0.1234), percent(0.0), percent(0.0002)], ["12.3 %", "0.0 %", "0.020 %"]);
        assert_eq!([p_value(0.01234), p_value(1e-9), p_value(0.0)], ["0.0123", "1.0e-9", "< 1e-99"]);
    }
}
