//! `report.html`: the view through the template.

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::view::View;
use dismax::error::{Error, Result};

/// Name of the file in an audit's folder.
pub(super) const FILE: &str = "report.html";

/// One self-contained page. Everything but drawings is escaped.
pub(super) fn render(view: &View) -> Result<String> {
    page(view)
}

fn page(view: &impl Serialize) -> Result<String> {
    let fault = |error: minijinja::Error| Error::Internal(format!("{FILE}: {error:#}"));
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // A name that the view does not have is a mistake here, and not empty text there.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_template("report", include_str!("report.html.jinja")).map_err(fault)?;
    let template = environment.get_template("report").map_err(fault)?;
    template.render(minijinja::value::Serde(view)).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The view of the page's tests in Chromium, tests/report: everything that a page can show, with hostile strings. A
    /// name that the template and the view do not share fails here. Where the environment names a folder, the page is
    /// kept there for the tests to open.
    #[test]
    fn everything_that_a_page_can_show() {
        let view: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/report/view.json")).expect("a view as JSON");
        let page = page(&view).expect("a page");
        if let Some(folder) = std::env::var_os("DISMAX_KEEP_PAGES") {
            std::fs::write(std::path::Path::new(&folder).join(FILE), &page).expect("written");
        }
        assert!(page.contains("&lt;script&gt;window.__pwned=1&lt;&#x2f;script&gt;"), "strings are escaped");
        assert_eq!(page.matches("<script>").count(), 1);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
}
