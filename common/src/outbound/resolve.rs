//! Names are resolved and judged in one step, and only what was judged is connected to: a name that says something else a
//! moment later (DNS rebinding) gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::network::{Reach, Rules};

/// Answers what a name resolves to.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The resolver of this machine.
pub fn by_the_system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// A name resolves to nothing that may be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name} is {addresses}, which must not be reached from here")]
pub struct NotAllowed {
    name: String,
    addresses: String,
}

pub(super) struct Guarded {
    lookup: Lookup,
    rules: Arc<Rules>,
    reach: Reach,
}

impl Guarded {
    pub(super) fn new(lookup: Lookup, rules: Arc<Rules>, reach: Reach) -> Guarded {
        Guarded { lookup, rules, reach }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let (looking, rules, reach) = ((self.lookup)(name.clone()), self.rules.clone(), self.reach);
        Box::pin(async move {
            let found = looking.await?;
            let allowed: Vec<SocketAddr> = found
                .iter()
                .filter(|address| rules.permit(**address, reach))
                // The port comes from the address that was asked for.
                .map(|address| SocketAddr::new(*address, 0))
                .collect();
            if allowed.is_empty() {
                let addresses = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(NotAllowed { name, addresses }.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
