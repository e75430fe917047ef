//! Object stores for SQL: made when an address first names them, as the other parts of this project make them.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::object_store::ObjectStore;
use url::Url;

/// The stores that were registered, and those that addresses name.
#[derive(Debug)]
pub(crate) struct Stores {
    registered: Arc<dyn ObjectStoreRegistry>,
}

impl Stores {
    /// Beside the stores of another registry.
    pub fn beside(registered: Arc<dyn ObjectStoreRegistry>) -> Self {
        Self { registered }
    }
}

/// The same runtime with object stores that are made when an address first names them.
pub fn with_stores(runtime: RuntimeEnv) -> RuntimeEnv {
    let stores = Arc::new(Stores::beside(Arc::clone(&runtime.object_store_registry)));
    RuntimeEnv { object_store_registry: stores, ..runtime }
}

impl Default for Stores {
    fn default() -> Self {
        Self::beside(Arc::new(DefaultObjectStoreRegistry::new()))
    }
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.registered.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.registered.get_store(url).or_else(|error| made(url).unwrap_or(Err(error)))
    }
}

/// The store of an address; none where this build has no stores.
#[cfg(feature = "cloud")]
fn made(url: &Url) -> Option<Result<Arc<dyn ObjectStore>>> {
    let outer = |error: dismax::Error| datafusion::common::DataFusionError::External(Box::new(error));
    Some(dismax::location::store_of(url).map_err(outer))
}

#[cfg(not(feature = "cloud"))]
fn made(_: &Url) -> Option<Result<Arc<dyn ObjectStore>>> {
    None
}
