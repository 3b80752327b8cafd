use super::Problems;

/// Units a minute that an engine without rates of its own is taken to speak: what people say, in words where words are
/// spaced, in syllables for Korean and in characters for scripts that do not space words. Estimates.
const USUAL: &[(&str, u32)] = &[
    ("en", 175),
    ("ko", 290),
    ("de", 150),
    ("nl", 160),
    ("fr", 185),
    ("es", 180),
    ("it", 175),
    ("pt", 175),
    ("ru", 130),
    ("uk", 130),
    ("pl", 130),
    ("cs", 130),
    ("fi", 110),
    ("hu", 115),
    ("tr", 115),
    ("ja", 330),
    ("zh", 240),
    ("yue", 220),
    ("th", 600),
];

/// For a language that nothing is known of.
const UNKNOWN: u32 = 150;

/// Slower or faster than this is no speech.
const SPEECH: std::ops::RangeInclusive<u32> = 20..=2_000;

/// Words (of usual length, see the writer's `speakable_units`), syllables or characters a minute as espeak-ng 1.51 speaks at
/// its default speed, silences between turns not counted. English and Korean are measured on whole episodes, the others on a
/// paragraph each, trimmed as segments are.
pub(super) const ESPEAK: &[(&str, u32)] = &[
    ("en", 195),
    ("ko", 317),
    ("de", 189),
    ("fr", 244),
    ("es", 192),
    ("it", 188),
    ("pt", 184),
    ("nl", 185),
    ("ru", 188),
    ("uk", 185),
    ("pl", 140),
    ("cs", 153),
    ("fi", 138),
    ("hu", 146),
    ("tr", 131),
    ("sv", 157),
    ("da", 198),
    ("nb", 159),
    ("ro", 166),
    ("el", 188),
    ("id", 153),
    ("vi", 209),
];

/// The rate for a language (BCP 47): of the whole tag, else of its primary tag, else what is usual.
pub(super) fn rate<'r>(rates: impl Fn(&str) -> Option<&'r u32>, language: &str) -> u32 {
    let tag = language.replace('_', "-").to_ascii_lowercase();
    let primary = tag.split('-').next().unwrap_or_default();
    let usual = || USUAL.iter().find(|(known, _)| *known == primary).map(|(_, rate)| *rate);
    rates(&tag).or_else(|| rates(primary)).copied().or_else(usual).unwrap_or(UNKNOWN)
}

/// What people usually speak in a language (BCP 47): words, syllables or characters a minute.
pub fn usual_rate(language: &str) -> u32 {
    rate(|_| None, language)
}

/// Refuses what cannot be a rate of speech, with what to do about it.
pub(super) fn check(engine: &str, language: &str, rate: u32, problems: &mut Problems) {
    if language.is_empty()
        || !language.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
    {
        let remedy = "use language tags in lower case, such as ko or pt-br";
        problems.add(format!("engines.{engine}.rates"), format!("names {language:?}"), remedy);
    }
    if !SPEECH.contains(&rate) {
        let (least, most) = (SPEECH.start(), SPEECH.end());
        problems.add(
            format!("engines.{engine}.rates.{language}"),
            format!("is {rate}"),
            format!("give {least} to {most} words (syllables in Korean, characters in Japanese and Chinese) a minute"),
        );
    }
}
