//! The report as Markdown, for a pull request or a job's summary.

use super::report::GateReport;
use crate::text::{count, counted, shown};
use dismax::text::harmless;

impl GateReport {
    /// The report as Markdown: a verdict, the rules, the kinds, and the first findings of each broken rule.
    pub fn markdown(&self) -> String {
        let broken = self.rules.iter().filter(|result| result.broken).count() as u64;
        let verdict = match (self.rules.is_empty(), broken) {
            (true, _) => counted(self.counted(), "finding"),
            (false, 0) => "passed".to_owned(),
            (false, _) => format!("failed, {} broken", counted(broken, "rule")),
        };
        let mut text =
            format!("### Audit: {verdict}\n\n{} of {}", counted(self.rows, "row"), plain(&self.inputs_in_words()));
        if let Some(baseline) = &self.baseline {
            text.push_str(&format!("; findings that {} has as well do not count", plain(baseline)));
        }
        text.push_str(".\n");
        if !self.rules.is_empty() {
            text.push_str("\n| rule | findings | rows | result |\n| --- | ---: | ---: | --- |\n");
            for result in &self.rules {
                let (findings, rows) = (count(result.findings), count(result.rows));
                let verdict = if result.broken { "**broken**" } else { "passed" };
                text.push_str(&format!("| {} | {findings} | {rows} | {verdict} |\n", plain(&result.rule.to_string())));
            }
        }
        if !self.kinds.is_empty() {
            text.push_str("\n| kind | findings | new | accepted | count |\n| --- | ---: | ---: | ---: | ---: |\n");
            for kind in &self.kinds {
                let new = kind.new.map_or_else(|| "-".to_owned(), count);
                let [findings, accepted, counted] = [kind.findings, kind.accepted, kind.counted].map(count);
                text.push_str(&format!("| {} | {findings} | {new} | {accepted} | {counted} |\n", kind.kind.title()));
            }
        }
        for result in self.rules.iter().filter(|result| result.broken && !result.examples.is_empty()) {
            let of = if result.findings > result.examples.len() as u64 { ", the first of them" } else { "" };
            text.push_str(&format!("\n{}: {}{of}\n\n", plain(&result.rule.to_string()), result.found()));
            result.examples.iter().for_each(|example| text.push_str(&format!("- {}\n", plain(&example.line()))));
        }
        for expired in &self.expired {
            let (kind, image) = (expired.kind, &expired.image_digest);
            text.push_str(&format!(
                "\nNo longer accepted: {kind} of image `{image}`, {}.\n",
                plain(&expired.to_string())
            ));
        }
        text
    }

    /// `a.parquet`, `a.parquet and 2 more files`.
    pub(super) fn inputs_in_words(&self) -> String {
        match self.inputs.as_slice() {
            [] => "nothing".into(),
            [only] => shown(only),
            [first, rest @ ..] => format!("{} and {}", shown(first), counted(rest.len() as u64, "more file")),
        }
    }
}

/// Text from outside that Markdown shows as it is: no table, link, mention or HTML comes out of it.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        match c {
            // A backslash does not keep GitHub from reading a mention.
            '@' => plain.push_str("&#64;"),
            '<' => plain.push_str("&lt;"),
            '&' => plain.push_str("&amp;"),
            c if c.is_ascii_punctuation() && !".,:;-%='\"/()+?".contains(c) => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_only_text() {
        assert_eq!(plain("a|b`c`.png"), "a\\|b\\`c\\`.png");
        assert_eq!(
            plain("<img src=x> @all [x](http://y)\n# z"),
            "&lt;img src=x\\> &#64;all \\[x\\](http://y)\u{FFFD}\\# z"
        );
    }
}
