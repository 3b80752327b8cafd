//! `podfleet limits …`: what a tenant may ask for. In the database, as the configuration of this command says.

use std::path::Path;

use common::config::{Config, Limits};
use common::store::Store;
use common::store::tenants::{self, OwnLimits};
use serde_json::json;

use super::keys::{database, principal};
use crate::args::limits::{LimitsCommand, LimitsSet};
use crate::output::{columns, print, print_json, remark};
use crate::roles;

pub(crate) async fn run(config: Option<&Path>, command: LimitsCommand) -> anyhow::Result<()> {
    let config = roles::load(config)?;
    let store = database(&config).await?;
    match command {
        LimitsCommand::Show(options) => show(&store, &config, &options.tenant, options.json).await,
        LimitsCommand::Set(options) => set(&store, &config, options).await,
    }
}

async fn set(store: &Store, config: &Config, options: LimitsSet) -> anyhow::Result<()> {
    let LimitsSet { tenant, requests_per_minute, podcasts_in_flight, characters_per_day, .. } = &options;
    let before = if options.reset { OwnLimits::default() } else { own(store, tenant).await? };
    let limits = OwnLimits {
        requests_per_minute: requests_per_minute.or(before.requests_per_minute),
        podcasts_in_flight: podcasts_in_flight.or(before.podcasts_in_flight),
        characters_per_day: characters_per_day.or(before.characters_per_day),
    };
    let by = principal();
    store.run(async |client| tenants::set_limits(client, tenant, limits, &by).await).await?;
    if !options.json {
        remark("Every producer goes by this within 5 s");
    }
    show(store, config, tenant, options.json).await
}

async fn own(store: &Store, tenant: &str) -> anyhow::Result<OwnLimits> {
    let all = store.run(async |client| tenants::limits(client).await).await?;
    Ok(all.get(tenant).copied().unwrap_or_default())
}

async fn show(store: &Store, config: &Config, tenant: &str, as_json: bool) -> anyhow::Result<()> {
    let own = own(store, tenant).await?;
    let limits = own.over(config.limits);
    let used = store.run(async |client| tenants::used_by(client, tenant).await).await?;
    if as_json {
        return print_json(&json!({ "tenant": tenant, "limits": limits, "own": own, "used": used }));
    }
    print(columns(&["LIMIT", "MOST", "NOW", "SET FOR"], rows(own, limits, used)))
}

fn rows(own: OwnLimits, limits: Limits, used: tenants::Used) -> Vec<Vec<String>> {
    let most = |most: u64| if most == 0 { "no limit".to_owned() } else { most.to_string() };
    let set = |own: bool| if own { "this tenant" } else { "all" }.to_owned();
    vec![
        vec![
            "requests a minute".into(),
            most(limits.requests_per_minute.into()),
            String::new(),
            set(own.requests_per_minute.is_some()),
        ],
        vec![
            "podcasts in flight".into(),
            most(limits.podcasts_in_flight.into()),
            used.podcasts_in_flight.to_string(),
            set(own.podcasts_in_flight.is_some()),
        ],
        vec![
            "characters a day".into(),
            most(limits.characters_per_day),
            used.characters.to_string(),
            set(own.characters_per_day.is_some()),
        ],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_limit_and_for_whom_it_was_set() {
        let own = OwnLimits { podcasts_in_flight: Some(3), ..OwnLimits::default() };
        let used = tenants::Used { podcasts_in_flight: 2, characters: 9, seconds_to_midnight: 1 };
        let rows = rows(own, own.over(Limits::default()), used);
        assert_eq!(rows[1], ["podcasts in flight", "3", "2", "this tenant"]);
        assert_eq!(rows[2], ["characters a day", "no limit", "9", "all"]);
    }
}
