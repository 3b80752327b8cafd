//! What an edit changed: a list that, applied in order, makes the edited value of the original.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One place that differs. Without `before` it was added, without `after` it was removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// JSON Pointer (RFC 6901); empty for the whole.
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub before: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub after: Option<Value>,
}

/// A `null` that is there is a value, and not an absence.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Objects are compared by name, lists by place; anything else as a whole.
pub fn difference(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(String::new(), before, after, &mut changes);
    changes
}

fn compare(path: String, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                let path = format!("{path}/{}", escaped(name));
                match new.get(name) {
                    Some(other) => compare(path, value, other, changes),
                    None => changes.push(Change { path, before: Some(value.clone()), after: None }),
                }
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                let path = format!("{path}/{}", escaped(name));
                changes.push(Change { path, before: None, after: Some(value.clone()) });
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for (index, (value, other)) in old.iter().zip(new).enumerate() {
                compare(format!("{path}/{index}"), value, other, changes);
            }
            // From the end, so that each place still is where the list says when its turn comes.
            for (index, value) in old.iter().enumerate().skip(new.len()).rev() {
                changes.push(Change {
                    path: format!("{path}/{index}"),
                    before: Some(value.clone()),
                    after: None,
                });
            }
            for (index, value) in new.iter().enumerate().skip(old.len()) {
                changes.push(Change {
                    path: format!("{path}/{index}"),
                    before: None,
                    after: Some(value.clone()),
                });
            }
        }
        _ if before == after => {}
        _ => changes.push(Change { path, before: Some(before.clone()), after: Some(after.clone()) }),
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Makes the edited value of the original.
    fn apply(value: &mut Value, change: &Change) {
        let Some((parent, name)) = change.path.rsplit_once('/') else {
            *value = change.after.clone().unwrap();
            return;
        };
        let name = name.replace("~1", "/").replace("~0", "~");
        match value.pointer_mut(parent).unwrap() {
            Value::Object(fields) => match &change.after {
                Some(after) => drop(fields.insert(name, after.clone())),
                None => drop(fields.remove(&name)),
            },
            Value::Array(items) => {
                let index: usize = name.parse().unwrap();
                match (&change.before, &change.after) {
                    (None, Some(after)) => items.insert(index, after.clone()),
                    (_, Some(after)) => items[index] = after.clone(),
                    (_, None) => drop(items.remove(index)),
                }
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_change_tells_what_was_and_what_is() {
        let before = json!({"text": "a", "take": 0, "gone": null, "list": [1, 2, 3]});
        let after = json!({"text": "b", "take": 0, "a/b": true, "list": [1, 4]});
        let changes = serde_json::to_value(difference(&before, &after)).unwrap();
        assert_eq!(
            changes,
            json!([
                {"path": "/gone", "before": null},
                {"path": "/list/1", "before": 2, "after": 4},
                {"path": "/list/2", "before": 3},
                {"path": "/text", "before": "a", "after": "b"},
                {"path": "/a~1b", "after": true},
            ])
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..5i64).prop_map(Value::from),
            "[a/~]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a/~]{1,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_difference_makes_the_edited_of_the_original(before in value(), after in value()) {
            let mut made = before.clone();
            let changes = difference(&before, &after);
            // It survives being stored.
            let stored: Vec<Change> = serde_json::from_value(serde_json::to_value(&changes).unwrap()).unwrap();
            for change in &stored {
                apply(&mut made, change);
            }
            prop_assert_eq!(&made, &after);
            prop_assert_eq!(changes.is_empty(), before == after);
        }
    }
}
