//! Where a worker may read and write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result as PlanResult, exec_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::memory::LazyMemoryExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion_distributed::NetworkBoundaryExt;
use dismax::location::is_remote;
use dismax_udfs::DatasetExec;
use url::Url;

use crate::error::{Error, Result};
use crate::work::WorkExec;

/// Folders and addresses.
#[derive(Debug)]
pub(super) struct Allowed {
    folders: Vec<PathBuf>,
    addresses: Vec<String>,
}

impl Allowed {
    /// # Errors
    /// A folder that is not there.
    pub fn new(places: &[String]) -> Result<Self> {
        let (addresses, folders): (Vec<&String>, Vec<&String>) = places.iter().partition(|place| is_remote(place));
        let folders = folders.into_iter().map(|folder| {
            let path = Path::new(folder);
            path.canonicalize().map_err(|source| dismax::Error::Io { path: path.into(), source }.into())
        });
        let addresses = addresses.into_iter().map(|address| {
            whole(address).ok_or_else(|| Error::Config(format!("{address}: is no address that can be allowed")))
        });
        Ok(Self { folders: folders.collect::<Result<_>>()?, addresses: addresses.collect::<Result<_>>()? })
    }

    /// Checks a path from the root or an address. Links are followed first, so that none leads out.
    ///
    /// # Errors
    /// That it lies elsewhere. Whether something is there is not said.
    pub fn check(&self, place: &str) -> PlanResult<()> {
        let is_allowed = match is_remote(place) {
            true => whole(place).is_some_and(|place| self.addresses.iter().any(|one| place.starts_with(one))),
            false => {
                canonical(Path::new(place)).is_some_and(|path| self.folders.iter().any(|one| path.starts_with(one)))
            }
        };
        match is_allowed {
            true => Ok(()),
            false => exec_err!("{place}: this worker was not allowed to open it"),
        }
    }

    /// Checks all leaves of a plan.
    ///
    /// # Errors
    /// A leaf that reads elsewhere, or of which nobody knows where it reads.
    pub fn check_plan(&self, plan: &Arc<dyn ExecutionPlan>) -> PlanResult<()> {
        plan.apply(|node| {
            // What writes has an input, and is no leaf.
            if node.is::<DataSinkExec>() {
                return exec_err!("a worker carries out no query that writes files; write its rows on the coordinator");
            }
            if node.children().is_empty() && node.as_network_boundary().is_none() {
                self.check_leaf(node)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map(|_| ())
    }

    fn check_leaf(&self, leaf: &Arc<dyn ExecutionPlan>) -> PlanResult<()> {
        if let Some(dataset) = leaf.downcast_ref::<DatasetExec>() {
            return dataset.places()?.iter().try_for_each(|place| self.check(place));
        }
        // Work looks where it reads and writes when it begins.
        if leaf.is::<WorkExec>()
            || leaf.is::<EmptyExec>()
            || leaf.is::<PlaceholderRowExec>()
            || leaf.is::<LazyMemoryExec>()
        {
            return Ok(());
        }
        let source = leaf.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        match source {
            Some(source) if source.is::<MemorySourceConfig>() => Ok(()),
            Some(source) => match source.downcast_ref::<FileScanConfig>() {
                Some(scan) => scan.file_groups.iter().flat_map(FileGroup::iter).try_for_each(|file| {
                    let (store, path) = (scan.object_store_url.as_str(), file.object_meta.location.as_ref());
                    match store.strip_prefix("file://") {
                        Some(root) => self.check(&format!("{root}{path}")),
                        None => self.check(&format!("{store}{path}")),
                    }
                }),
                None => Err(unknown(leaf)),
            },
            None => Err(unknown(leaf)),
        }
    }
}

fn unknown(leaf: &Arc<dyn ExecutionPlan>) -> DataFusionError {
    Error::Config(format!("a worker does not carry out {}: where it reads is not known", leaf.name())).into()
}

/// An address as stores and servers read it, with a slash at its end; none for one that may mean another place.
fn whole(address: &str) -> Option<String> {
    let is_plain = !address.contains('\\') && !address.contains(char::is_control);
    let url = Url::parse(address).ok().filter(|_| is_plain)?;
    let has_steps = address.split('/').any(|part| part == "..") || url.path().to_ascii_lowercase().contains("%2e%2e");
    (!has_steps).then(|| format!("{}/", url.as_str().trim_end_matches('/')))
}

/// A path without links. Of an output the last part need not be there yet.
fn canonical(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    path.canonicalize().ok().or_else(|| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_what_was_allowed() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).expect("new");
        std::os::unix::fs::symlink("/etc", inside.join("link")).expect("new");
        let place = |name: &str| inside.join(name).to_str().expect("ASCII").to_owned();
        let allowed = Allowed::new(&[place(""), "s3://bucket/photos".into()]).expect("there");
        for name in ["", "new.parquet", "./new.parquet"] {
            assert!(allowed.check(&place(name)).is_ok(), "{name}");
        }
        for name in ["..", "../other", "link/passwd", "../inside-not/x", "new/x"] {
            assert!(allowed.check(&place(name)).is_err(), "{name}");
        }
        assert!(allowed.check("s3://bucket/photos/a.parquet").is_ok());
        for name in ["s3://bucket/photos-2/a", "s3://other/photos/a", "s3://bucket/photos/../x", "relative/x", "/"] {
            assert!(allowed.check(name).is_err(), "{name}");
        }
        let web = Allowed::new(&["https://host/public/".into()]).expect("an address");
        assert!(web.check("https://host/public/a b.parquet").is_ok());
        for name in [
            "https://host/public/../private/a",
            "https://host/public/%2e%2e/private/a",
            "https://host/public/%2E./private/a",
            "https://host/public\\..\\private/a",
            "https://host/publicity/a",
            "http://host/public/a",
            "https://user@host/public/a",
        ] {
            assert!(web.check(name).is_err(), "{name}");
        }
    }
    #[tokio::test]
    async fn a_plan_that_writes_is_refused() {
        let allowed = Allowed::new(&["/".into()]).expect("there");
        let session = datafusion::prelude::SessionContext::new();
        for (sql, may) in [("SELECT 1", true), ("COPY (SELECT 1) TO '/tmp/never.csv' STORED AS CSV", false)] {
            let plan = session.sql(sql).await.expect("SQL").create_physical_plan().await.expect("a plan");
            assert_eq!(allowed.check_plan(&plan).is_ok(), may, "{sql}");
        }
    }
}
