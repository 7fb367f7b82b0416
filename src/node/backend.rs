//! The IPFS node that does the work: the one inside this process, or a Kubo beside it.

use std::path::Path;
use std::rc::Rc;

use scatter_actors::ports::ipfs::Ipfs;
use scatter_actors::ports::names::Names;

use secrecy::ExposeSecret;

use crate::adapters::kubo::{self, Kubo, Token};
use crate::config::{self, Config};
use crate::exit::{told, Code, Fault};
use crate::http::status::Counting;

/// A backend, as the actors see it and as it is ended.
pub(crate) struct Backend {
    /// Pins, blocks, files.
    pub(crate) ipfs: Rc<dyn Ipfs>,
    /// Names.
    pub(crate) names: Rc<dyn Names>,
    #[cfg(feature = "embedded")]
    embedded: Option<embedded_ipfs::Node>,
}

impl Backend {
    /// Starts the embedded node, or makes the way to a Kubo. That it answers is nobody's condition: it may come up later,
    /// and until then the node is not ready and says why.
    ///
    /// # Errors
    /// If the embedded node can't start, or the token of a Kubo can't be read.
    pub(crate) async fn start(config: &Config, data_dir: &Path) -> Result<Self, Fault> {
        match &config.ipfs.backend {
            config::Backend::Embedded => Self::inside(config, data_dir).await,
            config::Backend::Kubo(kubo) => {
                let port = Rc::new(way_to(kubo)?);
                tracing::info!(api = %port.endpoint(), "kubo is the ipfs node");
                Ok(Self {
                    ipfs: port.clone(),
                    names: port,
                    #[cfg(feature = "embedded")]
                    embedded: None,
                })
            }
        }
    }

    #[cfg(feature = "embedded")]
    async fn inside(config: &Config, data_dir: &Path) -> Result<Self, Fault> {
        let node = embedded_ipfs::Node::start(config.ipfs.embedded(data_dir))
            .await
            .map_err(|error| Fault::new(Code::DataDir, told(&error)))?;
        tracing::info!(peer = %node.peer_id(), "the embedded ipfs node runs");
        let port = Rc::new(crate::adapters::embedded::Embedded::new(node.clone()));
        Ok(Self { ipfs: port.clone(), names: port, embedded: Some(node) })
    }

    /// No configuration comes so far: it is refused when it is read.
    #[cfg(not(feature = "embedded"))]
    async fn inside(_: &Config, _: &Path) -> Result<Self, Fault> {
        Err(Fault::new(Code::Config, "this build has no embedded IPFS node").about("ipfs.backend"))
    }

    /// What the node counts, where it is inside.
    pub(crate) fn counting(&self) -> Option<Counting> {
        #[cfg(feature = "embedded")]
        return self.embedded.clone().map(crate::http::status::embedded::counting);
        #[cfg(not(feature = "embedded"))]
        None
    }

    /// Ends what was started here.
    pub(crate) async fn stop(self) {
        #[cfg(feature = "embedded")]
        if let Some(node) = self.embedded {
            node.stop().await;
        }
    }
}

/// The way to a Kubo; nothing is asked of it yet.
fn way_to(config: &config::Kubo) -> Result<Kubo, Fault> {
    let about = |key: &str, error: &dyn std::error::Error| Fault::new(Code::Config, told(error)).about(key);
    let token = config.token()?.map(|token| token.expose_secret().parse::<Token>()).transpose();
    let token = token.map_err(|error| about("ipfs.api_token_file", &error))?;
    Kubo::new(config.api.expose(), token, kubo::Config::default()).map_err(|error| about("ipfs.api", &error))
}
