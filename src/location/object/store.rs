//! From an address to the store that it names, with credentials and endpoints from the environment.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::ClientConfigKey;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::address::hub;
use super::aws_files::Profile;
use crate::error::{Error, Result};

/// The store of an address: made once for each bucket or server.
///
/// # Errors
/// A scheme that names no store, and settings in the environment that cannot be used.
pub fn store_of(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    static STORES: Mutex<Option<HashMap<String, Arc<dyn ObjectStore>>>> = Mutex::new(None);
    let key = match url.scheme() {
        // A query may hold the key to one object.
        "http" | "https" => format!("{}?{}", url.origin().ascii_serialization(), url.query().unwrap_or_default()),
        scheme => format!("{scheme}://{}@{}", url.username(), url.host_str().unwrap_or_default()),
    };
    // A panic while the lock was held leaves a map that is whole either way.
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stores = stores.get_or_insert_default();
    if let Some(store) = stores.get(&key) {
        return Ok(Arc::clone(store));
    }
    let store = make(url)?;
    stores.insert(key, Arc::clone(&store));
    Ok(store)
}

fn make(url: &Url) -> Result<Arc<dyn ObjectStore>> {
    // Of an object's address, the place before its name.
    let mut url = url.clone();
    url.set_path("/");
    let url = &url;
    let refuse = |error: object_store::Error| Error::Config(format!("{}://{}: {error}", url.scheme(), url.authority()));
    let retry = RetryConfig::default();
    Ok(match url.scheme() {
        "s3" | "s3a" => Arc::new(amazon(url).with_retry(retry).build().map_err(refuse)?),
        "gs" => Arc::new(
            GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry).build().map_err(refuse)?,
        ),
        "az" | "azure" | "adl" | "abfs" | "abfss" => {
            let mut builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str());
            if is_plain(builder.get_config_value(&AzureConfigKey::Endpoint)) {
                builder = builder.with_allow_http(true);
            }
            Arc::new(builder.with_retry(retry).build().map_err(refuse)?)
        }
        "http" | "https" => {
            let mut options = ClientOptions::new().with_allow_http(url.scheme() == "http");
            if let Some(token) = hub_token(url) {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| Error::Config("HF_TOKEN has characters that no token has".into()))?;
                value.set_sensitive(true);
                options = options.with_default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
            }
            let builder = HttpBuilder::new().with_url(url.as_str()).with_client_options(options);
            Arc::new(builder.with_retry(retry).build().map_err(refuse)?)
        }
        scheme => {
            return Err(Error::Config(format!("{scheme}:// is of no kind that is read: s3, gs, az, http, https, hf")));
        }
    })
}

/// Environment variables first, then the profile in `~/.aws`, then what the machine's own service gives.
fn amazon(url: &Url) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::from_env().with_url(url.as_str());
    let profile = Profile::read();
    let lacks = |builder: &AmazonS3Builder, key: AmazonS3ConfigKey| builder.get_config_value(&key).is_none();
    let from_elsewhere =
        ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    if lacks(&builder, AmazonS3ConfigKey::AccessKeyId) && from_elsewhere.iter().all(|name| env::var_os(name).is_none())
    {
        let keys = [
            (AmazonS3ConfigKey::AccessKeyId, profile.access_key_id),
            (AmazonS3ConfigKey::SecretAccessKey, profile.secret_access_key),
            (AmazonS3ConfigKey::Token, profile.session_token),
        ];
        for (key, value) in keys {
            builder = value.into_iter().fold(builder, |builder, value| builder.with_config(key, value));
        }
    }
    for (key, value) in
        [(AmazonS3ConfigKey::Region, profile.region), (AmazonS3ConfigKey::Endpoint, profile.endpoint_url)]
    {
        if let Some(value) = value.filter(|_| lacks(&builder, key)) {
            builder = builder.with_config(key, value);
        }
    }
    // Whoever names an endpoint without encryption wants it.
    if is_plain(builder.get_config_value(&AmazonS3ConfigKey::Endpoint)) {
        builder = builder.with_config(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true");
    }
    builder
}

fn is_plain(endpoint: Option<String>) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

/// The token for the Hub, where `url` is the Hub.
fn hub_token(url: &Url) -> Option<String> {
    let hub = Url::parse(&hub()).ok()?;
    if (hub.host_str(), hub.port()) != (url.host_str(), url.port()) {
        return None;
    }
    let file = || {
        let home = env::var_os("HF_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/huggingface")))?;
        fs::read_to_string(home.join("token")).ok()
    };
    env::var("HF_TOKEN").ok().or_else(file).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}
