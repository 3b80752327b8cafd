//! Joins chapters into one MP3 by copying their frames.
//!
//! The file is an ID3v2 tag with the chapters, an Info frame, the chapters' frames in order, and as much silence as the
//! decoder's delay swallows. From the Info frame players know which samples to leave out, so that the rest lasts exactly as
//! long as the chapters together.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use common::work::Cue;
use id3::frame::{Chapter as ChapterFrame, Content, TableOfContents};
use id3::{Frame, Tag, TagLike, Version};

use super::{language, mp3};

/// What players show as the encoder.
const ENCODER: &str = concat!("Podfleet ", env!("CARGO_PKG_VERSION"), " (LAME 3.100)");
/// A table of contents counts its entries in one byte.
const MAX_CONTENTS: usize = 255;

/// A chapter to join.
#[derive(Clone, Debug, PartialEq)]
pub struct Chapter {
    pub title: String,
    /// As counted by [`super::chapter::mix`].
    pub frames: u64,
    /// Timed from the chapter's start.
    pub cues: Vec<Cue>,
}

/// When a chapter sounds in its episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub title: String,
    pub start_ms: u64,
    pub end_ms: u64,
}

/// An episode as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    pub bytes: u64,
    pub duration_ms: u64,
    pub marks: Vec<Mark>,
    /// Timed from the episode's start.
    pub cues: Vec<Cue>,
}

/// Why an episode could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("the episode has no chapters")]
    Empty,
    /// `NotFound` in the source means that the audio is gone and has to be mixed again.
    #[error("chapter {chapter} cannot be read")]
    Unreadable { chapter: usize, source: io::Error },
    #[error("chapter {chapter} is not what was mixed: {found}")]
    Changed { chapter: usize, found: String },
    #[error("the ID3 tag cannot be written")]
    Tag(#[from] id3::Error),
    #[error("the episode cannot be written")]
    Unwritable(#[from] io::Error),
}

/// Writes an episode from `out`'s position on. `open` is called with a chapter's index, for the first chapter twice.
/// `language` is BCP 47. Memory does not depend on the length of the audio.
pub fn join<R: Read, W: Write + Seek>(
    title: &str,
    language: &str,
    chapters: Vec<Chapter>,
    mut open: impl FnMut(usize) -> io::Result<R>,
    out: &mut W,
) -> Result<Joined, JoinError> {
    let like = first_header(&mut open)?;
    let clock = Clock { frame_samples: like.samples(), sample_rate: like.sample_rate.into() };
    let (marks, frames) = clock.marks(&chapters);
    let begin = out.stream_position()?;
    write_tag(title, language, &marks, out)?;

    // The number of bytes is known when they are copied; until then the frame only keeps the place.
    let info_at = out.stream_position()?;
    let silence = mp3::silent_frame(&like).ok_or_else(|| changed(0, "frames in a free format"))?;
    let delay = mp3::ENCODER_DELAY + mp3::DECODER_DELAY;
    let tail = delay.div_ceil(like.samples());
    // Players take the decoder's delay off the padding again, which it is part of.
    let padding = tail * like.samples() - mp3::ENCODER_DELAY;
    let mut info = mp3::Info { frames: (frames + tail) as u32, bytes: 0, padding: padding as u32 };
    write_info(&like, info, out)?;

    let mut audio_bytes = 0;
    for (index, chapter) in chapters.iter().enumerate() {
        let reader = open(index).map_err(|source| JoinError::Unreadable { chapter: index, source })?;
        audio_bytes += copy_frames(index, chapter.frames, &like, reader, out)?;
    }
    for _ in 0..tail {
        out.write_all(&silence)?;
        audio_bytes += silence.len() as u64;
    }
    let end = out.stream_position()?;
    info.bytes = audio_bytes as u32;
    out.seek(SeekFrom::Start(info_at))?;
    write_info(&like, info, out)?;
    out.seek(SeekFrom::Start(end))?;
    out.flush()?;

    let cues = shift_cues(chapters, &marks);
    Ok(Joined { bytes: end - begin, duration_ms: clock.ms(frames), marks, cues })
}

/// Turns frames into milliseconds.
struct Clock {
    frame_samples: u64,
    sample_rate: u64,
}

impl Clock {
    fn ms(&self, frames: u64) -> u64 {
        (frames * self.frame_samples * 1000 + self.sample_rate / 2) / self.sample_rate
    }

    fn marks(&self, chapters: &[Chapter]) -> (Vec<Mark>, u64) {
        let mut frames = 0;
        let marks = chapters
            .iter()
            .map(|chapter| {
                let start_ms = self.ms(frames);
                frames += chapter.frames;
                Mark { title: chapter.title.clone(), start_ms, end_ms: self.ms(frames) }
            })
            .collect();
        (marks, frames)
    }
}

fn changed(chapter: usize, found: impl Into<String>) -> JoinError {
    JoinError::Changed { chapter, found: found.into() }
}

/// Half a frame, or none where one was due, is not what was mixed, whatever the disk is like.
fn read_error(chapter: usize, source: io::Error) -> JoinError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => changed(chapter, "its frames end early"),
        _ => JoinError::Unreadable { chapter, source },
    }
}

fn first_header<R: Read>(open: &mut impl FnMut(usize) -> io::Result<R>) -> Result<mp3::Header, JoinError> {
    let mut reader = open(0).map_err(|source| JoinError::Unreadable { chapter: 0, source })?;
    let mut frame = Vec::new();
    mp3::read_frame(&mut reader, &mut frame)
        .map_err(|error| read_error(0, error))?
        .ok_or_else(|| changed(0, "no frames"))
}

/// Copies the chapter's frames, each looked at: a frame of another kind would make noise of the rest. Returns their bytes.
fn copy_frames<R: Read, W: Write>(
    chapter: usize,
    frames: u64,
    like: &mp3::Header,
    reader: R,
    out: &mut W,
) -> Result<u64, JoinError> {
    let mut reader = BufReader::new(reader);
    let mut frame = Vec::new();
    let (mut copied, mut bytes) = (0, 0);
    while let Some(header) =
        mp3::read_frame(&mut reader, &mut frame).map_err(|error| read_error(chapter, error))?
    {
        if !header.matches(like) {
            return Err(changed(
                chapter,
                format!("frame {copied} has another rate than the episode's first"),
            ));
        }
        out.write_all(&frame)?;
        copied += 1;
        bytes += frame.len() as u64;
    }
    if copied != frames {
        return Err(changed(chapter, format!("{copied} frames instead of {frames}")));
    }
    Ok(bytes)
}

fn write_info(like: &mp3::Header, info: mp3::Info, out: &mut impl Write) -> Result<(), JoinError> {
    let frame = mp3::info_frame(like, info).ok_or_else(|| changed(0, "frames too small for an Info tag"))?;
    Ok(out.write_all(&frame)?)
}

/// ID3v2.3 with the chapter frames of its addendum: more players read chapters there than in version 2.4.
fn write_tag(title: &str, language: &str, marks: &[Mark], out: &mut impl Write) -> Result<(), JoinError> {
    let duration_ms = marks.last().map_or(0, |mark| mark.end_ms);
    let mut tag = Tag::new();
    tag.set_title(title);
    tag.set_text("TLEN", duration_ms.to_string());
    tag.set_text("TSSE", ENCODER);
    if let Some(code) = language::iso_639_2(language) {
        tag.set_text("TLAN", code);
    }
    let ids: Vec<String> = (0..marks.len()).map(|index| format!("chp{index}")).collect();
    for (mark, id) in marks.iter().zip(&ids) {
        tag.add_frame(ChapterFrame {
            element_id: id.clone(),
            start_time: mark.start_ms as u32,
            end_time: mark.end_ms as u32,
            // All ones: players go by the times.
            start_offset: u32::MAX,
            end_offset: u32::MAX,
            frames: vec![Frame::with_content("TIT2", Content::Text(mark.title.clone()))],
        });
    }
    if (1..=MAX_CONTENTS).contains(&ids.len()) {
        let contents = TableOfContents {
            element_id: "toc".into(),
            top_level: true,
            ordered: true,
            elements: ids,
            frames: Vec::new(),
        };
        tag.add_frame(contents);
    }
    Ok(tag.write_to(out, Version::Id3v23)?)
}

fn shift_cues(chapters: Vec<Chapter>, marks: &[Mark]) -> Vec<Cue> {
    let timed = chapters.into_iter().zip(marks);
    timed
        .flat_map(|(chapter, mark)| {
            chapter.cues.into_iter().map(|cue| Cue {
                start_ms: cue.start_ms + mark.start_ms,
                end_ms: cue.end_ms + mark.start_ms,
                ..cue
            })
        })
        .collect()
}
