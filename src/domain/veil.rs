//! Hiding secrets in what others write.

use super::{
    env::{EnvText, mask::is_secret},
    secret::Secret,
};

/// What stands in the place of a secret.
const MASK: &str = "••••••";
/// A shorter secret would hide half of everything.
const SHORTEST: usize = 6;

/// What must not be shown, wherever it turns up.
#[derive(Debug, Default)]
pub struct Veil(Vec<Secret>);

impl Veil {
    /// Over the secrets of an environment, and over the passwords in its addresses.
    pub fn of(text: &EnvText) -> Self {
        let mut hidden: Vec<&str> = Vec::new();
        for (key, value) in text.iter() {
            if is_secret(key, value) {
                hidden.extend(value.lines());
                hidden.extend(password(value));
            }
        }
        hidden.retain(|secret| secret.len() >= SHORTEST);
        Self::over_these(hidden.into_iter().map(Secret::new).collect())
    }

    /// Over these, however short they are.
    pub fn over_these(mut hidden: Vec<Secret>) -> Self {
        // The longest first: one may be a part of another.
        hidden.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        Self(hidden)
    }

    /// A line without them.
    pub fn over(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for secret in &self.0 {
            if line.contains(secret.reveal()) {
                line = line.replace(secret.reveal(), MASK);
            }
        }
        line
    }
}

/// The password in an address.
fn password(address: &str) -> Option<&str> {
    let (login, _) = address.split_once("://")?.1.rsplit_once('@')?;
    login.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_whole_and_so_is_the_password_in_an_address() {
        let text = "DATABASE_URL=postgresql://blog:s3cr3ts@localhost/db\nAPI_KEY=abcdefgh\nPORT=8001\nPIN_TOKEN=12\n";
        let veil = Veil::of(&EnvText::parse(text).unwrap());
        assert_eq!(
            veil.over("to postgresql://blog:s3cr3ts@localhost/db on 8001"),
            format!("to {MASK} on 8001")
        );
        assert_eq!(
            veil.over("login failed: s3cr3ts, abcdefgh, 12"),
            format!("login failed: {MASK}, {MASK}, 12")
        );
        assert!(!format!("{veil:?}").contains("s3cr3ts"));
    }
}
