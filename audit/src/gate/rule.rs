//! One rule.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::AuditError;
use crate::selection::Selection;

/// How many findings break it: `KIND[:SEVERITY]>NUMBER`, `>=`, and a percentage for a share of the rows.
///
/// A kind is the name of one, `broken` (cannot be decoded, cut off or missing) or `any`. A severity stands for itself
/// and the more serious ones. A share counts rows with such a finding among all rows, a number the findings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(into = "String")]
pub struct Rule {
    /// Which findings count.
    pub selection: Selection,
    limit: Limit,
    /// Whether the limit itself breaks the rule already.
    inclusive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    Findings(u64),
    /// Of the rows, in percent as it was written.
    Percent(f64),
}

impl Rule {
    /// Whether so many findings, in so many of all rows, break it.
    pub fn is_broken(&self, findings: u64, rows: u64, all_rows: u64) -> bool {
        match self.limit {
            Limit::Findings(most) if self.inclusive => findings >= most,
            Limit::Findings(most) => findings > most,
            // Products, so that a share that is met exactly is met.
            Limit::Percent(most) if self.inclusive => rows > 0 && 100.0 * rows as f64 >= most * all_rows as f64,
            Limit::Percent(most) => 100.0 * rows as f64 > most * all_rows as f64,
        }
    }

    /// Whether it limits the share of rows, not the number of findings.
    pub fn is_share(&self) -> bool {
        matches!(self.limit, Limit::Percent(_))
    }
}

impl FromStr for Rule {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let refuse = |message: &str| AuditError::Rule { text: text.to_owned(), message: message.to_owned() };
        let form = "write a kind, > or >=, and a number or a percentage, such as leaked>0 or unknown>1%";
        let (selection, limit) = text.split_once('>').ok_or_else(|| refuse(form))?;
        let selection = selection.parse()?;
        let (inclusive, limit) = match limit.strip_prefix('=') {
            Some(limit) => (true, limit.trim()),
            None => (false, limit.trim()),
        };
        let limit = match limit.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.trim_end().parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
                Limit::Percent(percent.ok_or_else(|| refuse("a percentage lies between 0% and 100%"))?)
            }
            None => Limit::Findings(limit.parse().map_err(|_| refuse(form))?),
        };
        if inclusive && matches!(limit, Limit::Findings(0)) {
            return Err(refuse("0 findings would break it too; write > instead"));
        }
        Ok(Self { selection, limit, inclusive })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.selection, if self.inclusive { ">=" } else { ">" })?;
        match self.limit {
            Limit::Findings(most) => write!(f, "{most}"),
            Limit::Percent(most) => write!(f, "{most}%"),
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_they_are_read() {
        for (text, canonical) in [
            ("leaked>0", "leaked>0"),
            (" label_issue:high >= 10 ", "label_issue:high>=10"),
            ("unknown>1%", "unknown>1%"),
            ("any > 0.25 %", "any>0.25%"),
        ] {
            assert_eq!(text.parse::<Rule>().expect("a rule").to_string(), canonical);
        }
    }

    #[test]
    fn limits_are_met_exactly() {
        let broken =
            |text: &str, findings, rows, all| text.parse::<Rule>().expect("a rule").is_broken(findings, rows, all);
        assert!(!broken("leaked>0", 0, 0, 10) && broken("leaked>0", 1, 1, 10));
        assert!(!broken("leaked>=3", 2, 2, 10) && broken("leaked>=3", 3, 3, 10));
        // 7 of 100 rows are 7 %, in which floating-point numbers do not agree: 0.07 * 100 > 7.
        assert!(!broken("unknown>7%", 7, 7, 100) && broken("unknown>=7%", 7, 7, 100));
        assert!(broken("unknown>7%", 8, 8, 100) && !broken("unknown>7%", 80, 6, 100), "rows count, not findings");
        assert!(!broken("unknown>0%", 0, 0, 0) && !broken("unknown>=0%", 0, 0, 0), "an empty dataset breaks nothing");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let message = |text: &str| text.parse::<Rule>().expect_err("refused").to_string();
        assert!(message("leaked").contains("leaked>0"));
        assert!(message("leakd>0").contains("the kinds are"));
        assert!(message("leaked>many").contains("a number or a percentage"));
        assert!(message("leaked>101%").contains("100%") && message("leaked>NaN%").contains("100%"));
        assert!(message("leaked>=0").contains("write > instead"));
        assert!(message("leaked>-1").contains("a number or a percentage"));
    }
}
