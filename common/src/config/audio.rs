use serde::{Deserialize, Serialize};

use super::Problems;
use crate::work::Pause;

/// `[audio]`: how episodes sound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audio {
    /// `PODFLEET__AUDIO__SAMPLE_RATE`: of the MP3, in Hz: 24000 or 44100. Default 24000.
    pub sample_rate: u32,
    /// `PODFLEET__AUDIO__BITRATE_KBPS`: constant bit rate of the MP3. Default 64.
    pub bitrate_kbps: u32,
    /// `PODFLEET__AUDIO__TARGET_LUFS`: integrated loudness of a chapter (EBU R 128). Default -16.
    pub target_lufs: f64,
    /// `PODFLEET__AUDIO__MAX_TRUE_PEAK_DBTP`: of the finished file. Default -1; the limiter starts 0.5 to 2 dB
    /// below it, by bit rate, for what the encoder overshoots.
    pub max_true_peak_dbtp: f64,
    /// `PODFLEET__AUDIO__FADE_MS`: at both ends of a segment. Default 5. 0 turns the fades off.
    pub fade_ms: u32,
    pub pauses: Pauses,
}

/// `[audio.pauses]`: silence after a segment, in milliseconds, by its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pauses {
    /// `PODFLEET__AUDIO__PAUSES__SENTENCE_MS`. Default 350.
    pub sentence_ms: u32,
    /// `PODFLEET__AUDIO__PAUSES__TURN_MS`. Default 450.
    pub turn_ms: u32,
    /// `PODFLEET__AUDIO__PAUSES__PARAGRAPH_MS`. Default 700.
    pub paragraph_ms: u32,
    /// `PODFLEET__AUDIO__PAUSES__CHAPTER_MS`. Default 1200, at least 200: chapters are joined in this silence.
    pub chapter_ms: u32,
}

impl Default for Audio {
    fn default() -> Self {
        Audio {
            sample_rate: 24_000,
            bitrate_kbps: 64,
            target_lufs: -16.0,
            max_true_peak_dbtp: -1.0,
            fade_ms: 5,
            pauses: Pauses::default(),
        }
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Pauses { sentence_ms: 350, turn_ms: 450, paragraph_ms: 700, chapter_ms: 1200 }
    }
}

impl Pauses {
    /// The silence after a segment, by its reason, in milliseconds.
    pub fn after(&self, pause: Pause) -> u32 {
        match pause {
            Pause::Sentence => self.sentence_ms,
            Pause::Turn => self.turn_ms,
            Pause::Paragraph => self.paragraph_ms,
            Pause::Chapter => self.chapter_ms,
        }
    }
}

impl Audio {
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.add_if(
            ![24_000, 44_100].contains(&self.sample_rate),
            "audio.sample_rate",
            format!("is {}", self.sample_rate),
            "use 24000 or 44100",
        );
        let allowed: &[u32] = if self.sample_rate == 24_000 {
            &[32, 40, 48, 64, 80, 96, 112, 128, 160]
        } else {
            &[64, 80, 96, 112, 128, 160, 192]
        };
        problems.add_if(
            !allowed.contains(&self.bitrate_kbps),
            "audio.bitrate_kbps",
            format!("is {}", self.bitrate_kbps),
            &format!("at {} Hz use one of {allowed:?}", self.sample_rate),
        );
        problems.add_if(
            !(-30.0..=-9.0).contains(&self.target_lufs),
            "audio.target_lufs",
            format!("is {}", self.target_lufs),
            "give a loudness from -30 to -9",
        );
        problems.add_if(
            !(-9.0..=0.0).contains(&self.max_true_peak_dbtp),
            "audio.max_true_peak_dbtp",
            format!("is {}", self.max_true_peak_dbtp),
            "give a peak from -9 to 0",
        );
        problems.add_if(
            self.pauses.chapter_ms < 200,
            "audio.pauses.chapter_ms",
            format!("is {}", self.pauses.chapter_ms),
            "give at least 200: chapters are joined in this silence",
        );
    }
}
