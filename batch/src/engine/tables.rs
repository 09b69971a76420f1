//! Where tables come from: files and hdfs.
//!
//! `FROM 'dir/x.parquet'` and `FROM 'hdfs://host:port/dir'` name a table by its place ([`FileTables`]); its schema is
//! read when it is used. Stores are found by URL ([`Stores`]): the local file system, and one client for each name node
//! as it is met. Plain names go to the session's own tables.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use coordinator_client::OptionsError;
use coordinator_client::registry::{Directory, NAME_SERVICE};
use datafusion::catalog::{DynamicFileCatalog, TableProvider, UrlTableFactory};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableConfigExt, ListingTableUrl};
use datafusion::execution::SessionState;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::prelude::SessionContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use hdfs_native_object_store::HdfsObjectStoreBuilder;
use object_store::ObjectStore;
use url::Url;

/// What the coordinator knows of the other services, where the process was given one.
static DIRECTORY: OnceLock<Directory> = OnceLock::new();

/// Finds the name node of `hdfs://bonsai/` through the coordinator that `options` name, if any, from now on.
pub async fn follow(options: &coordinator_client::Options) -> std::result::Result<(), OptionsError> {
    if let Some(client) = options.client()? {
        let _first_and_only = DIRECTORY.set(Directory::follow(client).await);
    }
    Ok(())
}

/// The stores by scheme and authority; those of hdfs are opened when they are first asked for.
#[derive(Debug, Default)]
pub struct Stores {
    known: DefaultObjectStoreRegistry,
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.known.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.known.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if let Ok(store) = self.known.get_store(url) {
            return Ok(store);
        }
        if url.scheme() != "hdfs" {
            return plan_err!(
                "{url}: tables are read from local files and from hdfs://, not from {}://",
                url.scheme()
            );
        }
        let registered = |host: &str| {
            let directory = DIRECTORY.get().filter(|_| host == NAME_SERVICE)?;
            directory.addresses("namenode", "rpc").into_iter().next()
        };
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("hdfs://{host}:{port}"),
            (Some(host), None) => format!("hdfs://{}", registered(host).as_deref().unwrap_or(host)),
            (None, _) => return plan_err!("{url}: name the name node, as in hdfs://127.0.0.1:8020/path"),
        };
        let store = HdfsObjectStoreBuilder::new().with_url(&authority).build();
        let store = store.map_err(|error| DataFusionError::ObjectStore(Box::new(error)))?;
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        self.known.register_store(url, Arc::clone(&store));
        Ok(store)
    }
}

/// The same session, but a name that is no table of its own is taken as a place.
pub fn with_files(context: SessionContext) -> SessionContext {
    let factory = Arc::new(FileTables::default());
    let known = Arc::clone(context.state().catalog_list());
    let catalogs = Arc::new(DynamicFileCatalog::new(
        known,
        Arc::clone(&factory) as Arc<dyn UrlTableFactory>,
    ));
    let session_id = context.session_id();
    let builder = context.into_state_builder().with_session_id(session_id);
    let context: SessionContext = builder.with_catalog_list(catalogs).build().into();
    let state = context.state_weak_ref();
    // The catalog is in the session and must not keep it alive.
    let look_up = move || state.upgrade().map(|state| state.read().clone());
    let _first_and_only = factory.session.set(Box::new(look_up));
    context
}

type LookUp = Box<dyn Fn() -> Option<SessionState> + Send + Sync>;

/// Makes tables of places.
#[derive(Default)]
struct FileTables {
    /// Set once the session is there: it is built around the catalog that holds this.
    session: OnceLock<LookUp>,
}

impl std::fmt::Debug for FileTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileTables")
    }
}

#[async_trait]
impl UrlTableFactory for FileTables {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        // `orders` is a table that does not exist; `orders.csv` and `data/` are places.
        if !name.contains(['/', '.', '*']) {
            return Ok(None);
        }
        let Some(state) = self.session.get().and_then(|session| session()) else {
            return Ok(None);
        };
        table_of(state, name).await
    }
}

/// The table of the files at a place. Boxed apart from the trait's method: there, the compiler would not keep its proof
/// that the future is `Send`, which takes it seconds (see `flight/statements.rs`).
fn table_of(state: SessionState, name: &str) -> BoxFuture<'_, Result<Option<Arc<dyn TableProvider>>>> {
    async move {
        let cannot = |error: DataFusionError| error.context(format!("cannot read '{name}'"));
        let url = ListingTableUrl::parse(name).map_err(cannot)?;
        let config = ListingTableConfig::new(url)
            .infer_options(&state)
            .await
            .map_err(|error| match error {
                DataFusionError::Internal(_) => DataFusionError::Plan(format!(
                    "cannot read '{name}': there is no such file, or the directory is empty"
                )),
                error => cannot(error),
            })?;
        let config = config.infer_partitions_from_path(&state).await.map_err(cannot)?;
        let config = config.infer_schema(&state).await.map_err(cannot)?;
        let table: Arc<dyn TableProvider> = Arc::new(ListingTable::try_new(config)?);
        Ok(Some(table))
    }
    .boxed()
}
