//! How machines of a cluster know each other.

use std::fs;
use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use url::{Host, Url};

use crate::error::{Error, Result};
use crate::token::Token;

/// What a process shows to workers, and how it knows them.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// The secret of the cluster.
    pub token: Option<Token>,
    /// Certificates (PEM) that vouch for workers at `https://` addresses.
    pub authority: Option<Vec<u8>>,
}

impl Security {
    /// Reads the files of the token and of the certificates.
    ///
    /// # Errors
    /// Files that cannot be read or hold something else.
    pub fn read(token: Option<&Path>, authority: Option<&Path>) -> Result<Self> {
        Ok(Self { token: token.map(Token::read).transpose()?, authority: authority.map(read).transpose()? })
    }

    /// The configuration for an address; none for one without TLS.
    pub(crate) fn tls_for(&self, worker: &Url) -> Result<Option<ClientTlsConfig>> {
        match (worker.scheme(), &self.authority) {
            ("https", Some(authority)) => {
                Ok(Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority))))
            }
            ("https", None) => Err(Error::Config(format!("{worker}: name the certificates that vouch for it"))),
            _ if self.token.is_some() && !is_loopback(worker) => Err(Error::Config(format!(
                "{worker}: the token would travel for all to read; give the worker a certificate and write https://"
            ))),
            _ => Ok(None),
        }
    }
}

/// The certificate that a worker shows, and its key, from PEM files.
pub(crate) fn server_tls(certificate: &Path, key: &Path) -> Result<ServerTlsConfig> {
    Ok(ServerTlsConfig::new().identity(Identity::from_pem(read(certificate)?, read(key)?)))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    Ok(fs::read(file).map_err(|source| dismax::Error::Io { path: PathBuf::from(file), source })?)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
