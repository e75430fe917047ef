//! `report.html`: the view through the template.

use minijinja::{AutoEscape, Environment};

use super::view::View;
use dismax::error::{Error, Result};

/// Name of the file in an audit's folder.
pub(super) const FILE: &str = "report.html";

/// One self-contained page. Everything but charts is escaped.
pub(super) fn render(view: &View) -> Result<String> {
    let fault = |error: minijinja::Error| Error::Internal(format!("{FILE}: {error:#}"));
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("report", include_str!("report.html.jinja")).map_err(fault)?;
    let template = environment.get_template("report").map_err(fault)?;
    template.render(minijinja::value::Serde(view)).map_err(fault)
}
