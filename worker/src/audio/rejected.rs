use common::class::Class;

/// Why a recording is not fit to be a segment. The messages are for people: they say what is wrong with the recording.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Rejected {
    #[error("the engine answered {0} instead of WAV, MP3, FLAC or Ogg Vorbis audio")]
    NotAudio(&'static str),
    #[error("the engine answered {0}; have it answer WAV, MP3, FLAC or Ogg Vorbis")]
    Unsupported(String),
    #[error("the recording is empty")]
    Empty,
    #[error("the recording is silent: its loudest moment is at {loudest_dbfs:.0} dBFS")]
    Silent { loudest_dbfs: f64 },
    #[error("the recording has {bytes} bytes; at most {limit} are taken")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the recording lasts {seconds:.1} s, more than the {limit:.1} s its text can take")]
    TooLong { seconds: f64, limit: f64 },
    #[error("the recording lasts {seconds:.1} s, less than the {limit:.1} s its text must take")]
    TooShort { seconds: f64, limit: f64 },
    #[error("the recording ends early: {0}")]
    Truncated(String),
    #[error("the recording is clipped: {percent:.1} % of it is flat at full scale")]
    Clipped { percent: f64 },
    #[error("the recording cannot be decoded: {0}")]
    Damaged(String),
}

impl Rejected {
    /// What the retry policy makes of it. A format we cannot read comes back the same on every attempt; everything else is
    /// a wrong answer worth asking for again.
    pub fn class(&self) -> Class {
        match self {
            Rejected::Unsupported(_) => Class::PermanentConfig,
            _ => Class::Transient,
        }
    }
}
