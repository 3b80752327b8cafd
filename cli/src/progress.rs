//! Progress of podcasts on standard error: bars on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::client::shapes::{Event, Progress};
use crate::output::{clock, remark, spoken};

/// In plain lines, at most one of the same stage in this time.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

const NAMED: &str = "{spinner} {prefix:30!} {msg}";
const WAITING: &str = "{spinner} {msg} {elapsed}";
const COUNTING: &str = "{spinner} {prefix:30!} {bar:24} {pos:>3}/{len} {elapsed} {msg}";
const ENDED: &str = "  {prefix:30!} {msg}";

/// Where lines of progress stand.
#[derive(Debug, Default)]
pub(crate) struct Board {
    bars: Option<MultiProgress>,
}

impl Board {
    pub(crate) fn new() -> Board {
        Board { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// A line for one podcast, named until it has a title.
    pub(crate) fn line(&self, name: &str) -> Line {
        let bar = self.bars.as_ref().map(|bars| bars.add(ProgressBar::no_length()));
        if let Some(bar) = &bar {
            bar.set_style(style(NAMED));
            bar.set_prefix(name.to_owned());
            bar.set_message("accepted");
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        Line { bar, name: name.to_owned(), started: Instant::now(), said: None, stage: String::new() }
    }

    /// Something that is under way and cannot be counted. It is over when the answer is dropped.
    pub(crate) fn waiting(&self, what: &'static str) -> Waiting {
        let bar = self.bars.as_ref().map(|bars| bars.add(ProgressBar::new_spinner()));
        match &bar {
            Some(bar) => {
                bar.set_style(style(WAITING));
                bar.set_message(what);
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            None => remark(what),
        }
        Waiting(bar)
    }
}

#[derive(Debug)]
pub(crate) struct Waiting(Option<ProgressBar>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The progress of one podcast.
#[derive(Debug)]
pub(crate) struct Line {
    bar: Option<ProgressBar>,
    name: String,
    started: Instant,
    stage: String,
    /// When the last plain line was written.
    said: Option<Instant>,
}

impl Line {
    pub(crate) fn update(&mut self, event: &Event) {
        let Progress { segments_total: total, segments_done: done, .. } = event.data.progress;
        if let Some(title) = &event.data.title {
            self.name.clone_from(title);
        }
        let left = left(self.started.elapsed(), done, total).filter(|_| event.data.stage == "tts");
        let left = left.map(|left| format!(", about {} left", spoken(left))).unwrap_or_default();
        let new_stage = self.stage != event.data.stage;
        self.stage.clone_from(&event.data.stage);
        if let Some(bar) = &self.bar {
            bar.set_prefix(self.name.clone());
            if total > 0 {
                bar.set_style(style(COUNTING));
                bar.set_length(total);
                bar.set_position(done);
            }
            bar.set_message(format!("{}{left}", doing(&event.data.stage)));
        } else if !event.is_last() && (new_stage || self.said.is_none_or(|said| said.elapsed() > PLAIN_EVERY))
        {
            self.said = Some(Instant::now());
            let counted = event.data.progress.of_stage(&event.data.stage);
            let counted = counted.map(|counted| format!(", {counted}")).unwrap_or_default();
            remark(format_args!("{}: {}{counted}{left}", self.name, doing(&event.data.stage)));
        }
    }

    /// The last word on this podcast.
    pub(crate) fn end(self, state: &str) {
        let took = clock(self.started.elapsed());
        match &self.bar {
            Some(bar) => {
                bar.set_style(style(ENDED));
                bar.finish_with_message(format!("{state} after {took}"));
            }
            None => remark(format_args!("{}: {state} after {took}", self.name)),
        }
    }
}

fn doing(stage: &str) -> &str {
    match stage {
        "outline" => "planning",
        "script" => "writing",
        "tts" => "speaking",
        "mix" => "mixing",
        "join" => "joining",
        other => other,
    }
}

/// What is left, at the pace so far.
fn left(elapsed: Duration, done: u64, total: u64) -> Option<Duration> {
    let (done, total) = (u32::try_from(done).ok()?, u32::try_from(total).ok()?);
    (done > 0 && done < total).then(|| elapsed * (total - done) / done).filter(|left| left.as_secs() > 0)
}

fn style(template: &str) -> ProgressStyle {
    // Templates are constants; a wrong one would show the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_the_pace() {
        let check = |done, total, expected: Option<u64>| {
            assert_eq!(
                left(Duration::from_secs(30), done, total),
                expected.map(Duration::from_secs),
                "{done}/{total}"
            );
        };
        check(0, 10, None);
        check(3, 10, Some(70));
        check(10, 10, None);
        // Under a second: not worth telling.
        check(59, 60, None);
        check(0, 0, None);
    }

    #[test]
    fn templates_are_valid() {
        for template in [NAMED, WAITING, COUNTING, ENDED] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
