//! Showing an environment without showing its secrets.

use super::EnvKey;

/// Words in a name that say that its value is nobody's business.
const WORDS: &[&str] =
    &["PASSWORD", "PASSWD", "PASS", "SECRET", "TOKEN", "KEY", "PRIVATE", "CREDENTIAL", "AUTH", "DSN", "SALT"];
/// Words that a value uses before a secret, in connection strings and queries.
const INSIDE: &[&str] = &["password=", "passwd=", "pwd=", "secret=", "token=", "api_key=", "apikey="];
/// Shorter values are hidden wholly: what their ends would show is too much of them.
const LONG: usize = 24;
/// How much is shown of either end of a long one.
const END: usize = 4;
/// What stands for what is not shown.
const HIDDEN: &str = "…";

/// Whether a variable looks like a secret, by its name or its value.
pub fn is_secret(key: &EnvKey, value: &str) -> bool {
    let name = key.as_str().to_ascii_uppercase();
    !value.is_empty() && (WORDS.iter().any(|word| name.contains(word)) || holds_password(value))
}

/// Whether a value carries a password in a URL, or names one.
fn holds_password(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    // A password with a `/` in it is still one, so it is not looked for where URLs would have it end.
    let url =
        lower.split("://").skip(1).any(|rest| rest.rfind('@').is_some_and(|at| rest[..at].contains(':')));
    url || lower.contains("-----begin") || INSIDE.iter().any(|word| lower.contains(word))
}

/// A secret's outline: the ends of a long one, nothing of a short one.
pub fn mask(value: &str) -> String {
    let letters: Vec<char> = value.chars().collect();
    let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !plain || letters.len() < LONG {
        return HIDDEN.to_owned();
    }
    let end = |part: &[char]| part.iter().collect::<String>();
    format!("{}{HIDDEN}{}", end(&letters[..END]), end(&letters[letters.len() - END..]))
}

/// A value as it may be shown.
pub fn shown(key: &EnvKey, value: &str) -> String {
    if is_secret(key, value) { mask(value) } else { value.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn show(key: &str, value: &str) -> String {
        shown(&key.parse().unwrap(), value)
    }

    #[test]
    fn names_that_speak_of_secrets_are_masked() {
        for key in [
            "PASSWORD",
            "db_password",
            "SMTP_PASS",
            "SECRET_KEY_BASE",
            "token",
            "API_KEY",
            "apikey",
            "PRIVATE",
            "GOOGLE_CREDENTIALS",
            "BASIC_AUTH",
            "SENTRY_DSN",
        ] {
            assert_eq!(show(key, "hunter2"), "…", "{key}");
        }
        assert_eq!(show("STRIPE_KEY", "sk_live_0123456789abcdef9f2c"), "sk_l…9f2c");
        assert_eq!(show("API_KEY", ""), "");
    }

    #[test]
    fn values_that_carry_a_password_are_masked_whatever_their_name() {
        for value in [
            "postgresql://blog:hunter2@127.0.0.1/blog_db",
            "postgresql://blog:hun/ter2@127.0.0.1/blog_db",
            "redis://:hunter2@127.0.0.1:6379/1",
            "host=db user=blog password=hunter2",
            "https://api.example.com/?Token=hunter2",
            "-----BEGIN RSA KEY-----\nhunter2",
        ] {
            assert_eq!(show("PLACE", value), "…", "{value}");
        }
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        for value in ["1", "https://example.com:8080/a?b=c", "ana@example.com", "a: b", "it's \"x\""] {
            assert_eq!(show("PLACE", value), value);
        }
    }

    #[test]
    fn of_a_short_secret_or_one_with_odd_characters_nothing_is_shown() {
        for value in ["0123456789abcdef", "sk live 0123456789abcdef9f2c", "geheimß0123456789abcdef9f2c\n"] {
            assert_eq!(mask(value), "…");
        }
    }
}
