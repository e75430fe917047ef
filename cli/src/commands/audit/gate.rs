//! Whether a pipeline goes on: rules for the findings, and what is written about them.

use std::path::{Path, PathBuf};

use dismax::dataset::Dataset;
use dismax::disk::TextFile;
use dismax::{Error, Result};
use dismax_audit::{
    Acceptances, GateReport, LabelStudioExport, LabelStudioOptions, ReviewOptions, RevisitOptions, acceptance_template,
    gate,
};

use super::args::Args;
use crate::context::Context;
use crate::text;

/// The flags resolved: outputs are begun, so that one that is in the way is refused before the work.
pub struct Gate {
    /// What findings are compared with.
    pub review: ReviewOptions,
    junit: Option<TextFile>,
    markdown: Option<TextFile>,
    template: Option<TextFile>,
    label_studio: Option<LabelStudioExport>,
}

impl Gate {
    /// Resolves the flags. `dataset` is what is audited now; none where the audit exists.
    ///
    /// # Errors
    /// A file of acceptances that cannot be used, outputs that are in the way.
    pub fn open(args: &Args, dataset: Option<&Dataset>, context: &Context) -> Result<Self> {
        let gate = &args.gate;
        let review = ReviewOptions { baseline: gate.baseline.clone(), accepted: Acceptances::read(&gate.accept)? };
        if gate.label_studio.is_some() && args.inputs.iter().any(|input| input == "-") {
            return Err(Error::Config(
                "--label-studio reads the images again, which standard input cannot give".into(),
            ));
        }
        let begin = |path: &Option<PathBuf>| path.as_deref().map(|path| TextFile::create(path, args.force)).transpose();
        let label_studio = gate.label_studio.as_deref().map(|path| {
            let options = LabelStudioOptions {
                selections: Vec::new(),
                review: review.clone(),
                url_prefix: gate.label_studio_prefix.clone(),
                revisit: RevisitOptions {
                    dataset: dataset.cloned(),
                    image: args.images.image.clone(),
                    load: args.images.load(),
                    open: args.input.options(&context.cancel),
                },
                overwrite: args.force,
            };
            LabelStudioExport::create(path, options)
        });
        Ok(Self {
            junit: begin(&gate.junit)?,
            markdown: begin(&gate.markdown)?,
            template: begin(&gate.accept_template)?,
            label_studio: label_studio.transpose()?,
            review,
        })
    }

    /// Counts the findings of the audit in `folder` and writes what was asked for; nothing where nothing was.
    ///
    /// # Errors
    /// An audit that cannot be read, outputs that cannot be written, images that cannot be read again.
    pub fn run(self, folder: &Path, args: &Args, context: &Context) -> Result<Option<GateReport>> {
        for expired in self.review.accepted.iter().flat_map(Acceptances::expired) {
            let (kind, image) = (expired.kind, &expired.image_digest);
            context.ui.warn(format!("no longer accepted, {expired}: {kind} of image {image}"));
        }
        if let Some(export) = self.label_studio {
            let figures = context.watch(|run| export.write(folder, run))?;
            let mut tasks = vec![("tasks", text::count(figures.tasks))];
            if figures.without_image > 0 {
                tasks.push(("without", format!("{} have no image to show", text::rows(figures.without_image))));
            }
            context.ui.note(text::list(&tasks));
        }
        if let Some(mut template) = self.template {
            template.write(acceptance_template(folder, &self.review, &context.cancel)?)?;
            template.finish()?;
        }
        let rules = &args.gate.fail_on;
        let is_asked = args.gate.gate.is_some() || !rules.is_empty() || self.junit.is_some() || self.markdown.is_some();
        if !is_asked {
            return Ok(None);
        }
        let report = gate(folder, rules, &self.review, &context.cancel)?;
        if let Some(mut junit) = self.junit {
            junit.write(report.junit()?)?;
            junit.finish()?;
        }
        if let Some(mut markdown) = self.markdown {
            markdown.write(report.markdown())?;
            markdown.finish()?;
        }
        say(&report, context);
        Ok(Some(report))
    }
}

/// The rules with what was counted; the broken ones also with `--quiet`, as they are why the exit code is not 0.
fn say(report: &GateReport, context: &Context) {
    if report.rules.is_empty() {
        let found: Vec<String> = report
            .kinds
            .iter()
            .filter(|kind| kind.counted > 0)
            .map(|kind| format!("{} {}", text::count(kind.counted), kind.kind))
            .collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        context.ui.note(text::list(&[("findings that count", found)]));
    }
    for result in &report.rules {
        match result.broken {
            true => context.ui.incomplete(result.to_string()),
            false => context.ui.note(result.to_string()),
        }
    }
}
