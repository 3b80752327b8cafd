//! What the README promises of the commands.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;

use crate::fleet::{Fleet, Servers, Setup, until};

const PODFLEET: &str = env!("CARGO_BIN_EXE_podfleet");

/// Processes whose command line or environment names the folder.
fn processes_of(folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let read = |file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let text = [read("cmdline"), read("environ")].concat();
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            text.contains(folder).then(|| format!("{pid}: {}", text.chars().take(120).collect::<String>()))
        })
        .collect()
}

pub(crate) async fn dev_starts_everything_and_leaves_nothing(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let folder = servers.folder("dev")?;
    let data = folder.join("data");
    let log = folder.join("dev.log");
    let file = std::fs::File::create(&log)?;
    let mut dev = Command::new(PODFLEET)
        .args(["dev", "--json", "--port", "0", "--data"])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(folder.join("dev.out"))?)
        .stderr(file)
        .kill_on_drop(true)
        .spawn()?;
    let server = until("dev to be ready", async || {
        let Ok(text) = std::fs::read_to_string(data.join("dev.json")) else { return Ok(None) };
        let about: Value = serde_json::from_str(&text).unwrap_or_default();
        Ok(about["api"].as_str().map(str::to_owned))
    })
    .await
    .with_context(|| format!("the log is {}", log.display()))?;
    let about = until("dev to tell where it is", async || {
        Ok(serde_json::from_str::<Value>(&std::fs::read_to_string(folder.join("dev.out"))?).ok())
    })
    .await?;
    ensure!(about["api"] == server.as_str() && about["dashboard"] == server.as_str(), "{about:#}");
    ensure!(about["signed_in"]["role"] == "admin" && about["amqp"]["port"].is_u64(), "{about:#}");
    let second = Command::new(PODFLEET).args(["dev", "--port", "0", "--data"]).arg(&data).output().await?;
    let refusal = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(!second.status.success() && refusal.contains("already running"), "{refusal}");
    let article = folder.join("article.md");
    std::fs::write(&article, "# Short\n\nOne sentence. Another one.\n")?;
    let episode = folder.join("episode.mp3");
    let submit = Command::new(PODFLEET)
        .args(["submit", "--server", &server, "--wait", "-o"])
        .args([&episode, &article])
        .output()
        .await?;
    ensure!(submit.status.success(), "{}", String::from_utf8_lossy(&submit.stderr));
    ensure!(std::fs::read(&episode)?.starts_with(b"ID3"));
    let pid = Pid::from_raw(dev.id().context("a running dev")? as i32);
    let started = Instant::now();
    kill(pid, Signal::SIGINT)?;
    let status = tokio::time::timeout(Duration::from_secs(60), dev.wait()).await??;
    ensure!(status.success(), "dev ended with {status}; the log is {}", log.display());
    println!("  dev left after {:.1?}", started.elapsed());
    let left = processes_of(&data.display().to_string());
    ensure!(left.is_empty(), "still running: {left:#?}");
    Ok(())
}

pub(crate) async fn the_client_commands_work(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let fleet = Fleet::start(servers, "client", Setup::default()).await?;
    let run = async |arguments: &[&str]| -> anyhow::Result<(bool, String, String)> {
        let output = Command::new(PODFLEET)
            .args(arguments)
            .args(["--server", &fleet.api])
            .stdin(Stdio::null())
            .current_dir(&fleet.folder)
            .output()
            .await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
    };
    std::fs::write(
        fleet.folder.join("a.md"),
        "# 조수\n\n## 달\n\n달이 바다를 끌어당긴다. 하루에 두 번 그렇다.\n",
    )?;
    let (ok, out, err) = run(&["submit", "a.md", "--json"]).await?;
    ensure!(ok, "{err}");
    let id = serde_json::from_str::<Value>(&out)?["id"].as_str().context("an id")?.to_owned();
    let (ok, out, err) = run(&["watch", &id]).await?;
    ensure!(ok && (out + &err).contains("completed"), "watch: {err}");
    let (ok, out, _) = run(&["list", "--json"]).await?;
    ensure!(ok && out.contains(&id), "{out}");
    for (filter, listed) in [
        (["--language", "ko"], true),
        (["--language", "en"], false),
        (["--priority", "normal"], true),
        (["--priority", "high"], false),
        (["--since", "2026-01-01T00:00:00+09:00"], true),
        (["--until", "2026-01-01T00:00:00+09:00"], false),
    ] {
        let (ok, out, err) = run(&["list", "--json", filter[0], filter[1]]).await?;
        ensure!(ok && out.contains(&id) == listed, "{filter:?}: {out} {err}");
    }
    let (ok, out, err) = run(&["feed", "set", "--title", "조수 & 달", "--email", "a@example.org"]).await?;
    ensure!(ok && out.contains("조수 & 달"), "{out} {err}");
    let (ok, out, err) = run(&["feed", "set", "--explicit", "true", "--json"]).await?;
    let feed: Value = serde_json::from_str(&out).with_context(|| err.clone())?;
    ensure!(ok && feed["title"] == "조수 & 달" && feed["explicit"] == true, "{feed:#} {err}");
    let (ok, out, err) = run(&["feed", "token"]).await?;
    ensure!(ok && fleet.http.get(out.trim()).send().await?.text().await?.contains(" 달"), "{out} {err}");
    let (ok, removed, err) = run(&["feed", "token", "--remove", "--json"]).await?;
    ensure!(ok && serde_json::from_str::<Value>(&removed)?["token"].is_null(), "{removed} {err}");
    ensure!(fleet.http.get(out.trim()).send().await?.status() == 401);
    let (ok, out, err) = run(&["feed", "set", "--reset"]).await?;
    ensure!(ok && out.is_empty() && err.contains("nothing of its own"), "{out} {err}");
    let (ok, out, _) = run(&["show", &id]).await?;
    ensure!(ok && out.contains("completed") && out.contains("조수"), "{out}");
    let (ok, _, err) = run(&["download", &id, "-o", "e.mp3"]).await?;
    ensure!(ok && std::fs::read(fleet.folder.join("e.mp3"))?.starts_with(b"ID3"), "{err}");
    let (ok, _, err) = run(&["cancel", &id]).await?;
    ensure!(!ok && err.contains("completed"), "a finished podcast cannot be cancelled: {err}");
    let (ok, _, err) = run(&["submit", "a.md", "--minutes", "600"]).await?;
    ensure!(!ok && err.contains("target_minutes") && err.contains("1 to 180"), "{err}");
    let (ok, _, err) = run(&["show", "0190a000-0000-7000-8000-000000000000"]).await?;
    ensure!(!ok && !err.is_empty(), "{err}");
    fleet.stop().await
}
