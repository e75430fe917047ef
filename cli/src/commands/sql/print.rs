//! Rows as people or programs read them.

use std::io::Write;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::csv::{Writer as CsvWriter, WriterBuilder};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::util::display::{
    ArrayFormatter, ArrayFormatterFactory, DisplayIndex, FormatOptions, FormatResult,
};
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::arrow::util::pretty::pretty_format_batches_with_schema;
use dismax::{Error, Result};

use super::args::Format;
use crate::text;

/// Rows of a table; a reader has seen enough, and widths must be known before the first line.
const TABLE_ROWS: usize = 1000;
/// Bytes that are shown as they are; more are an image.
const SHOWN_BYTES: usize = 16;

/// Prints record batches in one format.
pub struct Printer<W: Write> {
    output: Output<W>,
}

enum Output<W: Write> {
    Table { output: W, schema: SchemaRef, batches: Vec<RecordBatch>, rows: usize },
    Csv(Box<CsvWriter<W>>),
    Json(Box<LineDelimitedWriter<W>>),
}

impl<W: Write> Printer<W> {
    pub fn new(format: Format, schema: &SchemaRef, output: W) -> Self {
        let output = match format {
            Format::Table => Output::Table { output, schema: schema.clone(), batches: Vec::new(), rows: 0 },
            Format::Csv => Output::Csv(Box::new(WriterBuilder::new().with_header(true).build(output))),
            Format::Json => Output::Json(Box::new(LineDelimitedWriter::new(output))),
        };
        Self { output }
    }

    /// Takes rows; false where no more are wanted.
    pub fn write(&mut self, batch: RecordBatch) -> Result<bool> {
        match &mut self.output {
            Output::Table { batches, rows, .. } => {
                *rows += batch.num_rows();
                batches.push(batch);
                return Ok(*rows <= TABLE_ROWS);
            }
            Output::Csv(writer) => writer.write(&flat(&batch)?).map_err(failure)?,
            Output::Json(writer) => writer.write(&batch).map_err(failure)?,
        }
        Ok(true)
    }

    pub fn finish(self) -> Result<()> {
        match self.output {
            Output::Table { mut output, schema, batches, rows } => {
                let shown = first(&batches, TABLE_ROWS);
                if schema.fields().is_empty() {
                    return Ok(());
                }
                let options = FormatOptions::new().with_null("NULL").with_formatter_factory(Some(&Shortened));
                let table = match shown.is_empty() {
                    true => pretty_format_batches_with_schema(schema, &[]).map_err(failure)?.to_string(),
                    false => pretty_format_batches_with_options(&shown, &options).map_err(failure)?.to_string(),
                };
                let more = match rows > TABLE_ROWS {
                    true => format!(
                        "\nthe first {}; --format csv or json and --out FILE give all",
                        text::rows(TABLE_ROWS as u64)
                    ),
                    false => String::new(),
                };
                writeln!(output, "{table}{more}")
                    .and_then(|()| output.flush())
                    .map_err(|error| Error::io("stdout", error))
            }
            Output::Csv(writer) => writer.into_inner().flush().map_err(|error| Error::io("stdout", error)),
            Output::Json(mut writer) => {
                writer.finish().map_err(failure)?;
                writer.into_inner().flush().map_err(|error| Error::io("stdout", error))
            }
        }
    }
}

/// At most so many rows.
fn first(batches: &[RecordBatch], rows: usize) -> Vec<RecordBatch> {
    let mut left = rows;
    let mut shown = Vec::new();
    for batch in batches {
        let taken = batch.num_rows().min(left);
        shown.push(batch.slice(0, taken));
        left -= taken;
    }
    shown
}

/// CSV has no lists, structs or bytes: they become text.
fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let keeps = !field.data_type().is_nested() && !is_binary(field.data_type());
        let column = if keeps { column.clone() } else { std::sync::Arc::new(displayed(column)?) };
        fields.push(field.as_ref().clone().with_data_type(column.data_type().clone()));
        columns.push(column);
    }
    let schema = std::sync::Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
    RecordBatch::try_new(schema, columns).map_err(failure)
}

fn displayed(column: &ArrayRef) -> Result<StringArray> {
    let options = FormatOptions::new().with_formatter_factory(Some(&Shortened));
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(failure)?;
    let text = |row: usize| column.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose();
    (0..column.len()).map(text).collect::<Result<_, ArrowError>>().map_err(failure)
}

fn failure(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("stdout", source),
        // The CSV writer keeps the operating system's answer as text only.
        ArrowError::CsvError(message) if message.contains("Broken pipe") => {
            Error::io("stdout", std::io::ErrorKind::BrokenPipe.into())
        }
        source => Error::Arrow { origin: "printing rows".into(), source },
    }
}

/// Shows images as their number of bytes: nobody reads thousands of hexadecimal digits.
#[derive(Debug)]
struct Shortened;

impl ArrayFormatterFactory for Shortened {
    fn create_array_formatter<'formatter>(
        &self,
        array: &'formatter dyn Array,
        options: &FormatOptions<'formatter>,
        _: Option<&'formatter Field>,
    ) -> Result<Option<ArrayFormatter<'formatter>>, ArrowError> {
        Ok(is_binary(array.data_type()).then(|| ArrayFormatter::new(Box::new(Bytes(array)), options.safe())))
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

struct Bytes<'a>(&'a dyn Array);

impl DisplayIndex for Bytes<'_> {
    fn write(&self, row: usize, output: &mut dyn std::fmt::Write) -> FormatResult {
        if self.0.is_null(row) {
            output.write_str("NULL")?;
            return Ok(());
        }
        let bytes: &[u8] = match self.0.data_type() {
            DataType::Binary => self.0.as_binary::<i32>().value(row),
            DataType::LargeBinary => self.0.as_binary::<i64>().value(row),
            _ => self.0.as_binary_view().value(row),
        };
        match bytes.len() {
            0..=SHOWN_BYTES => bytes.iter().try_for_each(|byte| write!(output, "{byte:02x}"))?,
            length => write!(output, "<{} bytes>", text::count(length as u64))?,
        }
        Ok(())
    }
}
