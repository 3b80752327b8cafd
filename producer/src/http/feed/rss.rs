//! A feed as RSS 2.0 with the tags of iTunes and of Podcasting 2.0: a pure function of what is told.

use std::collections::BTreeMap;

use common::store::feeds::{Entry, Settings};
use jiff::fmt::rfc2822;
use ring::digest;
use rss::extension::itunes::{ITunesCategory, ITunesChannelExtension, ITunesItemExtension, ITunesOwner};
use rss::extension::{Extension, ExtensionMap};
use rss::{Channel, Enclosure, Guid, Item};
use uuid::{Builder, Uuid};

/// Where the feed and what it refers to are found.
pub(super) struct Place<'a> {
    /// `https://podcasts.example.org`, without a slash at its end.
    pub(super) base: &'a str,
    /// What every address bears, because players send no keys.
    pub(super) token: Option<&'a str>,
}

impl Place<'_> {
    fn address(&self, path: &str) -> String {
        let token = self.token.map(|token| format!("?token={token}")).unwrap_or_default();
        format!("{}{path}{token}", self.base)
    }
}

/// The whole feed. Two of the same entries are the same, byte by byte.
pub(super) fn feed(place: &Place<'_>, tenant: &str, settings: &Settings, entries: &[Entry]) -> String {
    let title = settings.title.clone().unwrap_or_else(|| format!("Podcasts of {tenant}"));
    let description = settings.description.clone().unwrap_or_else(|| format!("{title}, made by Podfleet."));
    let author = settings.author.clone().unwrap_or_else(|| tenant.to_owned());
    let language = settings.language.clone().or_else(|| entries.first().map(|entry| entry.language.clone()));
    let newest = entries.iter().map(|entry| entry.finished_at).max();
    let owner = settings
        .email
        .as_ref()
        .map(|email| ITunesOwner { name: Some(author.clone()), email: Some(email.clone()) });
    let itunes = ITunesChannelExtension {
        author: Some(author),
        // Its address is a secret: no directory may list it.
        block: Some("Yes".into()),
        categories: vec![ITunesCategory {
            text: settings.category.clone().unwrap_or_else(|| "Education".into()),
            subcategory: None,
        }],
        image: settings.image_url.clone(),
        explicit: Some(settings.explicit.to_string()),
        owner,
        r#type: Some("episodic".into()),
        ..ITunesChannelExtension::default()
    };
    let this = place.address("/feed.xml");
    let link = [("href", this.as_str()), ("rel", "self"), ("type", "application/rss+xml")];
    let channel = Channel {
        link: settings.link.clone().unwrap_or_else(|| place.base.to_owned()),
        title,
        description,
        language,
        last_build_date: newest.and_then(date),
        generator: Some(concat!("Podfleet ", env!("CARGO_PKG_VERSION")).into()),
        itunes_ext: Some(itunes),
        extensions: extensions(vec![
            ("atom", tag("atom:link", &link, None)),
            ("podcast", tag("podcast:locked", &[], Some("yes"))),
            ("podcast", tag("podcast:guid", &[], Some(&guid(&this)))),
            ("podcast", tag("podcast:medium", &[], Some("podcast"))),
        ]),
        namespaces: [
            ("itunes", "http://www.itunes.com/dtds/podcast-1.0.dtd"),
            ("podcast", "https://podcastindex.org/namespace/1.0"),
            ("atom", "http://www.w3.org/2005/Atom"),
        ]
        .map(|(prefix, uri)| (prefix.to_owned(), uri.to_owned()))
        .into(),
        items: entries.iter().map(|entry| item(place, settings, entry)).collect(),
        ..Channel::default()
    };
    channel.to_string()
}

fn item(place: &Place<'_>, settings: &Settings, entry: &Entry) -> Item {
    let title = clean(entry.title.as_deref().unwrap_or("Untitled"));
    let chapters = clean(&entry.chapters.join("\n"));
    let of = |file: &str| place.address(&format!("/v1/podcasts/{}/{file}", entry.id));
    let transcript = |file: &str, media_type: &str| {
        let url = of(file);
        let attributes = [("url", url.as_str()), ("type", media_type), ("language", entry.language.as_str())];
        ("podcast", tag("podcast:transcript", &attributes, None))
    };
    let chapters_url = of("chapters.json");
    let chapters_tag =
        tag("podcast:chapters", &[("url", &chapters_url), ("type", "application/json+chapters")], None);
    Item {
        description: Some(if chapters.is_empty() { title.clone() } else { chapters }),
        title: Some(title),
        pub_date: date(entry.finished_at),
        guid: Some(Guid { value: format!("urn:uuid:{}", entry.id), permalink: false }),
        enclosure: Some(Enclosure {
            url: of("audio"),
            length: entry.episode.bytes.to_string(),
            mime_type: "audio/mpeg".into(),
        }),
        itunes_ext: Some(ITunesItemExtension {
            duration: Some(entry.episode.duration_ms.div_ceil(1_000).to_string()),
            explicit: Some(settings.explicit.to_string()),
            episode_type: Some("full".into()),
            image: entry.cover_url.clone(),
            ..ITunesItemExtension::default()
        }),
        extensions: extensions(vec![
            transcript("transcript.vtt", "text/vtt"),
            transcript("transcript.srt", "application/x-subrip"),
            transcript("transcript.json", "application/json"),
            ("podcast", chapters_tag),
        ]),
        ..Item::default()
    }
}

/// A title may hold what XML has no place for, however it is written.
fn clean(text: &str) -> String {
    text.chars().filter(|c| matches!(*c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)).collect()
}

fn tag(name: &str, attributes: &[(&str, &str)], value: Option<&str>) -> Extension {
    Extension {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        attrs: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        children: BTreeMap::new(),
    }
}

fn extensions(tags: Vec<(&str, Extension)>) -> ExtensionMap {
    let mut map = ExtensionMap::new();
    for (namespace, tag) in tags {
        let local = tag.name.split(':').next_back().unwrap_or_default().to_owned();
        map.entry(namespace.to_owned()).or_default().entry(local).or_default().push(tag);
    }
    map
}

/// As RSS writes dates. None is the zone of everything here.
fn date(at: jiff::Timestamp) -> Option<String> {
    rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
}

/// Podcasting 2.0: UUID v5 of the feed's address without its scheme. The token stays out of it: a new one is the same feed.
fn guid(address: &str) -> String {
    const PODCASTS: Uuid = Uuid::from_u128(0xead4_c236_bf58_58c6_a2c6_a6b2_8d12_8cb6);
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split_once('?').map_or(address, |(rest, _)| rest);
    let named = [PODCASTS.as_bytes(), address.trim_end_matches('/').as_bytes()].concat();
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &named);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::work::Episode;

    fn entry() -> Entry {
        let episode = Episode {
            audio: "a".into(),
            transcript_vtt: "v".into(),
            transcript_srt: "s".into(),
            transcript_json: "j".into(),
            transcript_txt: "t".into(),
            chapters_json: "c".into(),
            bytes: 1_234,
            duration_ms: 61_001,
            segments: 2,
            lufs: None,
            true_peak_dbtp: None,
        };
        Entry {
            id: Uuid::nil(),
            title: Some("<Tides> & \u{7}\"moons\"\u{ffff}".into()),
            language: "ko".into(),
            finished_at: jiff::Timestamp::UNIX_EPOCH,
            episode,
            chapters: vec!["조수".into(), "달".into()],
            cover_url: Some("https://example.org/a.jpg?x=1&y=2".into()),
        }
    }

    #[test]
    fn an_episode_has_all_that_a_player_needs() {
        let place = Place { base: "https://pods.example", token: Some("t0") };
        let text = feed(&place, "acme", &Settings::default(), &[entry()]);
        let read = Channel::read_from(text.as_bytes()).unwrap();
        assert_eq!((read.title.as_str(), read.language.as_deref()), ("Podcasts of acme", Some("ko")));
        let item = &read.items[0];
        assert_eq!(item.title.as_deref(), Some("<Tides> & \"moons\""));
        assert_eq!(item.pub_date.as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        let enclosure = item.enclosure.as_ref().unwrap();
        let id = Uuid::nil();
        assert_eq!(enclosure.url, format!("https://pods.example/v1/podcasts/{id}/audio?token=t0"));
        assert_eq!((enclosure.length.as_str(), enclosure.mime_type.as_str()), ("1234", "audio/mpeg"));
        let itunes = item.itunes_ext.as_ref().unwrap();
        assert_eq!(itunes.duration.as_deref(), Some("62"));
        assert_eq!(itunes.image.as_deref(), Some("https://example.org/a.jpg?x=1&y=2"));
        let transcripts = &item.extensions["podcast"]["transcript"];
        assert_eq!(transcripts.len(), 3);
        assert!(transcripts.iter().all(|one| one.attrs["url"].ends_with("?token=t0")));
        assert_eq!(item.extensions["podcast"]["chapters"][0].attrs["type"], "application/json+chapters");
        assert_eq!(feed(&place, "acme", &Settings::default(), &[entry()]), text);
    }

    #[test]
    fn a_feed_says_what_was_set() {
        let settings = Settings {
            title: Some("Tides".into()),
            email: Some("a@example.org".into()),
            image_url: Some("https://example.org/cover.png".into()),
            explicit: true,
            ..Settings::default()
        };
        let text = feed(&Place { base: "http://localhost", token: None }, "acme", &settings, &[]);
        let read = Channel::read_from(text.as_bytes()).unwrap();
        let itunes = read.itunes_ext.unwrap();
        assert_eq!(itunes.image.as_deref(), Some("https://example.org/cover.png"));
        assert_eq!(itunes.explicit.as_deref(), Some("true"));
        assert_eq!(itunes.owner.unwrap().email.as_deref(), Some("a@example.org"));
        assert!(!text.contains("token"));
    }

    /// The example of the namespace's own documentation.
    #[test]
    fn a_feed_keeps_its_guid_whatever_its_token() {
        assert_eq!(guid("https://mp3s.nashownotes.com/pc20rss.xml"), "917393e3-1b1e-5cef-ace4-edaa54e1f810");
        assert_eq!(guid("https://x/feed.xml?token=a"), guid("https://x/feed.xml?token=b"));
    }
}
