//! Understanding what a Redis server says of itself.

use std::collections::BTreeMap;

use anyhow::Result;
use redis::Value;

use super::Content;

/// A number from `INFO`.
pub(super) fn field(info: &str, name: &str) -> u64 {
    let value = info.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or_default()
}

/// The databases in the keyspace section of `INFO`: `db5:keys=1,expires=0,avg_ttl=0`.
pub(super) fn contents(info: &str) -> BTreeMap<u32, Content> {
    let database = |line: &str| {
        let (number, rest) = line.strip_prefix("db")?.split_once(':')?;
        let count = |name: &str| {
            let value = rest.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|v| v.trim().parse().ok()).unwrap_or_default()
        };
        Some((number.parse().ok()?, Content { keys: count("keys"), expires: count("expires") }))
    };
    info.lines().filter_map(database).collect()
}

/// The answer to `ACL GETUSER` as words.
pub(super) fn described(answer: Value) -> Result<Vec<String>> {
    let fields: BTreeMap<String, Value> = redis::from_redis_value(answer)?;
    let mut rule: Vec<String> = Vec::new();
    // Lists until Redis 6, texts since.
    let text = |name: &str| -> Result<Vec<String>> {
        match fields.get(name) {
            Some(Value::Array(_)) => Ok(redis::from_redis_value_ref(&fields[name])?),
            Some(value) => {
                let text: String = redis::from_redis_value_ref(value)?;
                Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
            }
            None => Ok(Vec::new()),
        }
    };
    rule.extend(
        text("flags")?
            .into_iter()
            .filter(|f| !matches!(f.as_str(), "allkeys" | "allchannels" | "allcommands")),
    );
    rule.extend(text("passwords")?.into_iter().map(|hash| format!("#{hash}")));
    rule.extend(text("keys")?);
    rule.push("resetchannels".to_owned());
    rule.extend(text("channels")?);
    rule.extend(text("commands")?);
    if let Some(Value::Array(selectors)) = fields.get("selectors") {
        for selector in selectors {
            let parts: BTreeMap<String, String> = redis::from_redis_value_ref(selector)?;
            let part = |name: &str| parts.get(name).cloned().unwrap_or_default();
            let words = [part("commands"), part("keys"), part("channels")].join(" ");
            rule.push(format!("({})", words.trim()));
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyspace_is_read() {
        let info = "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0\r\ndb1023:keys=1,expires=0,avg_ttl=0\r\n";
        let found = contents(info);
        assert_eq!(found[&0], Content { keys: 3, expires: 1 });
        assert_eq!(found[&1023].keys, 1);
        assert_eq!(field("# Memory\r\nused_memory:1234\r\nused_memory_rss:1\r\n", "used_memory"), 1234);
    }
}
