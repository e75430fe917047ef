//! The flags of commands whose work other machines do.

use std::path::PathBuf;
use std::sync::Arc;

use crate::args::{ImageArgs, InputArgs, OnBadFileArg};
use clap::Args;
use dismax::cancel::Cancel;
use dismax::model::Model;
use dismax::{Error, Result};
use dismax_cluster::{Cluster, RemoteScanner, Security};
use tokio::runtime::Runtime;

/// Which workers do the work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Have the workers at these addresses do the work, such as http://h1:7070,http://h2:7070. `dismax worker` is one.
    ///
    /// They read the inputs and write the parts themselves, under the names that are given here.
    #[arg(long, env = "DISMAX_CLUSTER", value_name = "URL", value_delimiter = ',')]
    pub cluster: Vec<String>,

    #[command(flatten)]
    pub security: SecurityArgs,
}

/// How machines know each other.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub struct SecurityArgs {
    /// The secret that workers ask for: the first line of this file.
    #[arg(long, env = "DISMAX_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Certificates (PEM) that vouch for workers at https:// addresses.
    #[arg(long, env = "DISMAX_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

impl SecurityArgs {
    /// As the library takes it.
    pub fn read(&self) -> Result<Security> {
        Ok(Security::read(self.token_file.as_deref(), self.tls_ca.as_deref())?)
    }
}

impl ClusterArgs {
    /// What scores a dataset on the workers, and the threads that wait for them.
    ///
    /// `model` has the name that messages call it.
    pub fn scanner(
        &self,
        model: (&str, Arc<Model>),
        input: &InputArgs,
        images: &ImageArgs,
        cancel: &Cancel,
    ) -> Result<(RemoteScanner, Runtime)> {
        check(input, images)?;
        let runtime = crate::runtime()?;
        let cluster = self.connect(&runtime)?.expect("the caller saw that there are addresses");
        let load = (images.column().map(str::to_owned), images.load());
        let scanner = RemoteScanner::try_new(cluster, runtime.handle().clone(), model, load, cancel)?;
        Ok((scanner, runtime))
    }

    /// Whether workers are to do the work.
    pub fn is_given(&self) -> bool {
        self.cluster.iter().any(|address| !address.is_empty())
    }

    /// The workers, where the command is to use any.
    pub fn connect(&self, runtime: &Runtime) -> Result<Option<Arc<Cluster>>> {
        match self.is_given() {
            false => Ok(None),
            true => Ok(Some(runtime.block_on(Cluster::connect(&self.cluster, self.security.read()?))?)),
        }
    }
}

/// Refuses what workers do not do.
pub fn check(input: &InputArgs, images: &ImageArgs) -> Result<()> {
    if images.read_paths {
        return Err(Error::Config(
            "--read-paths is not possible with --cluster: workers open no files that rows name".into(),
        ));
    }
    if matches!(input.on_bad_file, OnBadFileArg::Skip) {
        return Err(Error::Config(
            "--on-bad-file skip is not possible with --cluster, but for folders of parts".into(),
        ));
    }
    Ok(())
}
