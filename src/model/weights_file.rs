//! `model.safetensors`: weights by name. Only safetensors is read; no format that can run code.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorView, serialize};
use tch::{Kind, Tensor};

use super::stored::StoredWeights;
use crate::network::Weights;

/// Bytes of the number with which the file begins: the length of its header.
const LENGTH_BYTES: usize = 8;
/// The longest header that is read: that of some hundred thousand tensors.
const MOST_HEADER_BYTES: usize = 100 << 20;

/// Weights by name, on the host, f32.
pub type NamedTensors = HashMap<String, Tensor>;

/// Serialises weights in the order of their names, so that equal weights give equal bytes.
pub(super) fn to_bytes(tensors: &NamedTensors) -> Result<Vec<u8>, String> {
    let mut values = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.f_to_device(tch::Device::Cpu).and_then(|tensor| tensor.f_to_kind(Kind::Float));
        let shape: Vec<usize> =
            tensor.as_ref().map_err(|e| e.to_string())?.size().iter().map(|&n| n as usize).collect();
        let flat = tensor.and_then(|tensor| tensor.f_reshape([-1])).map_err(|error| error.to_string())?;
        let flat = Vec::<f32>::try_from(&flat).map_err(|error| error.to_string())?;
        values.push((name.as_str(), shape, flat.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()));
    }
    values.sort_by(|a, b| a.0.cmp(b.0));
    let mut views = Vec::with_capacity(values.len());
    for (name, shape, bytes) in &values {
        views.push((*name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|error| error.to_string())?));
    }
    serialize(views, None).map_err(|error| error.to_string())
}

/// Reads weights of any float type as f32; integers (PyTorch's counters of batches) are left out.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<NamedTensors, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        if let Some(tensor) = tensor(name, &view)? {
            tensors.insert(name.to_owned(), tensor);
        }
    }
    Ok(tensors)
}

/// Loads a network's weights from such a file, one after the other: only the network takes memory.
pub(super) fn load(stored: &StoredWeights, weights: &Weights) -> Result<(), String> {
    let length = stored.part(0..LENGTH_BYTES)?;
    let length = length.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).expect("eight bytes were read");
    let start = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH_BYTES));
    let start = start.filter(|start| *start <= MOST_HEADER_BYTES);
    let start = start.ok_or_else(|| damaged(format!("its header would have {length} bytes")))?;
    let header = stored.part(LENGTH_BYTES..start)?;
    // Reading it checks that the tensors follow each other from 0 on, each as long as its shape says.
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    if header.data_len().checked_add(start) != Some(stored.len()) {
        return Err(damaged("it is not as long as its header says".into()));
    }
    let tensors = header.tensors();
    let names = tensors.iter().filter(|(_, info)| !matches!(kind(info.dtype), Ok(None))).map(|(name, _)| name.as_str());
    let value = |name: &str| {
        let Some(info) = tensors.get(name) else { return Ok(None) };
        let (from, to) = info.data_offsets;
        let bytes = stored.part(start + from..start + to)?;
        let view = TensorView::new(info.dtype, info.shape.clone(), &bytes).map_err(|error| error.to_string())?;
        tensor(name, &view)
    };
    weights.load_each(names, value)
}

fn damaged(what: String) -> String {
    format!("model.safetensors is no safetensors file: {what}; copy the bundle again")
}

/// A tensor as f32; none for integers.
fn tensor(name: &str, view: &TensorView<'_>) -> Result<Option<Tensor>, String> {
    let unread = |dtype| format!("{name} has the type {dtype:?}; f32, f64, f16 and bf16 are read");
    let Some(kind) = kind(view.dtype()).map_err(unread)? else { return Ok(None) };
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    let tensor = Tensor::f_from_data_size(view.data(), &shape, kind).and_then(|tensor| tensor.f_to_kind(Kind::Float));
    tensor.map(Some).map_err(|error| format!("{name}: {error}"))
}

/// A type of floats; none for integers, which are not read.
fn kind(dtype: Dtype) -> Result<Option<Kind>, Dtype> {
    match dtype {
        Dtype::F32 => Ok(Some(Kind::Float)),
        Dtype::F64 => Ok(Some(Kind::Double)),
        Dtype::F16 => Ok(Some(Kind::Half)),
        Dtype::BF16 => Ok(Some(Kind::BFloat16)),
        Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U8 | Dtype::BOOL => Ok(None),
        other => Err(other),
    }
}
