//! Pages of lists, newest first: a page ends with a cursor that leads to the next one, and new entries do not shift it.

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::problem::Problem;

const USUAL: i64 = 20;
const MOST: i64 = 100;

/// What the query string of a list without filters may say.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    /// Entries of a page. Default 20.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<i64>,
    /// The `next` of the page before.
    #[schemars(regex(pattern = "^v1\\.[0-9a-f]{32}$"))]
    cursor: Option<String>,
}

impl Paging {
    /// How many, and before which.
    pub(super) fn read(&self) -> Result<(i64, Option<Uuid>), Problem> {
        Ok((limit(self.limit)?, before(self.cursor.as_deref())?))
    }
}

pub(super) fn limit(given: Option<i64>) -> Result<i64, Problem> {
    let limit = given.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) {
        return Ok(limit);
    }
    let remedy = format!("Give a number from 1 to {MOST}");
    Err(Problem::bad_request("limit", format!("it is {limit}"), remedy))
}

pub(super) fn before(cursor: Option<&str>) -> Result<Option<Uuid>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    cursor.strip_prefix("v1.").and_then(|id| id.parse().ok()).map(Some).ok_or_else(|| {
        Problem::bad_request("cursor", "it is not a cursor", "Use the `next` of the page before")
    })
}

/// Cuts what was found to a page. One more than asked for was looked for: it tells whether there is another page. The cursor
/// has a form that invites nobody to build one.
pub(super) fn page<T>(mut found: Vec<T>, limit: i64, id: impl Fn(&T) -> Uuid) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| format!("v1.{}", id(last).simple()));
    (found, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_the_next_page() {
        let ids: Vec<Uuid> = (0..3).map(Uuid::from_u128).collect();
        let (first, next) = page(ids.clone(), 2, |id| *id);
        assert_eq!(first, ids[..2]);
        assert_eq!(before(next.as_deref()).unwrap(), Some(ids[1]));
        assert_eq!(page(ids.clone(), 3, |id| *id), (ids, None), "the last page has none");
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for (given, cursor) in
            [(Some(0), None), (Some(101), None), (None, Some("7")), (None, Some("v1.x")), (None, Some(""))]
        {
            let paging = Paging { limit: given, cursor: cursor.map(Into::into) };
            assert!(paging.read().is_err(), "{paging:?}");
        }
        assert_eq!(Paging::default().read().unwrap(), (20, None));
    }
}
