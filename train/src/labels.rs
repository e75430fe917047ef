//! What a training demands of the labels of its datasets.

use std::collections::BTreeSet;

use dismax::dataset::{Dataset, LabelColumn, RowLabels};
use dismax::error::{Error, Result};
use sha2::{Digest, Sha256};

/// # Errors
/// [`Error::Data`] unless at least two classes have rows.
pub(super) fn require_two_classes(labels: &RowLabels, dataset: &Dataset, column: &LabelColumn) -> Result<()> {
    let present: BTreeSet<u32> = labels.classes.iter().copied().flatten().collect();
    let message = match (labels.classes.len(), present.len()) {
        (0, _) => "there are no rows; give a dataset with labelled images".to_owned(),
        (_, 0) => format!("all labels in \"{}\" are null; give labelled rows", column.name()),
        (_, 1) => {
            let name = present.first().and_then(|&class| labels.names.get(class as usize)).map_or("", String::as_str);
            format!(
                "all rows in \"{}\" belong to the class {name:?}; training needs at least two classes",
                column.name()
            )
        }
        _ => return Ok(()),
    };
    Err(Error::data(dataset.files().next().unwrap_or("training data"), message))
}

/// SHA-256 over all labels in order, in hexadecimal: tells datasets apart.
pub(super) fn digest(labels: &RowLabels) -> String {
    let mut digest = Sha256::new();
    for class in &labels.classes {
        digest.update(class.map_or(u32::MAX, |class| class).to_le_bytes());
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
