//! The flags of a program that registers in a coordinator, or finds others through it.

use std::fs;
use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{Client, Error};

/// How a coordinator, or an etcd, is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
// Programs flatten other structs of this name too.
#[group(skip)]
pub struct Options {
    /// Coordinator (or etcd) to register in and to find others through; several members separated by commas.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub coordinator: Option<String>,
    /// Certificate authority that the coordinator's certificate is checked with; turns on TLS.
    #[arg(long, value_name = "FILE")]
    pub coordinator_cacert: Option<PathBuf>,
    /// Certificate to show to the coordinator.
    #[arg(long, value_name = "FILE", requires = "coordinator_key")]
    pub coordinator_cert: Option<PathBuf>,
    /// Private key of that certificate.
    #[arg(long, value_name = "FILE", requires = "coordinator_cert")]
    pub coordinator_key: Option<PathBuf>,
    /// User of the coordinator. The environment variable keeps the password out of the process list.
    #[arg(long, value_name = "NAME:PASSWORD")]
    pub coordinator_user: Option<String>,
}

/// Why the flags lead to no client.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Operator: mend the path.
    #[error("{flag}: cannot read {path}: {source}")]
    File {
        flag: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// Operator: mend the flag.
    #[error("--coordinator-user: write it as NAME:PASSWORD")]
    User,
    #[error(transparent)]
    Client(#[from] Error),
}

impl Options {
    /// Of one plain endpoint, or several separated by commas.
    pub fn plain(endpoints: &str) -> Self {
        Self {
            coordinator: Some(endpoints.to_owned()),
            ..Self::default()
        }
    }

    /// A client that connects with its first call; none without `--coordinator`. Must be called inside a runtime.
    ///
    /// # Errors
    /// Names the flag to mend.
    pub fn client(&self) -> Result<Option<Client>, OptionsError> {
        let Some(endpoints) = &self.coordinator else {
            return Ok(None);
        };
        let user = match &self.coordinator_user {
            None => None,
            Some(user) => {
                let (name, password) = user.split_once(':').ok_or(OptionsError::User)?;
                Some((name.to_owned(), password.to_owned()))
            }
        };
        Ok(Some(Client::secured(endpoints, self.tls()?, user)?))
    }

    fn tls(&self) -> Result<Option<ClientTlsConfig>, OptionsError> {
        let wants_tls = self
            .coordinator
            .as_deref()
            .is_some_and(|endpoints| endpoints.contains("https://"));
        if self.coordinator_cacert.is_none() && self.coordinator_cert.is_none() && !wants_tls {
            return Ok(None);
        }
        let mut tls = ClientTlsConfig::new();
        if let Some(path) = &self.coordinator_cacert {
            tls = tls.ca_certificate(Certificate::from_pem(read("--coordinator-cacert", path)?));
        }
        if let (Some(cert), Some(key)) = (&self.coordinator_cert, &self.coordinator_key) {
            let cert = read("--coordinator-cert", cert)?;
            tls = tls.identity(Identity::from_pem(cert, read("--coordinator-key", key)?));
        }
        Ok(Some(tls))
    }
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, OptionsError> {
    fs::read(path).map_err(|source| OptionsError::File {
        flag,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn flags_that_lead_nowhere_are_named() {
        assert!(Options::default().client().unwrap().is_none());
        let mut options = Options::plain("127.0.0.1:2379,127.0.0.1:2389");
        assert!(options.client().unwrap().is_some());
        options.coordinator_user = Some("root".to_owned());
        assert!(matches!(options.client(), Err(OptionsError::User)));
        options.coordinator_user = None;
        options.coordinator_cacert = Some(PathBuf::from("/nowhere/ca.pem"));
        let said = options.client().unwrap_err().to_string();
        assert!(
            said.contains("--coordinator-cacert") && said.contains("/nowhere/ca.pem"),
            "{said}"
        );
        assert!(matches!(
            Options::plain("nonsense").client(),
            Err(OptionsError::Client(_))
        ));
    }
}
