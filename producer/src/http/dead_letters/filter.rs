//! Which letters a query means.

use common::class::Class;
use common::store::dead_letters::Source;
use common::store::dead_letters::reading::Filter;
use common::work::Kind;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::super::paging;
use super::super::problem::Problem;

/// 0001-01-01T00:00:00Z: PostgreSQL's calendar begins before it, but later than a time can say.
const FIRST_SECOND: i64 = -62_135_596_800;
const TIME_REMEDY: &str = "Give a time such as 2026-01-31T12:00:00Z";

/// What the query string may say. `state` is `open` when it says nothing; `all` stands for every state.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeadLettersQuery")]
pub(in crate::http) struct Wanted {
    /// `open` when it is left out; `all` for every state.
    #[schemars(extend("enum" = ["open", "replayed", "discarded", "all"]))]
    state: Option<String>,
    #[schemars(extend("enum" = ["task", "podcast", "message"]))]
    source: Option<String>,
    #[schemars(with = "Option<common::work::Kind>")]
    kind: Option<String>,
    #[schemars(with = "Option<Class>")]
    class: Option<String>,
    #[schemars(length(min = 1, max = 100))]
    engine: Option<String>,
    #[schemars(with = "Option<Uuid>")]
    podcast: Option<String>,
    #[schemars(length(min = 1, max = 100))]
    fingerprint: Option<String>,
    /// Since this time.
    #[schemars(with = "Option<jiff::Timestamp>")]
    since: Option<String>,
    /// Before this time.
    #[schemars(with = "Option<jiff::Timestamp>")]
    until: Option<String>,
    /// Entries of a page. Default 20.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<i64>,
    /// The `next` of the page before.
    #[schemars(regex(pattern = r"^v1\.[0-9a-f]{32}$"))]
    pub(super) cursor: Option<String>,
}

impl Wanted {
    /// A form of a page sends what nobody chose as an empty text.
    pub(in crate::http) fn without_blanks(self) -> Wanted {
        let chosen = |text: Option<String>| text.filter(|text| !text.is_empty());
        Wanted {
            state: chosen(self.state),
            source: chosen(self.source),
            kind: chosen(self.kind),
            class: chosen(self.class),
            engine: chosen(self.engine),
            podcast: chosen(self.podcast),
            fingerprint: chosen(self.fingerprint),
            since: chosen(self.since),
            until: chosen(self.until),
            ..self
        }
    }

    pub(in crate::http) fn filter(&self) -> Result<Filter, Problem> {
        let state = match self.state.as_deref() {
            None => Some("open".to_owned()),
            Some("all") => None,
            Some(state) => Some(state.to_owned()),
        };
        let filter = Filter {
            state,
            source: self.source.clone(),
            kind: self.kind.clone(),
            class: self.class.clone(),
            engine: self.engine.clone(),
            fingerprint: self.fingerprint.clone(),
            podcast: parsed("podcast", self.podcast.as_deref(), "Give the id of a podcast, a UUID")?,
            since: parsed("since", self.since.as_deref(), TIME_REMEDY)?,
            until: parsed("until", self.until.as_deref(), TIME_REMEDY)?,
        };
        check_filter(&filter)?;
        Ok(filter)
    }

    pub(in crate::http) fn limit(&self) -> Result<i64, Problem> {
        paging::limit(self.limit)
    }

    pub(in crate::http) fn before(&self) -> Result<Option<Uuid>, Problem> {
        paging::before(self.cursor.as_deref())
    }
}

fn parsed<T: std::str::FromStr>(field: &str, text: Option<&str>, remedy: &str) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Problem::bad_request(field, format!("it is {text:?}"), remedy))
}

/// A word that is none of ours would match nothing, which reads like good news.
pub(in crate::http) fn check_filter(filter: &Filter) -> Result<(), Problem> {
    let kinds = Kind::ALL.map(Kind::as_str);
    let classes = Class::ALL.map(Class::as_str);
    let sources = Source::ALL.map(Source::as_str);
    let states = ["open", "replayed", "discarded"];
    let fields: [(&str, &Option<String>, &[&str]); 4] = [
        ("kind", &filter.kind, &kinds),
        ("class", &filter.class, &classes),
        ("source", &filter.source, &sources),
        ("state", &filter.state, &states),
    ];
    for (field, given, known) in fields {
        if let Some(given) = given
            && !known.contains(&given.as_str())
        {
            let remedy = format!("Use one of: {}", known.join(", "));
            return Err(Problem::bad_request(field, format!("{given:?} is none"), remedy));
        }
    }
    for (field, given) in [("engine", &filter.engine), ("fingerprint", &filter.fingerprint)] {
        if given.as_ref().is_some_and(|text| text.is_empty() || text.len() > 100 || text.contains('\0')) {
            return Err(Problem::bad_request(
                field,
                "it is no name",
                "Leave it out, or use one that a letter shows",
            ));
        }
    }
    for (field, given) in [("since", filter.since), ("until", filter.until)] {
        if given.is_some_and(|time| time.as_second() < FIRST_SECOND) {
            return Err(Problem::bad_request(field, "it is before the year 1", TIME_REMEDY));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_letters_are_listed_unless_another_state_is_asked_for() {
        let state = |state: Option<&str>| {
            Wanted { state: state.map(Into::into), ..Wanted::default() }.filter().map(|filter| filter.state)
        };
        assert_eq!(state(None).unwrap().as_deref(), Some("open"));
        assert_eq!(state(Some("all")).unwrap(), None);
        assert_eq!(state(Some("discarded")).unwrap().as_deref(), Some("discarded"));
        assert!(state(Some("closed")).is_err());
    }

    #[test]
    fn filters_that_mean_nothing_are_refused() {
        let with = |change: fn(&mut Wanted)| {
            let mut wanted = Wanted::default();
            change(&mut wanted);
            wanted.filter().map(drop).and(wanted.limit().map(drop)).and(wanted.before().map(drop))
        };
        let bad: [fn(&mut Wanted); 9] = [
            |wanted| wanted.kind = Some("sing".into()),
            |wanted| wanted.class = Some("bad".into()),
            |wanted| wanted.source = Some("x".into()),
            |wanted| wanted.podcast = Some("7".into()),
            |wanted| wanted.since = Some("yesterday".into()),
            |wanted| wanted.until = Some(String::new()),
            |wanted| wanted.engine = Some(String::new()),
            |wanted| wanted.limit = Some(0),
            |wanted| wanted.cursor = Some("v1.x".into()),
        ];
        for (index, change) in bad.into_iter().enumerate() {
            assert!(with(change).is_err(), "{index}");
        }
        assert!(with(|wanted| wanted.class = Some("permanent_input".into())).is_ok());
        assert!(with(|wanted| wanted.since = Some("2026-01-31T12:00:00Z".into())).is_ok());
        assert!(with(|wanted| wanted.since = Some("0001-01-01T00:00:00Z".into())).is_ok());
        assert!(with(|wanted| wanted.since = Some("0000-12-31T23:59:59Z".into())).is_err());
    }
}
