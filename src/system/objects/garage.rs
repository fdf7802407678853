//! Garage's administration interface, version 2.

use std::{cell::OnceCell, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::{Agent, http::Request};
use zeroize::Zeroizing;

use super::{Bucket, Buckets, Key, KeyName, Rights, http};
use crate::domain::{
    fault::{Code, Fault},
    secret::Secret,
};

/// Where the interface is, on the loopback.
pub const ADMIN_PORT: u16 = 3903;
/// What Garage's token is called where it is kept.
pub const TOKEN: &str = "GARAGE_ADMIN_TOKEN";
/// What the secret is called that Garage's nodes would know each other by.
pub const RPC_SECRET: &str = "GARAGE_RPC_SECRET";
/// A moment that is over: a key that expires then has lapsed.
const LONG_AGO: &str = "2000-01-01T00:00:00Z";

/// The Garage of this host.
#[derive(Debug)]
pub struct Garage {
    secrets: PathBuf,
    port: u16,
    caller: OnceCell<Caller>,
}

/// What is needed to speak to it, read when it is first spoken to.
#[derive(Debug)]
struct Caller {
    agent: Agent,
    token: Secret,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BucketAnswer {
    id: String,
    objects: u64,
    bytes: u64,
    quotas: Quotas,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quotas {
    max_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BucketName {
    global_aliases: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyAnswer {
    name: String,
    expired: bool,
    buckets: Vec<KeyBucket>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyBucket {
    global_aliases: Vec<String>,
    permissions: Rights,
}

#[derive(Deserialize)]
struct KeyItem {
    id: String,
    name: String,
    expired: bool,
}

/// Names here are HostKit's own: letters, digits, hyphens and dots, so they stand in an address as they are.
impl Garage {
    /// The Garage on this port of the loopback, which was started with the token in the file `secrets`.
    pub fn new(secrets: PathBuf, port: u16) -> Self {
        Self { secrets, port, caller: OnceCell::new() }
    }

    /// Where it answers, as faults name it.
    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn caller(&self) -> Result<&Caller> {
        if let Some(caller) = self.caller.get() {
            return Ok(caller);
        }
        let path = self.secrets.display();
        let text = match std::fs::read_to_string(&self.secrets) {
            Ok(text) => Zeroizing::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => bail!(none()),
            Err(e) => return Err(e).with_context(|| format!("reading `{path}`")),
        };
        // It is systemd's to read as well, so its lines are definitions.
        let token = text.lines().find_map(|line| line.strip_prefix(TOKEN)?.strip_prefix('='));
        let token = token.with_context(|| format!("`{path}` holds no token"))?;
        Ok(self.caller.get_or_init(|| Caller { agent: http::agent(), token: Secret::new(token) }))
    }

    /// One call; `None` when it answers that there is no such thing.
    fn call(&self, method: &str, what: &str, body: Option<&Value>) -> Result<Option<Value>> {
        let Caller { agent, token } = self.caller()?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v2/{what}", self.address()))
            .header("authorization", format!("Bearer {}", token.reveal()));
        // It may hold the secret of a key.
        let body = Zeroizing::new(body.map(serde_json::to_vec).transpose()?.unwrap_or_default());
        let mut response = http::ask(agent, request.body(body.as_slice())?, &self.address())?;
        let text = http::text(&mut response, &self.address())?;
        let status = response.status().as_u16();
        match status {
            200..=299 if text.trim().is_empty() => Ok(Some(Value::Null)),
            200..=299 => Ok(Some(serde_json::from_str(&text).context("reading Garage's answer")?)),
            404 => Ok(None),
            _ => bail!(refused(what, status, &text)),
        }
    }

    fn get<T: for<'a> Deserialize<'a>>(&self, what: &str) -> Result<Option<T>> {
        let answer = self.call("GET", what, None)?;
        answer.map(|value| serde_json::from_value(value).context("reading Garage's answer")).transpose()
    }

    fn post(&self, what: &str, body: &Value) -> Result<()> {
        match self.call("POST", what, Some(body))? {
            Some(_) => Ok(()),
            None => bail!("Garage knows nothing of what `{}` is about", verb(what)),
        }
    }

    fn find(&self, name: &str) -> Result<Option<BucketAnswer>> {
        self.get(&format!("GetBucketInfo?globalAlias={name}"))
    }

    /// The number of a bucket that must be there.
    fn id(&self, name: &str) -> Result<String> {
        Ok(self.find(name)?.with_context(|| format!("there is no bucket `{name}`"))?.id)
    }
}

fn verb(what: &str) -> &str {
    what.split('?').next().unwrap_or(what)
}

fn none() -> Fault {
    Fault::new(Code::NotInitialised, "this host has no object storage of its own")
        .next("hostkit init --with-storage")
}

/// What Garage objects to. It says nothing secret, and is not told what it was sent.
fn refused(what: &str, status: u16, text: &str) -> Fault {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or("no reason").lines().next().unwrap_or_default();
    let fault =
        Fault::new(Code::StorageRefused, format!("Garage refuses `{}` ({status}): {message}", verb(what)));
    match status {
        401 | 403 => fault.next("hostkit init --with-storage    # puts its token right"),
        _ => fault.next("journalctl -u hostkit-s3 -n 20"),
    }
}

impl Buckets for Garage {
    fn ready(&self) -> Result<()> {
        let health: Value = self.get("GetClusterHealth")?.unwrap_or_default();
        if health["status"] == "healthy" {
            return Ok(());
        }
        let status = health["status"].as_str().unwrap_or("unknown");
        Err(Fault::new(Code::ServiceDown, format!("the object storage is not ready: {status}"))
            .next("journalctl -u hostkit-s3 -n 20")
            .into())
    }
    fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        Ok(self.find(name)?.map(|b| Bucket { quota: b.quotas.max_size, objects: b.objects, bytes: b.bytes }))
    }
    fn buckets(&self) -> Result<Vec<String>> {
        let all: Vec<BucketName> = self.get("ListBuckets")?.unwrap_or_default();
        Ok(all.into_iter().flat_map(|b| b.global_aliases).collect())
    }
    fn create(&mut self, name: &str) -> Result<()> {
        match self.find(name)? {
            Some(_) => Ok(()),
            None => self.post("CreateBucket", &json!({ "globalAlias": name })),
        }
    }
    fn limit(&mut self, name: &str, quota: Option<u64>) -> Result<()> {
        let body = json!({ "quotas": { "maxSize": quota, "maxObjects": null } });
        self.post(&format!("UpdateBucket?id={}", self.id(name)?), &body)
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        // A bucket always has a name: first the new one, then without the old one.
        let Some(bucket) = self.find(from)? else {
            return self.id(to).map(drop);
        };
        self.post("AddBucketAlias", &json!({ "bucketId": bucket.id, "globalAlias": to }))?;
        self.post("RemoveBucketAlias", &json!({ "bucketId": bucket.id, "globalAlias": from }))
    }
    fn remove(&mut self, name: &str) -> Result<()> {
        let Some(bucket) = self.find(name)? else { return Ok(()) };
        let now = json!({ "bucketId": bucket.id, "olderThanSecs": 0 });
        self.post("CleanupIncompleteUploads", &now)?;
        self.post(&format!("DeleteBucket?id={}", bucket.id), &json!({}))
    }
    fn key(&self, id: &str) -> Result<Option<Key>> {
        let Some(key) = self.get::<KeyAnswer>(&format!("GetKeyInfo?id={id}"))? else { return Ok(None) };
        let rights = |b: KeyBucket| b.global_aliases.into_iter().map(move |name| (name, b.permissions));
        Ok(Some(Key {
            label: key.name,
            lapsed: key.expired,
            rights: key.buckets.into_iter().flat_map(rights).collect(),
        }))
    }
    fn keys(&self) -> Result<Vec<KeyName>> {
        let all: Vec<KeyItem> = self.get("ListKeys")?.unwrap_or_default();
        let name = |key: KeyItem| KeyName { id: key.id, label: key.name, lapsed: key.expired };
        Ok(all.into_iter().map(name).collect())
    }
    fn import(&mut self, id: &str, secret: &Secret, label: &str) -> Result<()> {
        self.post(
            "ImportKey",
            &json!({ "accessKeyId": id, "secretAccessKey": secret.reveal(), "name": label }),
        )
    }
    fn lapse(&mut self, id: &str) -> Result<()> {
        self.post(&format!("UpdateKey?id={id}"), &json!({ "expiration": LONG_AGO }))
    }
    fn revive(&mut self, id: &str) -> Result<()> {
        self.post(&format!("UpdateKey?id={id}"), &json!({ "neverExpires": true }))
    }
    fn forget(&mut self, id: &str) -> Result<()> {
        // One that is gone already is answered with 404.
        self.call("POST", &format!("DeleteKey?id={id}"), Some(&json!({}))).map(drop)
    }
    fn permit(&mut self, id: &str, bucket: &str, rights: Rights) -> Result<()> {
        let bucket = self.id(bucket)?;
        let Rights { read, write, owner } = rights;
        let change = |read, write, owner| {
            json!({ "bucketId": bucket, "accessKeyId": id,
                    "permissions": { "read": read, "write": write, "owner": owner } })
        };
        // Each of the two changes only what it says `true` of.
        if !(read && write && owner) {
            self.post("DenyBucketKey", &change(!read, !write, !owner))?;
        }
        if read || write || owner {
            self.post("AllowBucketKey", &change(read, write, owner))?;
        }
        Ok(())
    }
}
