//! `podfleet completions SHELL`

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::output::print;

pub(crate) fn run(options: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "podfleet", &mut script);
    print(String::from_utf8(script).context("the completions")?.trim_end())
}
