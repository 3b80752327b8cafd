//! `podfleet download`

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use futures_util::StreamExt;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::args::podcasts::Download;
use crate::client::Client;
use crate::client::shapes::Podcast;
use crate::output::{from_here, print_json, remark};

/// Longest name of a file, in bytes, without its ending: file systems take 255.
const LONGEST_NAME: usize = 150;

pub(crate) async fn run(options: Download) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let (what, ending) = part(&options);
    let address = format!("/v1/podcasts/{}/{what}", options.id);
    let path = match options.output {
        Some(path) => path,
        None => {
            let answer = client.get(&format!("/v1/podcasts/{}", options.id)).await?;
            let podcast: Podcast = serde_json::from_value(answer).context("reading the server's answer")?;
            PathBuf::from(format!("{}.{ending}", file_name(podcast.title.as_deref().unwrap_or_default())))
        }
    };
    if path == Path::new("-") {
        let mut stdout = io::stdout().lock();
        copy(&client, &address, &mut stdout).await?;
        return Ok(stdout.flush()?);
    }
    let saved = save(&client, &address, &path).await?;
    if options.server.json {
        return print_json(&json!({ "id": options.id, "file": path }));
    }
    remark(format_args!("saved as {saved}"));
    Ok(())
}

/// The part of the episode that is asked for: the end of its address, and of its file's name.
fn part(options: &Download) -> (String, String) {
    match &options.transcript {
        Some(format) if format == "json" => ("transcript.json".into(), "transcript.json".into()),
        Some(format) => (format!("transcript.{format}"), format.clone()),
        None if options.chapters => ("chapters.json".into(), "chapters.json".into()),
        None => ("audio".into(), "mp3".into()),
    }
}

/// Saves what is at `address` in one step: there is never half a file at `path`. Returns the path as the user knows it.
pub(crate) async fn save(client: &Client, address: &str, path: &Path) -> anyhow::Result<String> {
    let unwritable = || format!("cannot write {}", path.display());
    let mut unfinished = tempfile::Builder::new()
        .prefix(".podfleet-")
        // Unlike other temporary files this one is to be read by whoever may read its neighbours: the umask decides.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder_of(path))
        .with_context(unwritable)?;
    copy(client, address, &mut unfinished).await.with_context(unwritable)?;
    unfinished.flush().with_context(unwritable)?;
    persist(unfinished, path).with_context(unwritable)?;
    Ok(from_here(path))
}

/// The folder a file is to lie in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map(drop).map_err(|error| error.error)
}

async fn copy(client: &Client, address: &str, to: &mut impl Write) -> anyhow::Result<()> {
    let answer = client.stream(address).await?;
    let expected = answer.content_length();
    let mut body = answer.bytes_stream();
    let mut received = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.context("the connection broke while downloading; try again")?;
        to.write_all(&piece)?;
        received += piece.len() as u64;
    }
    anyhow::ensure!(expected.is_none_or(|bytes| bytes == received), "the download ended early; try again");
    Ok(())
}

/// A title as the name of a file: letters and digits of every script stay, everything else becomes a hyphen.
pub(crate) fn file_name(title: &str) -> String {
    let mut name = String::new();
    for character in title.chars() {
        let next =
            if character.is_alphanumeric() || matches!(character, '_' | '.') { character } else { '-' };
        // No hidden files, no `..`, no rows of hyphens.
        if next.is_alphanumeric() || next == '_' || !(name.is_empty() || name.ends_with(['-', '.'])) {
            name.push(next);
        }
        if name.len() >= LONGEST_NAME {
            break;
        }
    }
    let name = name.trim_end_matches(['-', '.']);
    if name.is_empty() { "episode".into() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::stand_in::StandIn;

    #[test]
    fn titles_become_names_that_every_file_system_takes() {
        let check = |title: &str, expected: &str| assert_eq!(file_name(title), expected, "{title:?}");
        check("Why the Sea Comes Back", "Why-the-Sea-Comes-Back");
        check("김치는 왜 시어질까", "김치는-왜-시어질까");
        check("../../etc/passwd", "etc-passwd");
        check(".hidden", "hidden");
        check("a/b\\c:d*e?f\"g<h>i|j\0k", "a-b-c-d-e-f-g-h-i-j-k");
        check("What?! Again...", "What-Again");
        check("1.5 °C", "1.5-C");
        check("☕ — ☕", "episode");
        check("", "episode");
        check("..", "episode");
    }

    #[test]
    fn long_names_are_cut_between_letters() {
        let name = file_name(&"김치 ".repeat(200));
        assert!(name.len() < LONGEST_NAME + 4 && name.starts_with("김치-김치"), "{name}");
    }

    #[tokio::test]
    async fn a_download_that_breaks_off_leaves_no_file() {
        let broken = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhalf".to_owned();
        let whole = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nwhole".to_owned();
        let server = StandIn::start(vec![broken, whole]).await;
        let client = Client::at(&server.address, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("episode.mp3");
        assert!(save(&client, "/x", &path).await.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        save(&client, "/x", &path).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }
}
