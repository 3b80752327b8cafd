//! `podfleet config check`: what is in force, without secrets.

use std::path::Path;

use anyhow::Context;
use common::config::Config;
use reqwest::Url;
use serde_json::json;

use crate::{output, roles};

pub(crate) fn check(file: Option<&Path>, as_json: bool) -> anyhow::Result<()> {
    let config = roles::load(file)?;
    let servers = servers(&config);
    if as_json {
        let servers: serde_json::Map<_, _> =
            servers.into_iter().map(|(key, address)| (key.to_owned(), json!(address))).collect();
        return output::print_json(&json!({ "configuration": config, "addresses": servers }));
    }
    output::print("# Passwords and keys are left out; so are the addresses they stand in, which are:")?;
    for (key, address) in servers {
        output::print(format_args!("#   {key}: {address}"))?;
    }
    output::print(format_args!("\n{}", as_toml(&config)?))
}

fn as_toml(config: &Config) -> anyhow::Result<String> {
    toml::to_string(config).context("writing the configuration as TOML")
}

/// The addresses that may hold a password, without it.
fn servers(config: &Config) -> [(&'static str, String); 3] {
    [
        ("broker.url", without_password(&config.broker.url)),
        ("database.url", without_password(&config.database.url)),
        ("cache.url", without_password(&config.cache.url)),
    ]
}

fn without_password(address: &str) -> String {
    if address.is_empty() {
        return "none".into();
    }
    let Ok(mut url) = Url::parse(address) else { return "(not a URL)".into() };
    // Queries may hold a password too, as in postgres://…?password=….
    url.set_query(None);
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "(not shown)".into();
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let check = |address: &str, expected: &str| assert_eq!(without_password(address), expected);
        check("amqp://guest:s3cret@127.0.0.1:5672/%2f", "amqp://guest:***@127.0.0.1:5672/%2f");
        check("postgres://podfleet@db/podfleet?password=s3cret", "postgres://podfleet@db/podfleet");
        check("redis://:s3cret@127.0.0.1/", "redis://:***@127.0.0.1/");
        check("host=db password=s3cret", "(not a URL)");
        check("", "none");
    }

    #[test]
    fn what_is_printed_is_a_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("podfleet.toml");
        let config = Config::load(None).unwrap();
        let printed = as_toml(&config).unwrap();
        assert!(!printed.contains("url ="), "{printed}");
        std::fs::write(&file, &printed).unwrap();
        let again = Config::load(Some(&file)).unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&config).unwrap());
    }
}
