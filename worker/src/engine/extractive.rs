//! The built-in writer: chapters from the source's headings or its shifts of topic, turns from its own sentences. It needs no model and no
//! server, works in any language, and never says what the source does not.

mod cues;
mod lengths;
mod outline;
mod phrases;
mod script;
mod telling;
mod terms;
mod topics;

use common::work::{OutlineInput, OutlineResult, ScriptInput, ScriptPart, TextRef};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Call, WritingEngine};
use crate::failure::Failure;
use crate::text::{Paragraph, Section};

/// Part of the name of cached outlines and scripts: raised whenever the same source would be read or told differently.
pub const VERSION: u32 = 3;

/// Writes by choosing from the source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extractive;

impl Extractive {
    pub fn new() -> Extractive {
        Extractive
    }
}

impl WritingEngine for Extractive {
    fn outline<'a>(
        &'a self,
        input: &'a OutlineInput,
        source: Option<&'a str>,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<OutlineResult, Failure>> {
        let (input, source) = (input.clone(), source.map(str::to_owned));
        aside(move || outlined(&input, source.as_deref()))
    }

    fn script<'a>(
        &'a self,
        input: &'a ScriptInput,
        source: Option<&'a str>,
        _call: &'a Call,
    ) -> BoxFuture<'a, Result<ScriptPart, Failure>> {
        let (input, source) = (input.clone(), source.map(str::to_owned));
        aside(move || scripted(&input, source.as_deref()))
    }
}

/// A source of a megabyte takes seconds: not on the threads that keep the session with the broker.
fn aside<T: Send + 'static>(
    write: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> BoxFuture<'static, Result<T, Failure>> {
    let writing = tokio::task::spawn_blocking(write);
    async move {
        writing.await.unwrap_or_else(|error| Err(Failure::transient("the writer panicked").because(error)))
    }
    .boxed()
}

pub(crate) fn outlined(input: &OutlineInput, source: Option<&str>) -> Result<OutlineResult, Failure> {
    let source = source.or_else(|| inline(input.source.as_ref())).ok_or_else(needs_source)?;
    outline::plan(&input.brief, &input.chapters, source)
}

pub(crate) fn scripted(input: &ScriptInput, source: Option<&str>) -> Result<ScriptPart, Failure> {
    let source = source.or_else(|| inline(input.plan.source.as_ref())).ok_or_else(needs_source)?;
    script::write(input, source)
}

fn inline(source: Option<&TextRef>) -> Option<&str> {
    match source {
        Some(TextRef::Inline(text)) => Some(text),
        Some(TextRef::Blob(_) | TextRef::Url(_)) | None => None,
    }
}

fn needs_source() -> Failure {
    Failure::permanent_input(
        "the extractive writer needs a source text: it chooses from what is written and cannot write from a topic alone. \
         Give `source.text`, or use an engine with a language model",
    )
}

/// A paragraph, with the heading that stands directly above it below the level of chapters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    heading: Option<String>,
    sentences: Paragraph,
}

impl Block {
    /// The paragraphs of a section; the first bears its heading.
    fn of_section(section: Section) -> impl Iterator<Item = Block> {
        let mut heading = section.heading;
        section.paragraphs.into_iter().map(move |sentences| Block { heading: heading.take(), sentences })
    }
}

#[cfg(test)]
mod tests;
