//! Listening to an episode while it is made: chapters that are mixed as they are, others segment by segment, in order. What
//! is not there yet is waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use common::config::Audio;
use common::store::playing::{self, Place};
use common::work::{MixResult, Pause, SpeechResult};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::Env;

/// A podcast that brings nothing new for this long is not waited for any more.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// A listener that takes nothing for this long is let go. Players stop reading while they have enough, so it is long.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pieces on their way to one listener, and what is in one at most.
const PIECES: usize = 4;
const PIECE: usize = 64 * 1024;
/// A stored segment is at most as long as one task lasts; a larger blob is none.
const LARGEST_SEGMENT: u64 = 256 * 1024 * 1024;

/// Makes MP3 frames of segments, in order. Blocks while it works.
pub trait LiveEncoder: Send {
    /// Of a stored segment, `samples` long, and the silence after it.
    fn segment(&mut self, wav: &[u8], samples: u64, pause_ms: u32) -> anyhow::Result<Vec<u8>>;
    /// What a chapter's end still lacks. The next segment begins another one.
    fn end_chapter(&mut self) -> anyhow::Result<Vec<u8>>;
}

/// An encoder for one listener.
pub type NewEncoder = fn(&Audio) -> Box<dyn LiveEncoder>;

/// Those who listen, as many as are let in.
#[derive(Clone, Debug)]
pub(crate) struct Listeners {
    new_encoder: NewEncoder,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// The podcast that is listened to.
#[derive(Clone, Debug)]
pub(crate) struct Listened {
    pub(crate) tenant: String,
    pub(crate) podcast: Uuid,
    pub(crate) generation: i32,
}

/// A piece of the audio, or why there is no more of it.
pub(crate) type Piece = Result<Bytes, std::io::Error>;

impl Listeners {
    pub(crate) fn new(new_encoder: NewEncoder, most: usize, shutdown: CancellationToken) -> Listeners {
        Listeners { new_encoder, room: Arc::new(Semaphore::new(most)), tasks: TaskTracker::new(), shutdown }
    }

    /// Returns when this process leaves: what would go on for ever has to end.
    pub(crate) async fn leaving(&self) {
        self.shutdown.cancelled().await;
    }

    /// Begins to play. `None`: too many listen already.
    pub(crate) fn listen(&self, env: &Arc<Env>, listened: Listened) -> Option<mpsc::Receiver<Piece>> {
        let permit = self.room.clone().try_acquire_owned().ok()?;
        let (pieces, receiver) = mpsc::channel(PIECES);
        let encoder = Arc::new(Mutex::new((self.new_encoder)(&env.config.audio)));
        let player = Player { env: env.clone(), listened, encoder, pieces, _permit: permit };
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = player.play() => {}
                () = shutdown.cancelled() => {}
            }
        });
        Some(receiver)
    }

    /// Returns when nobody listens any more. Call it after shutdown.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// What a listener gets next.
#[derive(Debug, PartialEq)]
enum Next {
    Chapter(MixResult),
    Segment(SpeechResult, Pause),
    Gap,
    EndOfChapter,
    Wait,
    End,
}

/// `segment`: where in the chapter the listener is, `chapter` where in the podcast.
fn next(place: Place, (chapter, segment): (i32, i32)) -> Next {
    match place {
        Place { chapters, .. } if chapters > 0 && chapter >= chapters => Next::End,
        // Whoever has begun a chapter hears it to its end as it was begun.
        Place { mix: Some(mix), .. } if segment == 0 => Next::Chapter(mix),
        Place { gap: true, .. } => Next::Gap,
        Place { speech: Some((speech, pause)), .. } => Next::Segment(speech, pause),
        Place { written: true, segments, .. } if segment >= segments => Next::EndOfChapter,
        Place { running: true, .. } => Next::Wait,
        _ => Next::End,
    }
}

struct Player {
    env: Arc<Env>,
    listened: Listened,
    /// Used by one at a time: the lock is never waited for.
    encoder: Arc<Mutex<Box<dyn LiveEncoder>>>,
    pieces: mpsc::Sender<Piece>,
    _permit: OwnedSemaphorePermit,
}

/// Why it stopped playing.
enum Stop {
    /// The episode is over, or nobody listens.
    Over,
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        Stop::Broken(error)
    }
}

impl Player {
    async fn play(self) {
        metrics::gauge!("podfleet_listeners").increment(1.0);
        if let Err(Stop::Broken(error)) = self.play_on().await {
            tracing::warn!(podcast.id = %self.listened.podcast, error = format!("{error:#}"), "an episode that is being made cannot be played on");
            // The connection breaks, so that nobody takes it for the end.
            let broken = std::io::Error::other("the audio cannot be read");
            let _ = tokio::time::timeout(PATIENCE, self.pieces.send(Err(broken))).await;
        }
        metrics::gauge!("podfleet_listeners").decrement(1.0);
    }

    async fn play_on(&self) -> Result<(), Stop> {
        let (mut chapter, mut segment) = (0, 0);
        loop {
            let place = self.place((chapter, segment)).await?;
            let seq = place.seq;
            match next(place, (chapter, segment)) {
                Next::Chapter(mix) => {
                    self.copy(&mix.audio).await?;
                    chapter += 1;
                }
                Next::Segment(speech, pause) => {
                    let wav = self.segment(&speech.audio).await?;
                    let pause_ms = self.env.config.audio.pauses.after(pause);
                    let encoded =
                        self.encode(move |encoder| encoder.segment(&wav, speech.samples, pause_ms)).await?;
                    self.send(encoded).await?;
                    segment += 1;
                }
                Next::Gap => segment += 1,
                Next::EndOfChapter => {
                    let encoded = self.encode(|encoder| encoder.end_chapter()).await?;
                    self.send(encoded).await?;
                    (chapter, segment) = (chapter + 1, 0);
                }
                Next::Wait => self.wait(seq).await?,
                Next::End => return Ok(()),
            }
        }
    }

    async fn place(&self, at: (i32, i32)) -> Result<Place, Stop> {
        let Listened { tenant, podcast, generation } = &self.listened;
        let read = self
            .env
            .store
            .run(async |client| playing::place(client, tenant, *podcast, *generation, at).await);
        read.await?.ok_or(Stop::Over)
    }

    /// Until the podcast has news after `seq`.
    async fn wait(&self, seq: i64) -> Result<(), Stop> {
        let podcast = self.listened.podcast;
        let watch = self.env.hub.watch(podcast, seq, seq).context("too many watch podcasts here already");
        let mut watch = watch?;
        tokio::select! {
            news = tokio::time::timeout(LONGEST_WAIT, watch.next()) => match news {
                Ok(Some(_)) => Ok(()),
                // Nothing comes any more, or this process is leaving.
                Ok(None) | Err(_) => Err(Stop::Broken(anyhow::anyhow!("nothing new came"))),
            },
            () = self.pieces.closed() => Err(Stop::Over),
        }
    }

    async fn segment(&self, key: &str) -> Result<Bytes, Stop> {
        let size = self.env.blobs.size(key).await?.context("a segment's audio is gone")?;
        if size > LARGEST_SEGMENT {
            return Err(Stop::Broken(anyhow::anyhow!("a segment has {size} bytes")));
        }
        Ok(self.env.blobs.get(key).await?)
    }

    async fn encode(
        &self,
        work: impl FnOnce(&mut dyn LiveEncoder) -> anyhow::Result<Vec<u8>> + Send + 'static,
    ) -> Result<Vec<u8>, Stop> {
        let encoder = self.encoder.clone();
        let working = tokio::task::spawn_blocking(move || {
            let mut encoder = encoder.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut **encoder)
        });
        Ok(working.await.context("encoding a segment panicked")??)
    }

    /// The frames of a mixed chapter.
    async fn copy(&self, key: &str) -> Result<(), Stop> {
        let size = self.env.blobs.size(key).await?.context("a chapter's audio is gone")?;
        let mut frames = Box::pin(self.env.blobs.stream(key, 0..size).await?);
        while let Some(piece) = frames.next().await {
            self.send_piece(piece.context("reading a chapter")?).await?;
        }
        Ok(())
    }

    async fn send(&self, encoded: Vec<u8>) -> Result<(), Stop> {
        let mut encoded = Bytes::from(encoded);
        while !encoded.is_empty() {
            self.send_piece(encoded.split_to(encoded.len().min(PIECE))).await?;
        }
        Ok(())
    }

    async fn send_piece(&self, piece: Bytes) -> Result<(), Stop> {
        match tokio::time::timeout(PATIENCE, self.pieces.send(Ok(piece))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::Over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech() -> (SpeechResult, Pause) {
        let speech = SpeechResult { audio: "a".into(), samples: 1, lufs: None, true_peak_dbtp: -1.0 };
        (speech, Pause::Turn)
    }

    fn mix() -> MixResult {
        MixResult {
            audio: "m".into(),
            cues: "c".into(),
            frames: 1,
            duration_ms: 1,
            segments: 2,
            loudness: Vec::new(),
            true_peak_dbtp: None,
        }
    }

    #[test]
    fn what_is_finished_is_played_in_order_and_the_rest_waited_for() {
        let running = Place { running: true, chapters: 2, ..Place::default() };
        let (speech, pause) = speech();
        let spoken = Place { speech: Some((speech.clone(), pause)), ..running.clone() };
        let written = Place { written: true, segments: 2, ..running.clone() };
        let mixed = Place { mix: Some(mix()), ..written.clone() };
        let check =
            |place: &Place, at, expected| assert_eq!(next(place.clone(), at), expected, "{place:?} {at:?}");
        check(&Place { running: true, ..Place::default() }, (0, 0), Next::Wait);
        check(&running, (0, 0), Next::Wait);
        check(&spoken, (0, 0), Next::Segment(speech.clone(), pause));
        check(&Place { gap: true, ..running.clone() }, (0, 0), Next::Gap);
        check(&written, (0, 1), Next::Wait);
        check(&written, (0, 2), Next::EndOfChapter);
        check(&running, (0, 2), Next::Wait);
        check(&mixed, (1, 0), Next::Chapter(mix()));
        // Begun before it was mixed: played on segment by segment.
        check(
            &Place { speech: Some((speech.clone(), pause)), ..mixed.clone() },
            (1, 1),
            Next::Segment(speech.clone(), pause),
        );
        check(&mixed, (1, 2), Next::EndOfChapter);
        check(&running, (2, 0), Next::End);
        let over = Place { running: false, ..running };
        check(&over, (1, 0), Next::End);
        // What a failed podcast has is played, and then it is over.
        check(&Place { running: false, ..spoken }, (0, 0), Next::Segment(speech, pause));
    }
}
