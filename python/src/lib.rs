//! The Python package `dismax`: its native part.
//!
//! | file | what Python gets |
//! | --- | --- |
//! | `model` | `Model`: a network with its workers |
//! | `relation` | `Relation`: rows that are read, scored and computed when somebody asks for them |
//! | `session` | `Session`: SQL over models and tables |
//! | `functions`, `provider` | functions and relations for other DataFusions, by capsules |
//! | `audit`, `gate`, `clean`, `train`, `command` | what the command does |
//! | `preview` | what a notebook shows |
//! | `input`, `source`, `stream`, `batch`, `ipc` | data in and out, by the Arrow C interfaces |
//! | `runtime`, `lock` | waiting without the interpreter's lock; Ctrl-C, progress, `fork` |
//! | `error`, `cache` | exceptions; the scores that the process remembers |
//!
//! `dismax/__init__.py` loads libtorch before this library, which needs it.

mod audit;
mod batch;
mod cache;
mod clean;
mod command;
mod error;
mod functions;
mod gate;
mod input;
mod ipc;
mod lock;
mod model;
mod preview;
mod provider;
mod relation;
mod runtime;
mod session;
mod source;
mod stream;
mod train;

use pyo3::prelude::*;

/// The native part of the package.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::audit::audit;
    #[pymodule_export]
    use crate::batch::{RecordBatch, Schema};
    #[pymodule_export]
    use crate::cache::{clear_score_cache, score_cache, set_score_cache};
    #[pymodule_export]
    use crate::clean::clean;
    #[pymodule_export]
    use crate::command::run;
    #[pymodule_export]
    use crate::functions::{AggregateFunction, ScalarFunction, WindowFunction, functions};
    #[pymodule_export]
    use crate::gate::gate;
    #[pymodule_export]
    use crate::input::read;
    #[pymodule_export]
    use crate::model::{Model, unpickle};
    #[pymodule_export]
    use crate::relation::{Relation, Stream};
    #[pymodule_export]
    use crate::session::Session;
    #[pymodule_export]
    use crate::stream::Batches;
    #[pymodule_export]
    use crate::train::train;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        dismax::panic::silence_caught();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
