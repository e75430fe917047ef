//! Files by their names as tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, plan_datafusion_err, plan_err};
use datafusion::datasource::dynamic_file::DynamicListTableFactory;
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableConfigExt, ListingTableUrl};
use datafusion::execution::SessionState;
use datafusion::object_store;
use datafusion::prelude::SessionContext;
use dismax::Dataset;
use dismax::cancel::Cancel;
use dismax::dataset::{Format, Input, OpenOptions, check_footer, resolve};
use dismax::location::{Location, address_and_pattern, is_remote};
use futures::{StreamExt, TryStreamExt};
use tokio::runtime::Handle;
use url::Url;

use crate::dataset_table::DatasetTable;
use crate::stores::with_stores;

/// A session in which files are tables: `FROM 'photos.parquet'`, `FROM 'photos/*.parquet'`,
/// `FROM 's3://bucket/photos/'`, also tar files, folders of images and Delta tables.
///
/// Like [`SessionContext::enable_url_table`], but a name that exists is a file or a folder whatever characters it has,
/// object stores are made when an address first names them, and a file with two columns of one name is refused, of
/// which SQL would drop one.
pub fn with_file_tables(session: SessionContext) -> SessionContext {
    let factory = Arc::new(FileTables::default());
    let tables = Arc::clone(&factory) as Arc<dyn UrlTableFactory>;
    let catalogs = Arc::new(DynamicFileCatalog::new(Arc::clone(session.state().catalog_list()), tables));
    let id = session.session_id();
    let runtime = session.runtime_env();
    let runtime = with_stores(runtime.as_ref().clone());
    let builder = session.into_state_builder().with_session_id(id).with_catalog_list(catalogs);
    let builder = builder.with_runtime_env(Arc::new(runtime));
    let session = SessionContext::new_with_state(builder.build());
    factory.urls.session_store().with_state(session.state_weak_ref());
    session
}

/// Makes a table of a name that no table has.
#[derive(Debug, Default)]
struct FileTables {
    /// DataFusion's own, which knows the session.
    urls: DynamicListTableFactory,
}

#[async_trait]
impl UrlTableFactory for FileTables {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if locate(name).is_err() {
            return Ok(None);
        }
        let url = match named(name).await? {
            Named::Dataset(dataset) => return Ok(Some(Arc::new(DatasetTable::new(dataset)))),
            Named::Files(url) => url,
        };
        let session = self.urls.session_store().get_session().upgrade();
        let state = session.and_then(|session| session.read().as_any().downcast_ref::<SessionState>().cloned());
        let state = state.ok_or_else(|| plan_datafusion_err!("the session of '{name}' has ended"))?;
        match first_file(&url, &state).await {
            Some(Ok(_)) => {}
            // A store says why it refuses; a name that is no address may just be no table.
            Some(Err(error)) if is_remote(name) => return Err(error),
            None | Some(Err(_)) => return Ok(None),
        }
        // A name that is neither a table nor a kind of file that is read.
        if ListingTableConfig::new(url.clone()).infer_options(&state).await.is_err() {
            return Ok(None);
        }
        Ok(Some(Arc::new(open(url, &state).await?)))
    }
}

/// What a name stands for.
pub(crate) enum Named {
    /// Inputs that DataFusion has no reader for: images, tar files, a Delta table.
    Dataset(Dataset),
    /// Files that DataFusion lists, if there are any.
    Files(ListingTableUrl),
}

/// Finds out what a name stands for.
///
/// # Errors
/// Such inputs that cannot be read, a store that does not answer, a name that is no address.
pub(crate) async fn named(name: &str) -> Result<Named> {
    let is_folder = name.ends_with('/') || Path::new(name).is_dir();
    if Format::of_extension(Path::new(name)).is_some() && !is_folder {
        return locate(name).map(Named::Files);
    }
    // A query that is given up waits for no store.
    let cancel = CancelledWhenDropped::default();
    let (owned, asked) = (name.to_owned(), cancel.0.clone());
    let open = move || {
        let inputs = match resolve(&[&owned], &asked) {
            Ok(inputs) => inputs,
            // Its folder would be read with the files that the log removed.
            Err(error @ dismax::Error::DeltaTable { .. }) => return Err(error),
            // Nor is it known whether there is a log where the store does not answer.
            Err(error @ dismax::Error::Io { .. }) if is_remote(&owned) => return Err(error),
            Err(_) => return Ok((None, BTreeSet::new())),
        };
        if inputs.iter().all(Input::needs_dataset_reader) {
            return Dataset::of_inputs(inputs, OpenOptions::default()).map(|dataset| (Some(dataset), BTreeSet::new()));
        }
        let names = inputs.iter().filter_map(Input::location).map(Location::file_name);
        let extensions = names.filter_map(|name| Some(Path::new(&name).extension()?.to_str()?.to_owned()));
        Ok((None, extensions.collect::<BTreeSet<String>>()))
    };
    // Stores take their time to answer.
    let opened = off_the_runtime(open).await?;
    Ok(match opened.map_err(|error| DataFusionError::External(Box::new(error)))? {
        (Some(dataset), _) => Named::Dataset(dataset),
        (None, kinds) if is_folder && kinds.len() > 1 => {
            let kinds: Vec<String> = kinds.iter().map(|kind| format!(".{kind}")).collect();
            return plan_err!(
                "'{name}' holds tables of several kinds ({}), of which one query reads one: FROM '{}/*{}'",
                kinds.join(", "),
                name.trim_end_matches('/'),
                kinds[0]
            );
        }
        (None, kinds) => match kinds.first().filter(|_| is_folder) {
            // Beside its tables a folder may hold a manifest and the like.
            Some(kind) => Named::Files(locate(name)?.with_glob(&format!("**/[!._]*.{kind}"))?),
            None => Named::Files(locate(name)?),
        },
    })
}

/// Stops what waits in its name once nobody wants it any more.
#[derive(Default)]
struct CancelledWhenDropped(Cancel);

impl Drop for CancelledWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Where files lie: a name that exists is no pattern and no address.
pub(crate) fn locate(name: &str) -> Result<ListingTableUrl> {
    let path = Path::new(name);
    if !path.exists() {
        return match address_and_pattern(name) {
            Some((address, Some(pattern))) => ListingTableUrl::parse(address)?.with_glob(&pattern),
            Some((address, None)) => ListingTableUrl::parse(address),
            None => ListingTableUrl::parse(name),
        };
    }
    let whole = match (path.parent(), path.file_name()) {
        // An address knows no `..`; a link keeps its own name, which says what kind of file it is.
        (Some(folder), Some(name)) if !path.is_dir() => Path::new(".").join(folder).canonicalize()?.join(name),
        _ => path.canonicalize()?,
    };
    let url = if path.is_dir() { Url::from_directory_path(&whole) } else { Url::from_file_path(&whole) };
    let url = url.map_err(|()| plan_datafusion_err!("{} cannot be written as an address", whole.display()))?;
    ListingTableUrl::try_new(url, None)
}

/// Whether no file lies where `url` points.
pub(crate) async fn is_missing(url: &ListingTableUrl, state: &SessionState) -> bool {
    let not_found = |error: &DataFusionError| match error.find_root() {
        DataFusionError::ObjectStore(error) => matches!(**error, object_store::Error::NotFound { .. }),
        _ => false,
    };
    first_file(url, state).await.is_none_or(|file| file.is_err_and(|error| not_found(&error)))
}

async fn first_file(url: &ListingTableUrl, state: &SessionState) -> Option<Result<object_store::path::Path>> {
    let listed = async {
        let store = state.runtime_env().object_store(url)?;
        let first = url.list_all_files(state, &store, "").await?.next().await;
        first.transpose()
    };
    listed.await.transpose().map(|file| file.map(|file| file.location))
}

/// The table of the files at `url`.
///
/// # Errors
/// Files whose schema cannot be found out, or that have two columns of one name.
pub(crate) async fn open(url: ListingTableUrl, state: &SessionState) -> Result<ListingTable> {
    if url.scheme() == "file"
        && let Some(file) = first_file(&url, state).await
    {
        require_distinct_columns(&format!("/{}", file?))?;
    }
    let config = ListingTableConfig::new(url.clone()).infer_options(state).await?;
    let is_parquet = config.options.as_ref().is_some_and(|options| options.format.get_ext() == "parquet");
    if url.scheme() == "file" && is_parquet {
        require_sound_footers(&url, state).await?;
    }
    let config = config.infer_partitions_from_path(state).await?;
    match config.clone().infer_schema(state).await {
        Ok(config) => ListingTable::try_new(config),
        // Files whose columns have several widths.
        Err(error) => match common_schema(&url, &config) {
            Some(schema) => ListingTable::try_new(config.with_schema(schema)),
            None => Err(error),
        },
    }
}

/// DataFusion's reader takes memory for what a footer counts, and a false count would end the process. Looked at are
/// local files: those of stores would be asked for twice.
async fn require_sound_footers(url: &ListingTableUrl, state: &SessionState) -> Result<()> {
    let store = state.runtime_env().object_store(url)?;
    let files: Vec<_> = url.list_all_files(state, &store, "").await?.try_collect().await?;
    let paths: Vec<_> = files.into_iter().map(|file| PathBuf::from(format!("/{}", file.location))).collect();
    // A query that is given up opens no more of them.
    let cancel = CancelledWhenDropped::default();
    let given_up = cancel.0.clone();
    let check = move || {
        let paths = paths.into_iter().take_while(|_| !given_up.is_cancelled());
        let mut checked = paths.map(|path| check_footer(&Location::File(path), &given_up));
        // A file that cannot be opened fails in the reader's own words.
        checked.find_map(|checked| checked.err().filter(|error| matches!(error, dismax::Error::Data { .. })))
    };
    match off_the_runtime(check).await?.map(|error| DataFusionError::External(Box::new(error))) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What `work` gives, which waits for disks and stores.
async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    match Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn_blocking(work).await.map_err(|error| exec_datafusion_err!("opening files: {error}"))
        }
        Err(_) => Ok(work()),
    }
}

/// The columns of local files whose types differ in width, each of the type that holds all its values; none where they
/// do not fit.
fn common_schema(url: &ListingTableUrl, config: &ListingTableConfig) -> Option<SchemaRef> {
    let name = match (url.scheme(), url.get_glob()) {
        ("file", None) => format!("/{}", url.prefix()),
        ("file", Some(glob)) => format!("/{}/{glob}", url.prefix()),
        _ => return None,
    };
    let schema = Arc::clone(Dataset::open(&[name]).ok()?.schema());
    let partitions = config.options.as_ref().map(|options| &options.table_partition_cols);
    let is_partition =
        |field: &Field| partitions.is_some_and(|names| names.iter().any(|(name, _)| name == field.name()));
    let fields: Vec<_> = schema.fields().iter().filter(|field| !is_partition(field)).cloned().collect();
    Some(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// DataFusion joins columns of one name, and nobody would know that one is gone.
fn require_distinct_columns(file: &str) -> Result<()> {
    if Format::of_extension(Path::new(file)).is_none() {
        return Ok(());
    }
    // A file that cannot be read fails in the reader's own words.
    let Ok(dataset) = Dataset::open(&[file]) else { return Ok(()) };
    let names: Vec<&String> = dataset.schema().fields().iter().map(|field| field.name()).collect();
    match names.iter().enumerate().find(|(position, name)| names[..*position].contains(name)) {
        Some((_, name)) => {
            plan_err!(
                "{file} has two columns called \"{name}\", of which SQL could read one; give each a name of its own"
            )
        }
        None => Ok(()),
    }
}
