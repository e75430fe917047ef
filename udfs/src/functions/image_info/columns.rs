//! The struct that the function gives.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Float32Builder, Int32Builder, Int64Builder, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use dismax_audit::inspection::{EncodedFormat, PerceptualHash};

use super::info::Info;

const HASH_BYTES: i32 = size_of::<PerceptualHash>() as i32;

pub(super) static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let field = |(name, data_type): (&str, DataType)| Field::new(name, data_type, true);
    let fields = [
        ("width", DataType::Int32),
        ("height", DataType::Int32),
        ("format", DataType::Utf8),
        ("bytes", DataType::Int64),
        ("orientation", DataType::Int32),
        ("light", DataType::Float32),
        ("contrast", DataType::Float32),
        ("sharpness", DataType::Float32),
        ("colour", DataType::Float32),
        ("sha256", DataType::Utf8),
        ("perceptual_hash", DataType::FixedSizeBinary(HASH_BYTES)),
        ("error", DataType::Utf8),
    ];
    fields.map(field).into_iter().collect()
});

/// The columns of the struct while they grow.
pub(super) struct Infos {
    valid: Vec<bool>,
    width: Int32Builder,
    height: Int32Builder,
    format: StringBuilder,
    bytes: Int64Builder,
    orientation: Int32Builder,
    light: Float32Builder,
    contrast: Float32Builder,
    sharpness: Float32Builder,
    colour: Float32Builder,
    sha256: StringBuilder,
    perceptual_hash: FixedSizeBinaryBuilder,
    error: StringBuilder,
}

impl Infos {
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            valid: Vec::with_capacity(rows),
            width: Int32Builder::with_capacity(rows),
            height: Int32Builder::with_capacity(rows),
            format: StringBuilder::new(),
            bytes: Int64Builder::with_capacity(rows),
            orientation: Int32Builder::with_capacity(rows),
            light: Float32Builder::with_capacity(rows),
            contrast: Float32Builder::with_capacity(rows),
            sharpness: Float32Builder::with_capacity(rows),
            colour: Float32Builder::with_capacity(rows),
            sha256: StringBuilder::new(),
            perceptual_hash: FixedSizeBinaryBuilder::with_capacity(rows, HASH_BYTES),
            error: StringBuilder::new(),
        }
    }

    pub fn append(&mut self, info: Info) {
        let Info { is_null, format, bytes, sha256, picture } = info;
        let (seen, error) = match picture.as_deref() {
            Some(Ok(picture)) => (Some(picture), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        // The limit on pixels keeps sides far below.
        let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
        self.valid.push(!is_null);
        self.width.append_option(seen.map(|seen| side(seen.width)));
        self.height.append_option(seen.map(|seen| side(seen.height)));
        self.format.append_option(format.map(EncodedFormat::name));
        self.bytes.append_option(bytes.and_then(|bytes| i64::try_from(bytes).ok()));
        self.orientation.append_option(seen.and_then(|seen| seen.orientation).map(i32::from));
        self.light.append_option(seen.map(|seen| seen.light));
        self.contrast.append_option(seen.map(|seen| seen.contrast));
        self.sharpness.append_option(seen.map(|seen| seen.sharpness));
        self.colour.append_option(seen.map(|seen| seen.colour));
        self.sha256.append_option(sha256);
        match seen {
            Some(seen) => self.perceptual_hash.append_value(seen.hash).expect("a hash has its width"),
            None => self.perceptual_hash.append_null(),
        }
        self.error.append_option(error.map(|error| error.to_string()));
    }

    pub fn finish(mut self) -> Result<ArrayRef> {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.width.finish()),
            Arc::new(self.height.finish()),
            Arc::new(self.format.finish()),
            Arc::new(self.bytes.finish()),
            Arc::new(self.orientation.finish()),
            Arc::new(self.light.finish()),
            Arc::new(self.contrast.finish()),
            Arc::new(self.sharpness.finish()),
            Arc::new(self.colour.finish()),
            Arc::new(self.sha256.finish()),
            Arc::new(self.perceptual_hash.finish()),
            Arc::new(self.error.finish()),
        ];
        Ok(Arc::new(StructArray::try_new(FIELDS.clone(), arrays, Some(NullBuffer::from(self.valid)))?))
    }
}
