//! What the guides show is run: every fenced block of `docs/guides` that says `sh` or `python`, in its order, in one shell a guide.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use loadtest::providers::{Provider, Settings};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::access::{submit, until_state, with_keys};
use crate::fleet::{Fleet, Servers, Setup};
use crate::replay::article;
use crate::replay::gate::Gate;

/// A guide takes seconds; one that asks for input, or never ends, is wrong.
const PATIENCE: Duration = Duration::from_secs(180);

fn guides() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides")
}

/// The blocks of a page as one script.
fn script(page: &str) -> String {
    let mut script = String::new();
    let mut language = None;
    for line in page.lines() {
        match (language, line.strip_prefix("```")) {
            (None, Some(begins)) => {
                language = Some(begins);
                if begins == "python" {
                    script.push_str("python3 - <<'END OF PYTHON'\n");
                }
            }
            (Some(ends), Some(_)) => {
                if ends == "python" {
                    script.push_str("END OF PYTHON\n");
                }
                language = None;
            }
            (Some("sh" | "python"), None) => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

async fn follow(fleet: &Fleet, key: &str, name: &str) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(guides().join(name)).with_context(|| name.to_owned())?;
    let script = script(&page);
    ensure!(script.lines().count() > 3, "{name} shows no commands");
    let folder = fleet.folder.join(name);
    std::fs::create_dir_all(&folder)?;
    let program = Path::new(env!("CARGO_BIN_EXE_podfleet")).parent().context("a folder")?;
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let log = std::fs::File::create(folder.join("output.txt"))?;
    let mut shell = Command::new("bash");
    shell
        .args(["-euxo", "pipefail", "-c", &script])
        .current_dir(&folder)
        .envs(fleet.environment())
        .env("PATH", path)
        .env("GUIDES", guides())
        .env("PODFLEET_SERVER", &fleet.api)
        .env("PODFLEET_API_KEY", key)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // What a guide leaves behind when it fails goes with it.
        .process_group(0)
        .kill_on_drop(true);
    let mut shell = shell.spawn()?;
    let group = Pid::from_raw(shell.id().context("a running shell")? as i32);
    let ended = tokio::time::timeout(PATIENCE, shell.wait()).await;
    // Nobody is left of it, if all went well.
    let _ = killpg(group, Signal::SIGKILL);
    let said = std::fs::read_to_string(folder.join("output.txt")).unwrap_or_default();
    let status = ended.with_context(|| format!("{name} does not end:\n{said}"))??;
    ensure!(status.success(), "{name} ended with {status}:\n{said}");
    Ok(())
}

pub(crate) async fn every_command_of_the_guides_works(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let mut left: Vec<String> = std::fs::read_dir(guides())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .collect();
    let mut follow = async |fleet: &Fleet, key: &str, name: &str| {
        left.retain(|other| other != name);
        follow(fleet, key, name).await
    };
    let (fleet, key) = with_keys(servers, "guides", Setup::default()).await?;
    for name in ["upstream.md", "workers.md", "engine.md"] {
        follow(&fleet, &key, name).await?;
    }
    let episode = std::fs::read(fleet.folder.join("upstream.md/episode.mp3"))?;
    ensure!(episode.starts_with(b"ID3") && fleet.folder.join("upstream.md/salt.mp3").is_file());
    ensure!(fleet.folder.join("workers.md/workers.mp3").is_file());
    fleet.stop().await?;

    // Two podcasts with a text that could not be spoken, which can be now.
    let provider = Provider::start(Settings::default()).await?;
    let gate = Gate::start(&provider.url()).await?;
    let setup = Setup::default().with_speech_server(&gate.url);
    let (fleet, key) = with_keys(servers, "guide-dead", setup).await?;
    gate.refuse("sentence 2 ", 400);
    for title in ["One", "Another"] {
        let podcast = submit(&fleet, &key, &article(title, 3)).await?;
        until_state(&fleet, &key, &podcast, "failed").await?;
    }
    gate.heal();
    follow(&fleet, &key, "dead-letters.md").await?;
    ensure!(fleet.count("select count(*) from podcasts where state = 'completed'").await? == 2);
    ensure!(left.is_empty(), "guides that nobody runs: {left:?}");
    fleet.stop().await
}
