//! What commands print. Results go to standard output, remarks to standard error, so that a pipe gets results only.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Prints a line of the result.
pub(crate) fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever reads has read enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// Prints JSON: for people on a terminal, on one line for programs.
pub(crate) fn print_json(value: &serde_json::Value) -> anyhow::Result<()> {
    if io::stdout().is_terminal() { print(serde_json::to_string_pretty(value)?) } else { print(value) }
}

/// Tells the user something that is not the result.
pub(crate) fn remark(text: impl std::fmt::Display) {
    // Nobody to tell is no reason to stop.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Lines in a box.
pub(crate) fn boxed(lines: &[String]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY.with_rounded_corners());
    table.set_content_arrangement(ContentArrangement::Disabled).add_row(vec![lines.join("\n")]);
    table.to_string()
}

/// Columns without lines between them.
pub(crate) fn columns(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// `3:05`, or `1:02:03` from an hour on.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = (duration.as_millis() + 500) / 1_000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// The way people say it: `12 s`, `3 min 5 s`, `1 h 2 min`.
pub(crate) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => "under a second".into(),
        1..60 => format!("{seconds} s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A point in time in the user's own time zone.
pub(crate) fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `in 12 s`, `3 min 5 s ago`, `now`.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    let apart = time.duration_since(now);
    let spoken = spoken(apart.unsigned_abs());
    match apart.as_secs() {
        0 => "now".into(),
        1.. => format!("in {spoken}"),
        _ => format!("{spoken} ago"),
    }
}

/// How the user can call this program: by name if the shell would find it, else by its path from here.
pub(crate) fn own_name() -> String {
    let Ok(program) = std::env::current_exe() else { return "podfleet".into() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("podfleet")).find(|file| file.is_file());
    if found.and_then(|file| file.canonicalize().ok()).as_deref() == Some(&program) {
        return "podfleet".into();
    }
    let path = from_here(&program);
    // A name alone is looked for on PATH, not here.
    if path.contains('/') { path } else { format!("./{path}") }
}

/// A path as short as it can be said from here.
pub(crate) fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_a_player_shows_them() {
        let check = |ms: u64, expected: &str| assert_eq!(clock(Duration::from_millis(ms)), expected, "{ms}");
        check(0, "0:00");
        check(499, "0:00");
        check(500, "0:01");
        check(185_000, "3:05");
        check(3_723_000, "1:02:03");
    }

    #[test]
    fn durations_read_like_people_say_them() {
        let check = |seconds: u64, expected: &str| assert_eq!(spoken(Duration::from_secs(seconds)), expected);
        check(0, "under a second");
        check(59, "59 s");
        check(60, "1 min");
        check(185, "3 min 5 s");
        check(3_720, "1 h 2 min");
        check(200_000, "2 days");
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let check = |offset: i64, expected: &str| {
            let time = Timestamp::from_second(1_800_000_000 + offset).unwrap();
            assert_eq!(relative(time, now), expected, "{offset}");
        };
        check(0, "now");
        check(12, "in 12 s");
        check(-90, "1 min 30 s ago");
    }

    #[test]
    fn a_box_is_as_wide_as_its_longest_line() {
        let text = boxed(&["한국어 제목".into(), "a".into()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        // A Hangul syllable is two columns wide, so the line that holds five of them has five characters fewer.
        assert_eq!(lines[1].chars().count() + 5, lines[0].chars().count());
    }

    #[test]
    fn columns_carry_no_trailing_blanks() {
        let text = columns(
            &["ID", "TITLE"],
            vec![vec!["1".into(), "a longer title".into()], vec!["22".into(), "b".into()]],
        );
        assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
        assert_eq!(text.lines().count(), 3);
    }
}
