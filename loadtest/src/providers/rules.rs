//! Misbehaviour by rule: which calls it meets, and what becomes of them.

use serde::{Deserialize, Serialize};

use super::latency::Latency;

/// Rules that a provider keeps at a time.
pub(super) const MOST_RULES: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// `POST /v1/audio/speech`
    Speech,
    /// `POST /v1/chat/completions`
    Chat,
}

/// Which calls, and what happens to them. A call must match everything that is given. The first matching rule with a
/// misbehaviour decides about that, the first matching rule with a latency about that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Stands in the ledger beside the calls that it met.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Somewhere in the text to speak, or in the messages: a text, or a list of which all must be there.
    #[serde(skip_serializing_if = "Words::is_empty")]
    pub contains: Words,
    /// In the name of the schema that a chat request sends, or in its messages when it sends none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// In the name of the voice that is to speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// The first of the calls that match so far that is met. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// How many calls are met. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// From 0 to 1: how likely a call that matches so far is met. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub misbehaviour: Option<Misbehaviour>,
    /// Of `throttled`, `throttled_date` and `server_error`: what `Retry-After` asks for. Default 1000 for the first two, none for
    /// the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Of `server_error` (default 500) and of `schema_refused` and `format_refused` (default 400).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// In place of the endpoint's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// Texts that must all be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMore", into = "OneOrMore")]
pub struct Words(pub Vec<String>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Words {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<OneOrMore> for Words {
    fn from(words: OneOrMore) -> Words {
        match words {
            OneOrMore::One(word) => Words(vec![word]),
            OneOrMore::More(words) => Words(words),
        }
    }
}

impl From<Words> for OneOrMore {
    fn from(mut words: Words) -> OneOrMore {
        match (words.0.pop(), words.0.is_empty()) {
            (Some(word), true) => OneOrMore::One(word),
            (last, _) => OneOrMore::More(words.0.into_iter().chain(last).collect()),
        }
    }
}

/// What goes wrong. `docs/providers.md` says what becomes of each in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misbehaviour {
    // Of both endpoints.
    /// 429 with `Retry-After` in seconds.
    Throttled,
    /// 429 with `Retry-After` as a date.
    ThrottledDate,
    /// 429 with `insufficient_quota`.
    NoCredit,
    /// 401.
    WrongKey,
    /// 500, or another status.
    ServerError,
    /// Never answers.
    StallBefore,
    /// Half of the answer, then nothing.
    StallMiddle,
    /// The connection is reset (RST) before a byte of the answer.
    ResetBefore,
    /// Half of the answer, then a reset.
    ResetMiddle,
    /// Half of the answer, then the connection is closed (FIN).
    CloseMiddle,
    /// 200 with nothing in it.
    Empty,
    /// A web page with status 200.
    Html,
    /// Ten gigabytes.
    EndlessBody,
    /// `Content-Encoding: gzip`: a few megabytes that unpack to ten gigabytes.
    GzipBomb,
    // Of speech.
    /// Half of the samples that its header announces, with a true `Content-Length`.
    TruncatedAudio,
    /// MP3, whatever was asked for.
    WrongContainerMp3,
    /// Ogg Opus, whatever was asked for.
    WrongContainerOgg,
    /// Several MP3 files one after another, the first with a Xing header that tells of itself alone.
    LyingMp3,
    /// A WAV header of 44 bytes, and no sample.
    HeaderOnlyWav,
    // Of chat.
    /// JSON that stops in the middle, with `finish_reason: stop`.
    CutJson,
    /// `<think>` and more before the JSON.
    ThinkNoise,
    /// Words and a Markdown fence around the JSON.
    ProseAround,
    /// JSON of another shape than the schema's.
    SchemaIgnored,
    /// An error for every request with `json_schema`; weaker forms are answered.
    SchemaRefused,
    /// An error for every request with a `response_format`.
    FormatRefused,
    /// One sentence again and again, until `max_tokens`.
    Repetition,
    /// `finish_reason: length` in the middle.
    LengthCut,
    /// The right shape in another language.
    WrongLanguage,
}

impl Misbehaviour {
    pub const ALL: [Misbehaviour; 28] = [
        Misbehaviour::Throttled,
        Misbehaviour::ThrottledDate,
        Misbehaviour::NoCredit,
        Misbehaviour::WrongKey,
        Misbehaviour::ServerError,
        Misbehaviour::StallBefore,
        Misbehaviour::StallMiddle,
        Misbehaviour::ResetBefore,
        Misbehaviour::ResetMiddle,
        Misbehaviour::CloseMiddle,
        Misbehaviour::Empty,
        Misbehaviour::Html,
        Misbehaviour::EndlessBody,
        Misbehaviour::GzipBomb,
        Misbehaviour::TruncatedAudio,
        Misbehaviour::WrongContainerMp3,
        Misbehaviour::WrongContainerOgg,
        Misbehaviour::LyingMp3,
        Misbehaviour::HeaderOnlyWav,
        Misbehaviour::CutJson,
        Misbehaviour::ThinkNoise,
        Misbehaviour::ProseAround,
        Misbehaviour::SchemaIgnored,
        Misbehaviour::SchemaRefused,
        Misbehaviour::FormatRefused,
        Misbehaviour::Repetition,
        Misbehaviour::LengthCut,
        Misbehaviour::WrongLanguage,
    ];

    /// As in files, and in `docs/providers.md`.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }

    /// Whether a call to the endpoint can go wrong like this.
    pub fn applies_to(self, endpoint: Endpoint) -> bool {
        use Misbehaviour::*;
        match self {
            TruncatedAudio | WrongContainerMp3 | WrongContainerOgg | LyingMp3 | HeaderOnlyWav => {
                endpoint == Endpoint::Speech
            }
            CutJson | ThinkNoise | ProseAround | SchemaIgnored | SchemaRefused | FormatRefused
            | Repetition | LengthCut | WrongLanguage => endpoint == Endpoint::Chat,
            _ => true,
        }
    }
}

impl Rule {
    pub fn new(misbehaviour: Misbehaviour) -> Rule {
        Rule { misbehaviour: Some(misbehaviour), ..Rule::default() }
    }

    /// Only calls to this endpoint.
    #[must_use]
    pub fn at(mut self, endpoint: Endpoint) -> Rule {
        self.endpoint = Some(endpoint);
        self
    }

    /// Only calls with this in their text, too.
    #[must_use]
    pub fn on(mut self, text: &str) -> Rule {
        self.contains.0.push(text.to_owned());
        self
    }

    /// Only the first so many.
    #[must_use]
    pub fn times(mut self, times: u64) -> Rule {
        self.times = Some(times);
        self
    }

    /// What is wrong with the rule itself.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err("probability is from 0 to 1".into());
        }
        if self.status.is_some_and(|status| !(400..=599).contains(&status)) {
            return Err("status is from 400 to 599".into());
        }
        if self.misbehaviour.is_none() && self.latency.is_none() {
            return Err("the rule does nothing; give it \"do\" or \"latency\"".into());
        }
        match (self.misbehaviour, self.endpoint) {
            (Some(misbehaviour), Some(endpoint)) if !misbehaviour.applies_to(endpoint) => {
                Err(format!("{} does not go with endpoint {endpoint:?}", misbehaviour.name()))
            }
            _ => Ok(()),
        }
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        let within = |part: &Option<String>, whole: &str| {
            part.as_ref().is_none_or(|part| whole.contains(part.as_str()))
        };
        self.endpoint.is_none_or(|endpoint| endpoint == asked.endpoint)
            && self.misbehaviour.is_none_or(|misbehaviour| misbehaviour.applies_to(asked.endpoint))
            && self.contains.0.iter().all(|word| asked.text.contains(word.as_str()))
            && within(&self.schema, asked.schema.unwrap_or(asked.text))
            && within(&self.voice, asked.voice)
    }
}

/// A call as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) endpoint: Endpoint,
    /// What is to be spoken, or all messages.
    pub(super) text: &'a str,
    pub(super) schema: Option<&'a str>,
    pub(super) voice: &'a str,
}

/// What the rules say about a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Fate {
    /// The rule that misbehaves.
    pub(super) rule: Option<Rule>,
    pub(super) latency: Option<Latency>,
}

impl Fate {
    pub(super) fn misbehaviour(&self) -> Option<Misbehaviour> {
        self.rule.as_ref().and_then(|rule| rule.misbehaviour)
    }
}

/// Rules in force, with how often each matched.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<(Rule, u64)>,
    random: fastrand::Rng,
}

impl Rules {
    pub(super) fn new(rules: Vec<Rule>, seed: u64) -> Rules {
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        Rules { rules, random: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn list(&self) -> Vec<Rule> {
        self.rules.iter().map(|(rule, _)| rule.clone()).collect()
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn add(&mut self, more: Vec<Rule>) -> Result<(), String> {
        if self.rules.len() + more.len() > MOST_RULES {
            return Err(format!("at most {MOST_RULES} rules are kept"));
        }
        for (place, rule) in more.iter().enumerate() {
            rule.check().map_err(|reason| format!("rule {}: {reason}", place + 1))?;
        }
        self.rules.extend(more.into_iter().map(|rule| (rule, 0)));
        Ok(())
    }

    /// Decides about a call. Rules after the one that decides do not count it.
    pub(super) fn decide(&mut self, asked: &Asked<'_>) -> Fate {
        let mut fate = Fate::default();
        for (rule, matched) in &mut self.rules {
            let useful = fate.rule.is_none() && rule.misbehaviour.is_some()
                || fate.latency.is_none() && rule.latency.is_some();
            if !useful || !rule.matches(asked) {
                continue;
            }
            *matched += 1;
            let first = rule.from.unwrap_or(1);
            let met = *matched >= first && rule.times.is_none_or(|times| *matched < first + times);
            if !met || rule.probability.is_some_and(|likely| self.random.f64() >= likely) {
                continue;
            }
            fate.latency = fate.latency.or(rule.latency);
            if fate.rule.is_none() && rule.misbehaviour.is_some() {
                fate.rule = Some(rule.clone());
            }
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fates(rules: Vec<Rule>, texts: &[&str]) -> Vec<Option<Misbehaviour>> {
        let mut rules = Rules::new(rules, 3);
        let asked = |text| Asked { endpoint: Endpoint::Speech, text, schema: None, voice: "" };
        texts.iter().map(|text| rules.decide(&asked(text)).misbehaviour()).collect()
    }

    #[test]
    fn rules_follow_each_other() {
        use Misbehaviour::*;
        let rules = vec![Rule::new(Throttled).times(2), Rule::new(Empty).on("b").times(1)];
        let expected = [Some(Throttled), Some(Throttled), None, Some(Empty), None];
        assert_eq!(fates(rules, &["a", "b", "a", "b", "b"]), expected);
        let third = Rule { from: Some(3), times: Some(1), ..Rule::new(Html) };
        assert_eq!(fates(vec![third], &["a", "b", "c", "d"]), [None, None, Some(Html), None]);
        let both = Rule::new(Html).on("a").on("b");
        assert_eq!(fates(vec![both], &["a", "b", "b a"]), [None, None, Some(Html)]);
    }

    #[test]
    fn a_rule_for_another_endpoint_does_not_match() {
        assert_eq!(fates(vec![Rule::new(Misbehaviour::CutJson)], &["a"]), [None]);
        assert!(Rule::new(Misbehaviour::CutJson).at(Endpoint::Speech).check().is_err());
    }

    #[test]
    fn probability_is_kept_and_repeats_with_its_seed() {
        let rule = Rule { probability: Some(0.2), ..Rule::new(Misbehaviour::Empty) };
        let texts = vec!["a"; 2000];
        let met = fates(vec![rule.clone()], &texts);
        let count = met.iter().flatten().count();
        assert!((340..460).contains(&count), "{count}");
        assert_eq!(fates(vec![rule], &texts), met);
    }

    #[test]
    fn latency_and_misbehaviour_may_come_from_two_rules() {
        let slow = Rule { latency: Some(Latency::fixed_ms(5)), ..Rule::default() };
        let mut rules = Rules::new(vec![slow, Rule::new(Misbehaviour::Html)], 0);
        let fate = rules.decide(&Asked { endpoint: Endpoint::Chat, text: "", schema: None, voice: "" });
        assert_eq!(
            (fate.misbehaviour(), fate.latency),
            (Some(Misbehaviour::Html), Some(Latency::fixed_ms(5)))
        );
    }

    #[test]
    fn rules_read_as_they_are_written() {
        let json = json!({"contains": "tides", "do": "server_error", "status": 503, "times": 2});
        let rule: Rule = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&rule).unwrap(), json);
        let json = json!({"contains": ["tides", "Moon"], "do": "empty"});
        let rule: Rule = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(&rule).unwrap(), json);
        assert!(serde_json::from_value::<Rule>(json!({"do": "sing"})).is_err());
        assert!(serde_json::from_value::<Rule>(json!({"contain": "x"})).is_err());
        for bad in [json!({}), json!({"do": "html", "probability": 2}), json!({"do": "html", "status": 200})]
        {
            let rule: Rule = serde_json::from_value(bad).unwrap();
            assert!(rule.check().is_err(), "{rule:?}");
        }
    }

    #[test]
    fn every_misbehaviour_is_listed_once() {
        let names: std::collections::BTreeSet<String> = Misbehaviour::ALL.iter().map(|m| m.name()).collect();
        assert_eq!(names.len(), Misbehaviour::ALL.len());
    }
}
