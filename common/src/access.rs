//! Who may do what: roles, and the keys that stand for them.

use anyhow::anyhow;
use blake3::Hash;
use ring::rand::{SecureRandom, SystemRandom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the bearer of a key may do. Each may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks: podcasts and their files, events, dead letters without their payloads.
    Viewer,
    /// Asks for podcasts and cancels them.
    Submit,
    /// Decides about dead letters, and may look at payloads.
    Support,
    /// Makes and revokes keys.
    Admin,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Submit, Role::Support, Role::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Submit => "submit",
            Role::Support => "support",
            Role::Admin => "admin",
        }
    }

    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What every key begins with, so that a key in a log or a repository is known for what it is.
const MARK: &str = "podfleet_";
/// Hexadecimal digits that tell one key from another; they are no secret.
const LABEL_DIGITS: usize = 8;
const SECRET_BYTES: usize = 32;
/// `podfleet_<8 digits>_<64 digits>`.
const LENGTH: usize = MARK.len() + LABEL_DIGITS + 1 + 2 * SECRET_BYTES;

/// A key that was just made. Its text is shown once and kept nowhere.
pub struct FreshKey {
    pub text: String,
    /// The mark and the label: what lists show of it.
    pub prefix: String,
    pub hash: Hash,
}

impl FreshKey {
    /// 256 random bits of the operating system, and 32 more that name the key.
    pub fn make() -> anyhow::Result<FreshKey> {
        let random = random::<{ LABEL_DIGITS / 2 + SECRET_BYTES }>()?;
        let (label, secret) = random.split_at(LABEL_DIGITS / 2);
        let prefix = format!("{MARK}{}", hex(label));
        let text = format!("{prefix}_{}", hex(secret));
        Ok(FreshKey { hash: hash(&text), prefix, text })
    }
}

/// 256 random bits of the operating system: what a session's cookie holds.
pub fn secret() -> anyhow::Result<String> {
    Ok(hex(&random::<SECRET_BYTES>()?))
}

/// Whether a text has the shape of a [`secret`].
pub fn is_secret(text: &str) -> bool {
    text.len() == 2 * SECRET_BYTES && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut random = [0; N];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| anyhow!("the operating system gives no random numbers"))?;
    Ok(random)
}

/// The token of a feed that was just made: what players show instead of a key. It is shown once, too.
pub struct FeedToken {
    pub text: String,
    pub hash: Hash,
}

const FEED_MARK: &str = "feed_";

impl FeedToken {
    pub fn make() -> anyhow::Result<FeedToken> {
        let text = format!("{FEED_MARK}{}", secret()?);
        Ok(FeedToken { hash: hash(&text), text })
    }

    pub fn has_shape(text: &str) -> bool {
        text.strip_prefix(FEED_MARK).is_some_and(is_secret)
    }
}

/// What is kept of a key. A secret of 256 random bits cannot be guessed, so it needs no slow hash. Comparing two of these takes
/// the same time wherever they differ.
pub fn hash(key: &str) -> Hash {
    blake3::hash(key.as_bytes())
}

/// Whether a text has the shape of a key: what has not is told so, instead of being looked for.
pub fn has_shape(text: &str) -> bool {
    text.len() == LENGTH
        && text.starts_with(MARK)
        && text[MARK.len()..].bytes().enumerate().all(|(i, byte)| match i {
            LABEL_DIGITS => byte == b'_',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// Names of tenants and of principals are also names of folders and of users of the broker.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        // These two are names of folders that are not one's own.
        && !matches!(name, "." | "..")
}

/// What a name must be, for those who gave another.
pub const NAME_RULE: &str = "1 to 64 letters, digits, dots, hyphens and underscores";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_shape_and_no_other_has_its_hash() {
        let (a, b) = (FreshKey::make().unwrap(), FreshKey::make().unwrap());
        assert!(has_shape(&a.text) && a.text.starts_with(&a.prefix), "{}", a.prefix);
        assert_eq!(a.hash, hash(&a.text));
        assert!(a.text != b.text && a.prefix != b.prefix && a.hash != b.hash);
        let secret = a.text.rsplit('_').next().unwrap();
        assert_eq!(secret.len() * 4, 256, "bits");
        for bad in ["", "podfleet_", &a.prefix, &a.text[1..], &a.text.to_uppercase(), &format!("{}0", a.text)]
        {
            assert!(!has_shape(bad), "{bad}");
        }
        assert!(!has_shape(&"가".repeat(LENGTH / 3)));
    }

    #[test]
    fn a_feeds_token_is_no_key() {
        let (a, b) = (FeedToken::make().unwrap(), FeedToken::make().unwrap());
        assert!(FeedToken::has_shape(&a.text) && !has_shape(&a.text) && a.text != b.text);
        assert_eq!(a.hash, hash(&a.text));
        for bad in ["", "feed_", &a.text[1..], &format!("{}0", a.text), &a.text.to_uppercase()] {
            assert!(!FeedToken::has_shape(bad), "{bad}");
        }
        assert!(!FeedToken::has_shape(&FreshKey::make().unwrap().text));
    }

    #[test]
    fn roles_include_those_before_them() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }

    #[test]
    fn a_name_can_be_a_folder() {
        for good in ["acme", "studio-7", "a.b_c"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "가", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
