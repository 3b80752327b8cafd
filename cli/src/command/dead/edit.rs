//! `podfleet dead edit`: the input of what was given up in an editor, and back.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use common::request::MAX_BODY_BYTES;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::because;
use super::settle::sentence;
use crate::args::dead::DeadEdit;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{print, print_json, remark};

pub(super) async fn run(options: DeadEdit) -> anyhow::Result<()> {
    let client = Client::new(&options.server)?;
    let reason = because(options.reason.as_deref());
    let path = format!("/v1/dead-letters/{}/edit-replay", options.id);
    let answer = if let Some(file) = &options.payload {
        let payload = parse(&file.display().to_string(), &read(file)?)?;
        client.post(&path, &json!({ "reason": reason, "payload": payload })).await?
    } else {
        let letter = client.get(&format!("/v1/dead-letters/{}?payload=true", options.id)).await?;
        let (payload, file) = edited(&letter["payload"]["value"])?;
        match client.post(&path, &json!({ "reason": reason, "payload": payload })).await {
            Ok(answer) => answer,
            Err(error) => {
                // Somebody's work is not thrown away.
                let kept = file.into_temp_path().keep().context("keeping the edited file")?;
                remark(format_args!("what you wrote is in {}; --payload takes it again", kept.display()));
                return Err(error);
            }
        }
    };
    if options.server.json {
        return print_json(&answer);
    }
    print(format_args!("{}  {}", options.id, sentence(&answer)))
}

/// What the editor left, and the file it is in.
fn edited(original: &Value) -> anyhow::Result<(Value, NamedTempFile)> {
    let text = match original {
        Value::String(text) => text.clone(),
        Value::Null => return Err(Failure::Usage("this letter has no input to edit".into()).into()),
        value => serde_json::to_string_pretty(value)?,
    };
    let mut file = tempfile::Builder::new().prefix("podfleet-").suffix(".json").tempfile()?;
    writeln!(file, "{text}")?;
    file.flush()?;
    open_editor(file.path())?;
    // Editors may put another file in its place: it is read by its name.
    let after = std::fs::read_to_string(file.path()).context("reading what the editor wrote")?;
    if after.trim() == text.trim() {
        return Err(Failure::Usage("nothing was changed, so nothing was sent".into()).into());
    }
    match parse("what you wrote", &after) {
        Ok(payload) => Ok((payload, file)),
        Err(error) => {
            let kept = file.into_temp_path().keep().context("keeping the edited file")?;
            remark(format_args!("it is in {}; --payload takes it when it is repaired", kept.display()));
            Err(error.into())
        }
    }
}

fn open_editor(file: &Path) -> anyhow::Result<()> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
    let editor = named.into_iter().find(|editor| !editor.trim().is_empty()).unwrap_or_else(|| "vi".into());
    // As other programs do: the variable may hold arguments, so a shell takes it apart; the file's name is handed over whole.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file)
        .status()
        .with_context(|| format!("starting the editor {editor:?}"))?;
    if status.success() {
        return Ok(());
    }
    let advice = format!("the editor {editor:?} ended with {status}; set $EDITOR, or use --payload FILE");
    Err(Failure::Usage(advice).into())
}

fn read(file: &Path) -> anyhow::Result<String> {
    let (name, input): (String, Box<dyn Read>) = if file == Path::new("-") {
        ("standard input".into(), Box::new(std::io::stdin().lock()))
    } else {
        let opened = std::fs::File::open(file);
        let opened =
            opened.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
        (file.display().to_string(), Box::new(opened))
    };
    let mut text = String::new();
    input
        .take(MAX_BODY_BYTES as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    if text.len() > MAX_BODY_BYTES {
        return Err(Failure::Usage(format!("{name} is larger than {MAX_BODY_BYTES} bytes")).into());
    }
    Ok(text)
}

fn parse(name: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Usage(format!("{name} is not JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_sent() {
        let error = parse("a.json", "{").unwrap_err().to_string();
        assert!(error.starts_with("a.json is not JSON"), "{error}");
        assert_eq!(parse("a.json", r#"{"text": "b"}"#).unwrap(), json!({"text": "b"}));
    }

    #[test]
    fn a_letter_without_input_cannot_be_edited() {
        assert!(edited(&Value::Null).unwrap_err().to_string().contains("no input"));
    }
}
