//! Numbers as people read them.

use std::fs;
use std::path::Path;

use dismax::{Error, Result};
use indicatif::HumanCount;

/// `1,234,567`.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A text file without the byte order mark that some editors put in front.
///
/// # Errors
/// A file that cannot be read or is not UTF-8.
pub fn read(file: impl AsRef<Path>) -> Result<String> {
    let text = fs::read_to_string(&file).map_err(|error| Error::io(&file, error))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// `1,234 rows`, `1 row`.
pub fn rows(number: u64) -> String {
    format!("{} {}", count(number), if number == 1 { "row" } else { "rows" })
}

/// A share as `12.3 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `4.2 s`, `3:05` (minutes) or `1:02:03`.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    clock(seconds)
}

/// `0:04`, `3:05` or `1:02:03`.
pub fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

/// Images per second, with a decimal only if there are few.
pub fn rate(per_second: f64) -> String {
    if per_second < 10.0 { format!("{per_second:.1}") } else { count(per_second.round() as u64) }
}

/// Names and values in two columns.
pub fn list(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        text.push_str(&format!("{name:<width$}  {value}").replace('\n', &format!("\n{:width$}  ", "")));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([rows(1), rows(0), rows(2000)], ["1 row", "0 rows", "2,000 rows"]);
        assert_eq!([0.0, 59.94, 60.0, 3723.0].map(duration), ["0.0 s", "59.9 s", "1:00", "1:02:03"]);
        assert_eq!(clock(4.4), "0:04");
        assert_eq!([0.25, 9.96, 817.4, 2200.0].map(rate), ["0.2", "10.0", "817", "2,200"]);
        assert_eq!(percent(0.0456), "4.6 %");
    }

    #[test]
    fn lists_align_also_below_each_other() {
        assert_eq!(list(&[("a", "1\n2".into()), ("long", "3".into())]), "a     1\n      2\nlong  3\n");
    }
}
