//! The one binary: every role of the fleet and every client command is a subcommand.

mod args;
mod bench;
mod chaos;
mod client;
mod command;
mod compare;
mod demo;
mod dev;
mod dev_file;
mod doctor;
mod failure;
mod fleet;
mod load;
mod output;
mod progress;
mod providers;
mod roles;
mod settings;

use std::process::ExitCode;

use clap::Parser;

use args::loadtest::LoadtestCommand;
use args::{Cli, Command, ConfigCommand};

fn main() -> ExitCode {
    // It can only fail when a provider is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::report_usage(&error),
    };
    let as_json = cli.command.wants_json();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, as_json),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(dispatch(cli));
    // A thread that still computes does not hold up a process that has handed its work back.
    runtime.shutdown_background();
    ended
}

async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let config = cli.config.as_deref();
    match cli.command {
        Command::Dev(options) => dev::run(config, options).await,
        Command::Demo(options) => demo::run(config, options).await,
        Command::Producer(options) => roles::producer(config, options).await,
        Command::Worker(options) => roles::worker(config, options).await,
        Command::Collector(options) => roles::collector(config, options).await,
        Command::Migrate(options) => roles::migrate(config, options).await,
        Command::Doctor(options) => doctor::run(config, options).await,
        Command::Completions(options) => command::completions::run(&options),
        Command::Config(ConfigCommand::Check { json }) => settings::check(config, json),
        Command::Loadtest(LoadtestCommand::Run(options)) => load::run(options).await,
        Command::Loadtest(LoadtestCommand::Bench(options)) => bench::run(options).await,
        Command::Loadtest(LoadtestCommand::Compare(options)) => compare::run(&options),
        Command::Loadtest(LoadtestCommand::Mix { list }) => bench::mixing::mix(&list),
        Command::Loadtest(LoadtestCommand::Chaos(options)) => chaos::run(options).await,
        Command::Loadtest(LoadtestCommand::Mixed(options)) => chaos::mixed::run(options).await,
        Command::Loadtest(LoadtestCommand::Providers(options)) => providers::run(options).await,
        Command::Submit(options) => command::submit::run(options).await,
        Command::List(options) => command::list::run(options).await,
        Command::Show(options) => command::show::run(options).await,
        Command::Watch(options) => command::watch::run(options).await,
        Command::Cancel(options) => command::cancel::run(options).await,
        Command::Replay(options) => command::acts::replay(options).await,
        Command::FinishWithout(options) => command::acts::finish_without(options).await,
        Command::Retake(options) => command::acts::retake(options).await,
        Command::Erase(options) => command::acts::erase(options).await,
        Command::Script(options) => command::script::run(options).await,
        Command::Priority(options) => command::acts::priority(options).await,
        Command::Pause(options) => command::pauses::pause(config, options).await,
        Command::Pauses(options) => command::pauses::list(config, options).await,
        Command::Resume(options) => command::pauses::resume(config, options).await,
        Command::Queues(options) => command::fleet::queues(options).await,
        Command::Workers(options) => command::fleet::workers(options).await,
        Command::Erasures(options) => command::fleet::erasures(options).await,
        Command::Download(options) => command::download::run(options).await,
        Command::Dead(dead) => command::dead::run(dead).await,
        Command::Keys(keys) => command::keys::run(config, keys).await,
        Command::Limits(limits) => command::limits::run(config, limits).await,
        Command::Webhooks(webhooks) => command::webhooks::run(webhooks).await,
        Command::Feed(feed) => command::feed::run(feed).await,
    }
}
