//! Files by their names as tables.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err, plan_err};
use datafusion::datasource::dynamic_file::DynamicListTableFactory;
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableConfigExt, ListingTableUrl};
use datafusion::execution::SessionState;
use datafusion::object_store;
use datafusion::prelude::SessionContext;
use dismax::Dataset;
use dismax::dataset::Format;
use futures::StreamExt;
use url::Url;

/// A session in which files are tables: `FROM 'photos.parquet'`, `FROM 'photos/*.parquet'`, `FROM 'photos'`.
///
/// Like [`SessionContext::enable_url_table`], but a name that exists is a file or a folder whatever characters it has,
/// and a file with two columns of one name is refused, of which SQL would drop one.
pub fn with_file_tables(session: SessionContext) -> SessionContext {
    let factory = Arc::new(FileTables::default());
    let tables = Arc::clone(&factory) as Arc<dyn UrlTableFactory>;
    let catalogs = Arc::new(DynamicFileCatalog::new(Arc::clone(session.state().catalog_list()), tables));
    let id = session.session_id();
    let builder = session.into_state_builder().with_session_id(id).with_catalog_list(catalogs);
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
        let Ok(url) = locate(name) else { return Ok(None) };
        let session = self.urls.session_store().get_session().upgrade();
        let state = session.and_then(|session| session.read().as_any().downcast_ref::<SessionState>().cloned());
        let state = state.ok_or_else(|| plan_datafusion_err!("the session of '{name}' has ended"))?;
        if first_file(&url, &state).await.is_none_or(|file| file.is_err()) {
            return Ok(None);
        }
        // A name that is neither a table nor a kind of file that is read.
        if ListingTableConfig::new(url.clone()).infer_options(&state).await.is_err() {
            return Ok(None);
        }
        Ok(Some(Arc::new(open(url, &state).await?)))
    }
}

/// Where files lie: a name that exists is no pattern and no address.
pub(crate) fn locate(name: &str) -> Result<ListingTableUrl> {
    let path = Path::new(name);
    if !path.exists() {
        return ListingTableUrl::parse(name);
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
    let config = ListingTableConfig::new(url).infer_options(state).await?;
    ListingTable::try_new(config.infer_partitions_from_path(state).await?.infer_schema(state).await?)
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
