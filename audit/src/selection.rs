//! Some of the kinds of findings, in a word: `leaked`, `label_issue:high`, `broken`, `any`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::error::AuditError;
use super::kind::{Kind, Severity};

/// Findings of one kind or of several, down to a severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Selection {
    kinds: Kinds,
    /// The least serious that is meant; none for all.
    severity: Option<Severity>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Any,
    Broken,
    One(Kind),
}

impl Selection {
    /// Findings whose image is of no use: it cannot be decoded, is cut off or missing.
    pub const BROKEN: Self = Self { kinds: Kinds::Broken, severity: None };

    /// Refuses a kind that nobody looks for, so that there will be none of its findings; `any` stands for the kinds
    /// that are looked for.
    pub(super) fn require(&self, looked_for: impl Fn(Kind) -> bool) -> Result<(), AuditError> {
        match self.kinds {
            Kinds::One(kind) if !looked_for(kind) => Err(AuditError::NotLookedFor { kind }),
            _ => Ok(()),
        }
    }

    /// Whether a finding of this kind and severity is meant.
    pub fn has(&self, kind: Kind, severity: Severity) -> bool {
        // The most serious comes first.
        let serious = self.severity.is_none_or(|least| severity <= least);
        serious
            && match self.kinds {
                Kinds::Any => true,
                Kinds::Broken => Kind::BROKEN.contains(&kind),
                Kinds::One(one) => kind == one,
            }
    }
}

impl FromStr for Selection {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let refuse = |message: String| AuditError::Selection { text: text.to_owned(), message };
        let (kinds, severity) = match text.trim().split_once(':') {
            Some((kinds, severity)) => (kinds.trim_end(), Some(severity.trim_start())),
            None => (text.trim(), None),
        };
        let kinds = match kinds {
            "any" => Kinds::Any,
            "broken" => Kinds::Broken,
            name => Kinds::One(Kind::named(name).ok_or_else(|| {
                refuse(format!("the kinds are {}, broken and any", Kind::ALL.map(Kind::name).join(", ")))
            })?),
        };
        let severity = severity
            .map(|name| Severity::named(name).ok_or_else(|| refuse("the severities are high, medium and low".into())));
        Ok(Self { kinds, severity: severity.transpose()? })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kinds {
            Kinds::Any => f.write_str("any")?,
            Kinds::Broken => f.write_str("broken")?,
            Kinds::One(kind) => f.write_str(kind.name())?,
        }
        self.severity.map_or(Ok(()), |severity| write!(f, ":{}", severity.name()))
    }
}

impl From<Selection> for String {
    fn from(selection: Selection) -> Self {
        selection.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_select_kinds_down_to_a_severity() {
        let has = |text: &str, kind, severity| text.parse::<Selection>().expect("a selection").has(kind, severity);
        assert!(has("leaked", Kind::Leaked, Severity::Low) && !has("leaked", Kind::LeakedNear, Severity::High));
        assert!(has("any:medium", Kind::Blurred, Severity::High) && has("any:medium", Kind::Empty, Severity::Medium));
        assert!(!has("any:medium", Kind::Blurred, Severity::Low));
        assert!(has("broken", Kind::Truncated, Severity::High) && !has("broken", Kind::NearBlack, Severity::High));
        for text in ["any", "broken", "label_issue:high", "near_duplicate"] {
            assert_eq!(text.parse::<Selection>().expect("a selection").to_string(), text);
        }
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        let message = |text: &str| text.parse::<Selection>().expect_err("refused").to_string();
        assert!(
            message("leakd").contains("\"leakd\"") && message("leakd").contains("leaked_near"),
            "{}",
            message("leakd")
        );
        assert!(message("leaked:severe").contains("high, medium and low"));
        assert!(message("").contains("the kinds are"));
    }
}
