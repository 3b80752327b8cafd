//! Addresses that strangers name: pages to fetch, webhooks to call. Whoever names one must not reach by it what he could not
//! reach himself: this machine, its network, a cloud's metadata.
//!
//! An [`Address`] is judged twice: as it is written, and, when it is a name, by what the name resolves to, in the very step that
//! connects. Redirects are not followed; whoever follows one makes an [`Address`] of it first.

pub mod network;
mod resolve;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};
use url::Host;

use crate::config;
use network::{Reach, Rules};
pub use resolve::{Lookup, NotAllowed, by_the_system};

/// Longest address, in bytes.
const MAX_LENGTH: usize = 2_048;
const CONNECTING: Duration = Duration::from_secs(5);

/// An address that may be asked, as far as it can be judged by its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    url: Url,
    reach: Reach,
}

/// Why an address is not allowed, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub reason: String,
    pub remedy: &'static str,
}

impl Address {
    /// Judges an address as it is written. `https` on its own port reaches what is public; anything else only the networks that
    /// the configuration lists.
    pub fn parse(text: &str, settings: &config::Outbound) -> Result<Address, Bad> {
        const EXAMPLE: &str = "Give the address of a public server, such as https://example.org/article";
        let bad = |reason: &str| Bad { reason: reason.into(), remedy: EXAMPLE };
        if text.len() > MAX_LENGTH {
            return Err(bad("it is longer than 2048 bytes"));
        }
        // The parser reads 2130706433, 0x7f.1 and the like as the IPv4 addresses that they are.
        let mut url = Url::parse(text.trim()).map_err(|error| bad(&format!("it is no address: {error}")))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(bad(&format!("its scheme is {}", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it holds a user name or a password"));
        }
        let usual = url.scheme() == "https" && url.port().is_none();
        let reach = if usual { Reach::Public } else { Reach::Listed };
        let rules = Rules::new(&settings.allow);
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) if !name.is_empty() => None,
            _ => return Err(bad("it names no server")),
        };
        match (literal, reach) {
            (Some(address), _) if !rules.permit(address, reach) => {
                let why =
                    if usual { "is not public" } else { "is asked otherwise than by https on its port 443" };
                return Err(bad(&format!("{address} {why}")));
            }
            (None, Reach::Listed) if rules.is_empty() => {
                return Err(bad("only https on its own port, 443, is allowed"));
            }
            _ => {}
        }
        url.set_fragment(None);
        Ok(Address { url, reach })
    }

    /// The address that a redirect leads to.
    pub fn join(&self, location: &str, settings: &config::Outbound) -> Result<Address, Bad> {
        let remedy = "Give the address at which the page itself is";
        let joined = self.url.join(location);
        let url = joined.map_err(|_| Bad { reason: "it leads to what is no address".into(), remedy })?;
        Address::parse(url.as_str(), settings)
            .map_err(|bad| Bad { reason: format!("it leads elsewhere: {}", bad.reason), remedy })
    }

    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }
}

/// The HTTP clients for such addresses. They know no proxy, no cookie and no redirect.
#[derive(Clone, Debug)]
pub struct Outbound {
    public: Client,
    listed: Client,
}

impl Outbound {
    pub fn new(settings: &config::Outbound) -> anyhow::Result<Outbound> {
        Outbound::with_lookup(settings, by_the_system())
    }

    pub fn with_lookup(settings: &config::Outbound, lookup: Lookup) -> anyhow::Result<Outbound> {
        let rules = Arc::new(Rules::new(&settings.allow));
        let client = |reach| {
            Client::builder()
                .user_agent(concat!("podfleet/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(Arc::new(resolve::Guarded::new(lookup.clone(), rules.clone(), reach)))
                // A proxy would resolve names by itself.
                .no_proxy()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(CONNECTING)
                .timeout(settings.timeout())
                .build()
                .context("preparing the HTTP client for addresses of requests")
        };
        Ok(Outbound { public: client(Reach::Public)?, listed: client(Reach::Listed)? })
    }

    pub fn get(&self, address: &Address) -> RequestBuilder {
        self.client(address).get(address.url.clone())
    }

    pub fn post(&self, address: &Address) -> RequestBuilder {
        self.client(address).post(address.url.clone())
    }

    fn client(&self, address: &Address) -> &Client {
        match address.reach {
            Reach::Public => &self.public,
            Reach::Listed => &self.listed,
        }
    }
}

#[cfg(test)]
mod tests;
