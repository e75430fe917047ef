//! What is said of a finished model.

use std::path::Path;

use dismax::model::Model;

use crate::context::Context;
use crate::report::CalibrationReport;
use crate::text;

pub fn describe(model: &Model, out: &Path, context: &Context) {
    let name = out.display().to_string();
    let mut lines = vec![("model", name.clone())];
    let report = CalibrationReport::of(model);
    report.iter().flat_map(CalibrationReport::warnings).for_each(|warning| context.ui.warn(warning));
    lines.extend(report.iter().flat_map(CalibrationReport::lines));
    lines.push((
        "next",
        match report {
            Some(_) => format!(
                "dismax evaluate --model {name} --id TEST --ood OTHER\ndismax score INPUT --model {name} --out OUTPUT"
            ),
            None => format!("dismax calibrate {name} --data VALIDATION"),
        },
    ));
    context.ui.note(text::list(&lines));
}
