//! The file of the kept rows and the one of the removed rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListBuilder, RecordBatch, StringArray, StringBuilder, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::options::CleanOptions;
use super::removal::Removal;
use dismax::dataset::{Dataset, PairWriter};
use dismax::error::{Error, Result};

/// Both files.
pub(super) struct Outputs {
    files: PairWriter,
    with_reasons: SchemaRef,
    /// Names of the audited files.
    names: Vec<String>,
}

impl Outputs {
    /// Begins both: kept and removed.
    pub fn create(
        dataset: &Dataset,
        (kept, removed): (&str, &str),
        options: &CleanOptions,
        names: &[String],
    ) -> Result<Self> {
        for path in [kept, removed] {
            if path == "-" {
                let message = "standard output holds one file; name two, so that both appear together";
                return Err(Error::Config(message.into()));
            }
            dataset.require_not_read(path)?;
        }
        let schema = dataset.schema();
        let with_reasons = with_reasons(schema, &options.prefix)?;
        let rows = ["the kept rows", "the removed rows"];
        let files = PairWriter::create((kept, schema), Some((removed, &with_reasons)), rows, &options.write)?;
        Ok(Self { files, with_reasons, names: names.to_vec() })
    }

    /// Writes rows where they belong; for each there is why it is removed, if it is.
    pub fn write(&mut self, rows: &RecordBatch, removals: &[Option<&Removal>]) -> Result<()> {
        let chosen = |removed: bool| -> Result<Option<RecordBatch>> {
            let mask: BooleanArray = removals.iter().map(|removal| Some(removal.is_some() == removed)).collect();
            match mask.true_count() {
                0 => Ok(None),
                _ => filter_record_batch(rows, &mask).map(Some).map_err(fault),
            }
        };
        if let Some(kept) = chosen(false)? {
            self.files.write(&kept)?;
        }
        if let Some(removed) = chosen(true)? {
            let removals: Vec<&Removal> = removals.iter().copied().flatten().collect();
            let columns = removed.columns().iter().cloned().chain(self.reasons(&removals)).collect();
            let removed = RecordBatch::try_new(Arc::clone(&self.with_reasons), columns).map_err(fault)?;
            self.files.write_other(&removed)?;
        }
        Ok(())
    }

    /// Both files appear.
    pub fn finish(self) -> Result<()> {
        self.files.finish()
    }

    fn reasons(&self, removals: &[&Removal]) -> [ArrayRef; 4] {
        let (mut kinds, mut evidence) =
            (ListBuilder::new(StringBuilder::new()), ListBuilder::new(StringBuilder::new()));
        for removal in removals {
            for (kind, sentence) in &removal.findings {
                kinds.values().append_value(kind.name());
                evidence.values().append_value(sentence);
            }
            kinds.append(true);
            evidence.append(true);
        }
        let kept = || removals.iter().map(|removal| removal.kept);
        let file = |number: u32| self.names.get(number as usize).map(String::as_str);
        [
            Arc::new(kinds.finish()),
            Arc::new(evidence.finish()),
            Arc::new(kept().map(|kept| file(kept?.file)).collect::<StringArray>()),
            Arc::new(kept().map(|kept| kept.map(|kept| kept.row)).collect::<UInt64Array>()),
        ]
    }
}

/// The input's columns, then those that say why a row is removed.
fn with_reasons(schema: &Schema, prefix: &str) -> Result<SchemaRef> {
    let texts = || DataType::new_list(DataType::Utf8, true);
    let reasons = [
        ("removed_kinds", texts(), false, "kinds of the findings for which the row was removed"),
        ("removed_evidence", texts(), false, "what speaks for each of them"),
        ("kept_file", DataType::Utf8, true, "file of the row that was kept of the same image; null for no copies"),
        ("kept_row", DataType::UInt64, true, "number of that row in its file, from 0"),
    ];
    let mut fields = schema.fields().to_vec();
    for (name, data_type, nullable, description) in reasons {
        let name = format!("{prefix}{name}");
        if schema.column_with_name(&name).is_some() {
            return Err(Error::ColumnTaken { name });
        }
        let metadata = HashMap::from([("description".to_owned(), description.to_owned())]);
        fields.push(Arc::new(Field::new(name, data_type, nullable).with_metadata(metadata)));
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn fault(source: arrow::error::ArrowError) -> Error {
    Error::Arrow { origin: "dividing rows".into(), source }
}
