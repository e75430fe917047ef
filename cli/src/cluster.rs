//! The flags of commands whose work other machines do.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dismax::Result;
use dismax_cluster::{Cluster, Security};
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
