//! Delta tables: which files of a folder count stands in the table's log, and so do the values of its partition
//! columns. The files themselves are Parquet.

use std::path::Path;
use std::sync::Arc;

use delta_kernel::scan::state::ScanFile;
use delta_kernel::table_features::ColumnMappingMode;
use delta_kernel::{KernelResult, Snapshot};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use object_store::ObjectStore;
use object_store::path::Path as Key;
use tokio::runtime::Handle;
use url::Url;

use super::partitions::Partitions;
use crate::cancel::Cancel;
use crate::location::{Folder, Location, blocking};
use crate::{Error, Result};

/// The files that make up the table's newest version, each with what the log says of its partition, sorted by path.
///
/// # Errors
/// [`Error::DeltaTable`] for a log that cannot be read, and for a table whose rows are not those of its files: one with
/// deletion vectors, or with columns that its files call otherwise.
pub(super) fn live_files(folder: &Folder, cancel: &Cancel) -> Result<Vec<(Location, Partitions)>> {
    let refuse = |message: String| Error::DeltaTable { path: folder.to_string().into(), message };
    let (store, root) = folder.in_store()?;
    let log = blocking(move || read_log(store, root), cancel)?;
    let Log { renames, partition_columns, mut files } = log.map_err(|error| refuse(error.to_string()))?;
    if renames {
        return Err(refuse("its columns have other names in its files (column mapping), which is not read".into()));
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let mut found = Vec::with_capacity(files.len());
    for file in files {
        if file.dv_info.has_vector() {
            return Err(refuse(format!(
                "rows of {} are marked as deleted (deletion vectors), which is not read; purge them from the table",
                file.path
            )));
        }
        // The log writes paths as in addresses: `%20` is a blank.
        let is_below = Url::parse(&file.path).is_err() && !file.path.starts_with('/');
        let key = is_below.then(|| Key::from_url_path(&file.path).ok()).flatten();
        let key = key.ok_or_else(|| refuse(format!("{} lies outside of its folder, which is not read", file.path)))?;
        let mut values = file.partition_values;
        // The protocol writes null as an empty text.
        let mut value = |name: &String| values.remove(name).filter(|value| !value.is_empty());
        let columns: Vec<_> = partition_columns.iter().map(|name| (name.clone(), value(name))).collect();
        found.push((folder.file(Path::new(key.as_ref())), Partitions::of_values(columns)));
    }
    Ok(found)
}

/// What the log says.
struct Log {
    /// Whether columns have other names in the files.
    renames: bool,
    partition_columns: Vec<String>,
    files: Vec<ScanFile>,
}

fn read_log(store: Arc<dyn ObjectStore>, root: Url) -> KernelResult<Log> {
    // The store's connections belong to the runtime that runs this.
    let executor = TokioMultiThreadExecutor::new(Handle::current());
    let engine = DefaultEngineBuilder::new(store).with_task_executor(Arc::new(executor)).build();
    let snapshot = Snapshot::builder_for(root).build(&engine)?;
    let mapping = snapshot.table_properties().column_mapping_mode;
    let renames = mapping.is_some_and(|mode| mode != ColumnMappingMode::None);
    let scan = snapshot.scan_builder().build()?;
    // What is to be read from the files are the other columns.
    let in_files = scan.physical_schema();
    let names = scan.logical_schema().fields().map(|field| field.name());
    let partition_columns = names.filter(|name| in_files.field(name.as_str()).is_none()).cloned().collect();
    let mut files = Vec::new();
    for part in scan.scan_metadata(&engine)? {
        files = part?.visit_scan_files(files, |files: &mut Vec<ScanFile>, file| files.push(file))?;
    }
    Ok(Log { renames, partition_columns, files })
}
