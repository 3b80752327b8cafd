//! `podfleet keys …`: who may use the API. In the database itself, or over the API of a running server.

use std::path::Path;

use anyhow::Context;
use common::config::Config;
use common::store::keys::{self, Wanted};
use common::store::{self, Store};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::args::Server;
use crate::args::keys::{KeysCommand, KeysCreate, KeysList, KeysRevoke, KeysServer};
use crate::client::Client;
use crate::dev_file;
use crate::failure::{Failure, Problem};
use crate::output::{columns, print, print_json, relative, remark};
use crate::roles;

/// Keys that are listed.
const LISTED: i64 = 1_000;

pub(crate) async fn run(config: Option<&Path>, command: KeysCommand) -> anyhow::Result<()> {
    let place = Place::of(config, command.server()).await?;
    match command {
        KeysCommand::Create(options) => create(&place, options).await,
        KeysCommand::List(options) => list(&place, options).await,
        KeysCommand::Revoke(options) => revoke(&place, options).await,
    }
}

/// Where keys are looked after.
pub(crate) enum Place {
    Api(Box<Client>),
    Database(Box<Store>),
}

impl Place {
    pub(crate) async fn of(config: Option<&Path>, server: &KeysServer) -> anyhow::Result<Place> {
        let named = server.server.as_ref().is_some_and(|named| !named.is_empty());
        if named || dev_file::running().is_some() {
            let KeysServer { server, api_key, json } = server;
            let server = Server { server: server.clone(), api_key: api_key.clone(), json: *json };
            return Ok(Place::Api(Box::new(Client::new(&server)?)));
        }
        let config = roles::load(config)?;
        Ok(Place::Database(Box::new(database(&config).await?)))
    }
}

/// The database of the configuration, with its schema up to date.
pub(crate) async fn database(config: &Config) -> anyhow::Result<Store> {
    store::migrate(&config.database).await.context(
        "the database is looked for where database.url says; `podfleet config check` shows where that is",
    )?;
    Store::new(&config.database, "command", 1)
}

/// Who did it, for the audit trail: the user of this machine.
pub(crate) fn principal() -> String {
    let user = std::env::var("USER").ok().filter(|user| common::access::is_name(user));
    user.map_or_else(|| "command-line".into(), |user| format!("{user}@command-line"))
}

async fn create(place: &Place, options: KeysCreate) -> anyhow::Result<()> {
    let made = match place {
        Place::Api(client) => {
            let body = json!({
                "role": options.role,
                "tenant": options.tenant,
                "name": options.name,
                "expires_seconds": options.expires.map(|life| life.as_secs()),
                "requests_per_minute": options.requests_per_minute,
            });
            client.post("/v1/keys", &body).await?
        }
        Place::Database(store) => {
            let wanted = Wanted {
                tenant: options.tenant.as_deref().unwrap_or("default"),
                name: options.name.as_deref(),
                role: options.role,
                expires_in: options.expires,
                requests_per_minute: options.requests_per_minute,
            };
            wanted
                .check()
                .map_err(|errors| Failure::Refused(Problem { status: 422, errors, ..Problem::default() }))?;
            let by = principal();
            json!(store.run(async |client| keys::create(client, &wanted, &by).await).await?)
        }
    };
    if options.server.json {
        return print_json(&made);
    }
    let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
    // Alone on standard output, so that a shell can take it.
    print(text("key"))?;
    let end = made["expires_at"].as_str().map_or_else(String::new, |end| format!(", until {end}"));
    remark(format_args!(
        "A key of the tenant {} with the role {}, called {}{end}. It is shown this once; `podfleet keys revoke {}` ends it",
        text("tenant"),
        text("role"),
        text("name"),
        text("id")
    ));
    Ok(())
}

async fn listed(place: &Place, tenant: Option<&str>) -> anyhow::Result<Vec<Value>> {
    let found = match place {
        Place::Api(client) => pages(client).await?.into(),
        Place::Database(store) => {
            json!(store.run(async |client| keys::list(client, tenant, None, LISTED).await).await?)
        }
    };
    Ok(match found {
        Value::Array(keys) => keys,
        _ => Vec::new(),
    })
}

async fn list(place: &Place, options: KeysList) -> anyhow::Result<()> {
    let keys = listed(place, options.tenant.as_deref()).await?;
    let wanted = |key: &Value| options.tenant.as_deref().is_none_or(|tenant| key["tenant"] == tenant);
    let keys: Vec<Value> = keys.into_iter().filter(wanted).collect();
    if options.server.json {
        return print_json(&json!({ "keys": keys }));
    }
    if keys.is_empty() {
        remark("there are no keys; `podfleet keys create --role admin` makes one");
        return Ok(());
    }
    let now = Timestamp::now();
    let header = ["ID", "TENANT", "NAME", "ROLE", "BEGINS WITH", "STATE", "LAST USED"];
    print(columns(&header, keys.iter().map(|key| row(key, now)).collect()))
}

/// The newest keys, page by page.
async fn pages(client: &Client) -> anyhow::Result<Vec<Value>> {
    let mut keys = Vec::new();
    let mut path = "/v1/keys?limit=100".to_owned();
    loop {
        let mut page = client.get(&path).await?;
        if let Value::Array(found) = page["keys"].take() {
            keys.extend(found);
        }
        match page["next"].as_str() {
            Some(next) if i64::try_from(keys.len()).is_ok_and(|count| count < LISTED) => {
                path = format!("/v1/keys?limit=100&cursor={next}");
            }
            _ => return Ok(keys),
        }
    }
}

fn row(key: &Value, now: Timestamp) -> Vec<String> {
    let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
    let time = |field: &str| key[field].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let state = match (time("revoked_at"), time("expires_at")) {
        (Some(_), _) => "revoked".into(),
        (None, Some(end)) if end <= now => "expired".into(),
        (None, Some(end)) => format!("expires {}", relative(end, now)),
        (None, None) => "opens".into(),
    };
    let used = time("last_used_at").map_or_else(|| "never".into(), |used| relative(used, now));
    vec![text("id"), text("tenant"), text("name"), text("role"), text("prefix"), state, used]
}

async fn revoke(place: &Place, options: KeysRevoke) -> anyhow::Result<()> {
    let KeysRevoke { server, id, dry_run } = options;
    if dry_run {
        let keys = listed(place, None).await?;
        let key = keys.into_iter().find(|key| key["id"] == id.to_string()).ok_or_else(|| unknown(id))?;
        if server.json {
            return print_json(&json!({ "dry_run": true, "would_revoke": key }));
        }
        let told = row(&key, Timestamp::now());
        return print(format_args!(
            "would revoke {} of {}, {}, last used {}",
            told[2], told[1], told[3], told[6]
        ));
    }
    match place {
        Place::Api(client) => {
            client.delete(&format!("/v1/keys/{id}")).await?;
        }
        Place::Database(store) => {
            let by = principal();
            let found = store.run(async |client| keys::revoke(client, None, id, &by).await).await?;
            found.ok_or_else(|| unknown(id))?;
        }
    }
    if server.json {
        return print_json(&json!({ "id": id, "state": "revoked" }));
    }
    remark("The key is revoked: within 5 s every producer refuses it");
    Ok(())
}

fn unknown(id: Uuid) -> Failure {
    Failure::Refused(Problem {
        status: 404,
        detail: format!("There is no key {id}; `podfleet keys list` shows them"),
        ..Problem::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_whether_a_key_opens() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let check = |more: Value, state: &str, used: &str| {
            let row = row(&more, now);
            assert_eq!((row[5].as_str(), row[6].as_str()), (state, used), "{more}");
        };
        check(json!({}), "opens", "never");
        check(json!({"expires_at": "2026-01-03T00:00:00Z"}), "expires in 1 days", "never");
        check(json!({"expires_at": "2026-01-01T00:00:00Z"}), "expired", "never");
        check(
            json!({"revoked_at": "2026-01-01T00:00:00Z", "last_used_at": "2026-01-01T23:59:00Z"}),
            "revoked",
            "1 min ago",
        );
    }
}
