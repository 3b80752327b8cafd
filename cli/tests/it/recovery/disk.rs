//! Disks without room. Each is a small file system in memory, which only root can mount: without root these tests say so and end.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use loadtest::providers::{Provider, Settings};
use serde_json::{Value, json};

use crate::audio::expect_every_number_once;
use crate::faults::SPOKEN;
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

/// Mounts, tells that it did, and waits for the end of its input: that comes even when the test is killed.
const GUARD: &str =
    r#"mount -t tmpfs -o "$1" tmpfs "$2" 2>&1 && echo mounted && { cat >/dev/null; umount -l "$2"; }"#;

/// A mounted file system, unmounted when dropped or when this process dies.
struct Disk {
    folder: PathBuf,
    guard: Child,
}

impl Disk {
    /// `None` where this user may not mount.
    fn mount(folder: &Path, megabytes: u32) -> anyhow::Result<Option<Disk>> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={megabytes}m,mode=0755");
        // In a group of its own, so that a signal to the tests does not end it before its work.
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh", &size])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut told = String::new();
        BufReader::new(guard.stdout.take().context("its output")?).read_line(&mut told)?;
        if told.trim() == "mounted" {
            return Ok(Some(Disk { folder: folder.to_owned(), guard }));
        }
        guard.wait()?;
        eprintln!(
            "SKIPPED, NOT TESTED: a full disk. It needs a small file system, and mounting one failed: {told}"
        );
        Ok(None)
    }

    /// Takes all the room there is.
    fn fill(&self) -> anyhow::Result<()> {
        use std::io::Write;
        let mut filler = std::fs::File::create(self.folder.join("filler"))?;
        for block in [vec![0; 65536], vec![0; 512]] {
            while filler.write_all(&block).is_ok() {}
        }
        Ok(())
    }

    fn make_room(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.folder.join("filler"))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

async fn problem(fleet: &Fleet, request: &Value) -> anyhow::Result<Option<Value>> {
    let response = fleet.post(request).await?;
    if response.status() == 202 {
        return Ok(None);
    }
    ensure!(
        response.status() == 503 && response.headers().contains_key("retry-after"),
        "{}",
        response.status()
    );
    Ok(Some(response.json().await?))
}

pub(crate) async fn a_full_disk_of_blobs_is_waited_out(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let folder = servers.folder("small-disk")?;
    let Some(disk) = Disk::mount(&folder, 16)? else { return Ok(()) };
    let provider = Provider::start(Settings::default()).await?;
    let setup = Setup::default().with_speech_server(&provider.url()).with("BLOBS__FOLDER", folder.display());
    let mut fleet = Fleet::start(servers, "disk-blobs", setup).await?;
    disk.fill()?;
    let id = fleet.submit(&numbered_article(2, 6)).await?;
    let log = fleet.role("worker").log.clone();
    until("a worker that names the disk", async || {
        let told = std::fs::read_to_string(&log)?
            .contains(&format!("the disk of the blobs is full (blobs.folder is {}", folder.display()));
        Ok(told.then_some(()))
    })
    .await?;
    // A long text would be a blob.
    let long = json!({"source": {"text": "A sentence that is long enough. ".repeat(1_000)}});
    let told = problem(&fleet, &long).await?.context("a long text was accepted without room for it")?;
    ensure!(told["type"] == "urn:podfleet:problem:disk-full", "{told:#}");
    ensure!(told["detail"].as_str().is_some_and(|text| text.contains("disk of the blobs")), "{told:#}");
    ensure!(fleet.podcast(&id).await?["state"] == "running");
    ensure!(fleet.count(SPOKEN).await? == 0);
    ensure!(blobs(&folder)?.is_empty(), "half-written blobs are visible: {:?}", blobs(&folder)?);
    disk.make_room()?;
    fleet.completed(&id).await?;
    expect_every_number_once(&fleet, &id).await?;
    let twice = provider.ledger().answers_by_text().values().filter(|count| **count > 1).count();
    ensure!(twice == 0, "{twice} segments were paid again, though they only waited for room");
    ensure!(
        fleet.count("select count(*) from attempts where class <> 'success'").await? == 0,
        "no attempt was lost by it"
    );
    for role in &mut fleet.roles {
        ensure!(role.child.try_wait()?.is_none(), "{} had to be started again", role.name);
    }
    fleet.at_rest().await?;
    fleet.stop().await
}

/// Everything below a tenant: what readers can see.
fn blobs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("default")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

pub(crate) async fn a_full_disk_of_the_database_is_told(servers: &Arc<Servers>) -> anyhow::Result<()> {
    let folder = servers.folder("small-database")?;
    let Some(disk) = Disk::mount(&folder, 48)? else { return Ok(()) };
    let setup = Setup { own_postgres: true, producers: 0, workers: 0, collectors: 0, ..Setup::default() };
    let mut fleet = Fleet::start(servers, "disk-pg", setup).await?;
    // Only this database lies there: its journal does not, or the server itself would end.
    let place = folder.join("tables");
    std::fs::create_dir(&place)?;
    let data = fleet.query("show data_directory").await?[0].get::<_, String>(0);
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(data)?);
    std::os::unix::fs::chown(&place, Some(owner), None)?;
    open_to_all(&folder)?;
    fleet.statement(&format!("create tablespace small location '{}'", place.display())).await?;
    fleet.statement("create database small tablespace small").await?;
    fleet.move_to_database("small")?;
    fleet.spawn("collector", &[]).await?;
    fleet.spawn_producer(&[]).await?;
    let first = fleet.submit(&numbered_article(1, 2)).await?;
    disk.fill()?;
    let mut accepted = vec![first];
    let told = loop {
        let response = fleet.post(&json!({"source": {"text": "Words. ".repeat(2_000)}})).await?;
        if response.status() == 202 {
            let answer: Value = response.json().await?;
            accepted.push(answer["id"].as_str().context("an id")?.to_owned());
            ensure!(accepted.len() < 2_000, "the disk does not get full");
            continue;
        }
        ensure!(
            response.status() == 503 && response.headers().contains_key("retry-after"),
            "{}",
            response.status()
        );
        let problem: Value = response.json().await?;
        // While the collector fails too, its sessions may make the database seem away.
        if problem["type"] == "urn:podfleet:problem:disk-full" {
            break problem;
        }
    };
    ensure!(told["detail"].as_str().is_some_and(|text| text.contains("disk of the database")), "{told:#}");
    println!("  {} podcasts were accepted until the disk of the database was full", accepted.len());
    let stored = fleet.count("select count(*) from podcasts").await?;
    ensure!(stored == accepted.len() as i64, "{stored} podcasts for {} promises", accepted.len());
    disk.make_room()?;
    // Hours of speech that nobody needs to hear.
    for id in &accepted[1..] {
        until("a cancelled podcast", async || {
            let cancel = fleet.http.delete(format!("{}/v1/podcasts/{id}", fleet.api)).send().await?;
            Ok((cancel.status() == 200).then_some(()))
        })
        .await?;
    }
    fleet.spawn("worker", &[]).await?;
    let id = until("acceptance", async || {
        let response = fleet.post(&numbered_article(1, 3)).await?;
        if response.status() != 202 {
            return Ok(None);
        }
        Ok(response.json::<Value>().await?["id"].as_str().map(str::to_owned))
    })
    .await?;
    fleet.completed(&accepted[0]).await?;
    fleet.completed(&id).await?;
    for role in &mut fleet.roles {
        ensure!(role.child.try_wait()?.is_none(), "{} had to be started again", role.name);
    }
    fleet.abandon().await
}

/// The server's user must reach the folder.
fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(std::env::temp_dir())) {
        if folder != std::env::temp_dir() {
            let mode = std::fs::metadata(folder)?.permissions().mode();
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode | 0o011))?;
        }
    }
    Ok(())
}
