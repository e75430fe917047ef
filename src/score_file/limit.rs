//! How many failed rows are too many.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Rows from which a share is looked at while a run goes on. Of fewer rows a few failures can be a large share by
/// chance.
const ROWS_FOR_SHARE: u64 = 1000;

/// Failed rows that are accepted, as text `20` or `1.5%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ErrorLimit {
    /// So many.
    Rows(u64),
    /// So many of a hundred rows, in [0, 100].
    Percent(f64),
}

impl ErrorLimit {
    /// Whether `failed` of `rows` rows are accepted at the end of a run.
    ///
    /// # Errors
    /// The limit as text.
    pub fn check(self, failed: u64, rows: u64) -> Result<(), String> {
        let within = match self {
            Self::Rows(most) => failed <= most,
            // The product is compared, so that an empty dataset is within any limit.
            Self::Percent(percent) => failed as f64 * 100.0 <= percent * rows as f64,
        };
        if within { Ok(()) } else { Err(self.to_string()) }
    }

    /// The same while rows are still coming: a share counts from 1,000 rows on.
    ///
    /// # Errors
    /// The limit as text.
    pub fn check_running(self, failed: u64, rows: u64) -> Result<(), String> {
        match self {
            Self::Percent(_) if rows < ROWS_FOR_SHARE => Ok(()),
            _ => self.check(failed, rows),
        }
    }
}

impl fmt::Display for ErrorLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows}"),
            Self::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

impl FromStr for ErrorLimit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let limit = match text.strip_suffix('%') {
            None => text.parse().ok().map(Self::Rows),
            Some(percent) => percent
                .trim_end()
                .parse()
                .ok()
                .filter(|percent: &f64| (0.0..=100.0).contains(percent))
                .map(Self::Percent),
        };
        limit.ok_or_else(|| {
            Error::Config(format!("{text:?} is no number of rows such as 20 and no share from 0% to 100% such as 1.5%"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        assert_eq!("20".parse::<ErrorLimit>().unwrap(), ErrorLimit::Rows(20));
        assert_eq!("1.5%".parse::<ErrorLimit>().unwrap(), ErrorLimit::Percent(1.5));
        assert_eq!("0 %".parse::<ErrorLimit>().unwrap(), ErrorLimit::Percent(0.0));
        for text in ["", "%", "-1", "1.5", "101%", "-1%", "NaN%", "ten"] {
            assert!(text.parse::<ErrorLimit>().unwrap_err().to_string().contains("1.5%"), "{text}");
        }
    }

    #[test]
    fn a_limit_is_what_is_still_accepted() {
        assert!(ErrorLimit::Rows(2).check_running(2, 2).is_ok());
        assert_eq!(ErrorLimit::Rows(2).check_running(3, 3).unwrap_err(), "2");
        assert!(ErrorLimit::Percent(1.0).check(10, 1000).is_ok());
        assert_eq!(ErrorLimit::Percent(1.0).check(11, 1000).unwrap_err(), "1 %");
        assert!(ErrorLimit::Percent(0.0).check(0, 0).is_ok());
    }

    #[test]
    fn a_share_waits_for_enough_rows() {
        assert!(ErrorLimit::Percent(1.0).check_running(999, 999).is_ok());
        assert!(ErrorLimit::Percent(1.0).check_running(500, 1000).is_err());
    }
}
