//! The state of a training between two epochs, in one file that is replaced atomically.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::error::TrainError;
use super::options::TrainOptions;
use super::snapshot::Snapshot;
use dismax::disk::WholeFile;
use dismax::error::{Error, Result};
use dismax::model::EpochRecord;

/// Key of the JSON text in the file's metadata.
const STATE: &str = "dismax_training_state";

/// Everything but the tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrainingState {
    /// What the training was asked to do.
    pub options: TrainOptions,
    /// Class names.
    pub classes: Vec<String>,
    /// What is trained on.
    pub data: TrainingData,
    /// Finished epochs.
    pub history: Vec<EpochRecord>,
}

/// What decides which images a training sees, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TrainingData {
    /// Rows trained on.
    pub train_rows: usize,
    /// Rows held out.
    pub held_out_rows: usize,
    /// Rows that the best epoch is chosen by.
    #[serde(default)]
    pub selection_rows: usize,
    /// SHA-256 of all labels of the training files in order.
    pub labels: String,
    /// Where the held-out rows come from, in words.
    pub held_out: String,
    /// SHA-256 of their labels, where they come from other files.
    pub held_out_labels: Option<String>,
    /// Image column.
    pub image_column: String,
    /// Most pixels of an image; larger ones are left out.
    pub max_pixels: u64,
    /// Whether files that rows name are opened.
    pub read_paths: bool,
    /// Images in the shuffle buffer, where the dataset is read anew in every epoch.
    pub shuffle_buffer: Option<usize>,
}

impl TrainingState {
    /// # Errors
    /// [`Error::Config`] unless `wanted` asks for the training that this state belongs to, on the same data.
    pub fn require_same(&self, wanted: &Self, path: &Path) -> Result<()> {
        let same = |what: &str, here: String, there: String| match here == there {
            true => Ok(()),
            false => {
                let (path, what) = (path.to_path_buf(), what.to_owned());
                Err(Error::from(TrainError::OtherTraining { path, what, here, there }))
            }
        };
        same("classes", self.classes.join(", "), wanted.classes.join(", "))?;
        for (here, there) in
            [(fields(&self.data)?, fields(&wanted.data)?), (fields(&self.options)?, fields(&wanted.options)?)]
        {
            // Workers change how long a training takes and nothing else.
            for (name, value) in here.into_iter().filter(|(name, _)| name != "workers") {
                let other = there.get(&name).map_or("nothing".to_owned(), ToString::to_string);
                same(&name.replace('_', " "), value.to_string(), other)?;
            }
        }
        Ok(())
    }
}

fn fields(value: &impl Serialize) -> Result<serde_json::Map<String, serde_json::Value>> {
    let value = serde_json::to_value(value).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(value.as_object().cloned().unwrap_or_default())
}

/// A training between two epochs.
#[derive(Debug)]
pub struct Checkpoint {
    /// Everything but the tensors.
    pub state: TrainingState,
    /// Parameters `[P]`.
    pub parameters: Vec<f32>,
    /// Momentum `[P]`.
    pub momentum: Vec<f32>,
    /// Running statistics `[Q]`.
    pub buffers: Vec<f32>,
    /// Weights of the best epoch so far, where the best is kept.
    pub best: Option<Snapshot>,
    /// Averaged weights, where they are averaged.
    pub average: Option<Snapshot>,
}

/// Names of the tensors of [`Checkpoint::best`].
const BEST: [&str; 2] = ["best.parameters", "best.buffers"];
/// Names of the tensors of [`Checkpoint::average`].
const AVERAGE: [&str; 2] = ["average.parameters", "average.buffers"];

impl Checkpoint {
    /// Writes the file beside `path`, syncs it and renames it over `path`.
    ///
    /// # Errors
    /// [`Error::Io`] if that fails; the old file is then still whole.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut parts =
            vec![("parameters", &self.parameters), ("momentum", &self.momentum), ("buffers", &self.buffers)];
        for (names, snapshot) in [(BEST, &self.best), (AVERAGE, &self.average)] {
            let values = snapshot.iter().flat_map(|snapshot| [&snapshot.parameters, &snapshot.buffers]);
            parts.extend(names.into_iter().zip(values));
        }
        let bytes: Vec<(&str, Vec<u8>)> = parts
            .into_iter()
            .map(|(name, values)| (name, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
            .collect();
        let broken = |error: String| Error::Internal(format!("writing a checkpoint: {error}"));
        let mut views = Vec::new();
        for (name, bytes) in &bytes {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(|e| broken(e.to_string()))?;
            views.push((*name, view));
        }
        let state = serde_json::to_string(&self.state).map_err(|error| broken(error.to_string()))?;
        let metadata = HashMap::from([(STATE.to_string(), state)]);
        let bytes = serialize(views, Some(metadata)).map_err(|error| broken(error.to_string()))?;
        write_atomically(path, &bytes)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Model`] if it is no checkpoint of this version.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let broken = |reason: String| Error::from(TrainError::Checkpoint { path: path.to_path_buf(), reason });
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| broken(error.to_string()))?;
        let state = header.metadata().as_ref().and_then(|metadata| metadata.get(STATE));
        let state = state.ok_or_else(|| broken("no training state in it".into()))?;
        let state = serde_json::from_str(state).map_err(|error| broken(error.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
        let values = |name: &str| -> Result<Vec<f32>> {
            let view = tensors.tensor(name).map_err(|error| broken(error.to_string()))?;
            let (numbers, _) = view.data().as_chunks::<4>();
            Ok(numbers.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
        };
        let snapshot = |[parameters, buffers]: [&str; 2]| match tensors.names().contains(&parameters) {
            true => Ok::<_, Error>(Some(Snapshot { parameters: values(parameters)?, buffers: values(buffers)? })),
            false => Ok(None),
        };
        Ok(Self {
            state,
            parameters: values("parameters")?,
            momentum: values("momentum")?,
            buffers: values("buffers")?,
            best: snapshot(BEST)?,
            average: snapshot(AVERAGE)?,
        })
    }
}

/// Writes checkpoints on a thread of its own, not more often than it is told to.
pub(super) struct CheckpointWriter<'a> {
    path: &'a Path,
    interval: Duration,
    last: Option<Instant>,
    writing: Option<thread::JoinHandle<Result<()>>>,
}

impl<'a> CheckpointWriter<'a> {
    /// Writes to `path`; with an `interval` of zero every checkpoint that is offered.
    pub(super) fn new(path: &'a Path, interval: Duration) -> Self {
        Self { path, interval, last: None, writing: None }
    }

    /// Writes what `checkpoint` makes, if it is time. Waits for the one before.
    ///
    /// # Errors
    /// What `checkpoint` gives; [`Error::Io`] if this one or the one before could not be written.
    pub(super) fn offer(&mut self, checkpoint: impl FnOnce() -> Result<Checkpoint>) -> Result<()> {
        if self.last.is_some_and(|last| last.elapsed() < self.interval) {
            return Ok(());
        }
        self.wait()?;
        let (checkpoint, path) = (checkpoint()?, self.path.to_path_buf());
        let write = move || checkpoint.write(&path);
        let thread = thread::Builder::new().name("dismax-checkpoint".into()).spawn(write);
        self.writing = Some(thread.map_err(|error| Error::io("starting a thread", error))?);
        self.last = Some(Instant::now());
        Ok(())
    }

    /// Waits until the last checkpoint is on disk.
    ///
    /// # Errors
    /// As [`CheckpointWriter::offer`].
    pub(super) fn wait(&mut self) -> Result<()> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        writing.join().map_err(|_| Error::Internal("the checkpoint's thread ended unexpectedly".into()))?
    }
}

impl Drop for CheckpointWriter<'_> {
    fn drop(&mut self) {
        // A run that is stopped goes on from the last checkpoint.
        let _ = self.wait();
    }
}

/// Copies a tensor of any shape to the host.
pub(super) fn to_host(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(&tensor.f_reshape([-1])?.f_to_device(tch::Device::Cpu)?)?)
}

/// Writes a file beside `path`, syncs it and renames it over `path`.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let fail = |error| Error::io(path, error);
    let file = WholeFile::create(path, true).map_err(fail)?;
    file.writer().and_then(|mut writer| writer.write_all(bytes)).map_err(fail)?;
    file.sync()?;
    file.publish()
}
