//! Garage's administration interface, version 2.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    path::PathBuf,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use ureq::{Agent, http::Request};
use zeroize::Zeroizing;

use super::{Bucket, Buckets, KeyName, Rights, http};
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

/// The Garage of this host.
///
/// Every call costs it the check of a deliberately slow hash, some 20 ms. So the rights in a bucket are
/// known from when it was last looked at, if nothing was changed since, and what may be so already is told
/// without being asked first.
#[derive(Debug)]
pub struct Garage {
    secrets: PathBuf,
    port: u16,
    caller: OnceCell<Caller>,
    seen: RefCell<BTreeMap<String, Option<BucketAnswer>>>,
    ids: RefCell<BTreeMap<String, String>>,
}

/// What is needed to speak to it, read when it is first spoken to.
#[derive(Debug)]
struct Caller {
    agent: Agent,
    token: Secret,
}

#[derive(Clone, Debug, Deserialize)]
struct BucketAnswer {
    id: String,
    objects: u64,
    bytes: u64,
    quotas: Quotas,
    keys: Vec<KeyAnswer>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quotas {
    max_size: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyAnswer {
    access_key_id: String,
    permissions: Rights,
}

impl BucketAnswer {
    fn rights(&self, id: &str) -> Rights {
        let key = self.keys.iter().find(|key| key.access_key_id == id);
        key.map(|key| key.permissions).unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BucketName {
    global_aliases: Vec<String>,
}

#[derive(Deserialize)]
struct KeyItem {
    id: String,
    name: String,
}

/// Names here are HostKit's own: letters, digits, hyphens and dots, so they stand in an address as they are.
impl Garage {
    /// The Garage on this port of the loopback, which was started with the token in the file `secrets`.
    pub fn new(secrets: PathBuf, port: u16) -> Self {
        Self { secrets, port, caller: OnceCell::new(), seen: RefCell::default(), ids: RefCell::default() }
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

    /// One call: the status and the text of the answer.
    fn call(&self, method: &str, what: &str, body: Option<&Value>) -> Result<(u16, String)> {
        let Caller { agent, token } = self.caller()?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/v2/{what}", self.address()))
            .header("authorization", format!("Bearer {}", token.reveal()));
        // It may hold the secret of a key.
        let body = Zeroizing::new(body.map(serde_json::to_vec).transpose()?.unwrap_or_default());
        let mut response = http::ask(agent, request.body(body.as_slice())?, &self.address())?;
        let text = http::text(&mut response, &self.address())?;
        Ok((response.status().as_u16(), text))
    }

    /// Asks; `None` when there is no such thing.
    fn get<T: DeserializeOwned>(&self, what: &str) -> Result<Option<T>> {
        match self.call("GET", what, None)? {
            (200..=299, text) => Ok(Some(parse(&text)?)),
            (404, _) => Ok(None),
            (status, text) => bail!(refused(what, status, &text)),
        }
    }

    /// Tells; `None` when it is so already, or when there is no such thing: what `fine` is the status of.
    fn tell(&self, what: &str, body: &Value, fine: Option<u16>) -> Result<Option<String>> {
        self.seen.borrow_mut().clear();
        match self.call("POST", what, Some(body))? {
            (200..=299, text) => Ok(Some(text)),
            (status, _) if Some(status) == fine => Ok(None),
            (status, text) => bail!(refused(what, status, &text)),
        }
    }

    fn post(&self, what: &str, body: &Value) -> Result<()> {
        self.tell(what, body, None).map(drop)
    }

    fn find(&self, name: &str) -> Result<Option<BucketAnswer>> {
        let found: Option<BucketAnswer> = self.get(&format!("GetBucketInfo?globalAlias={name}"))?;
        self.seen.borrow_mut().insert(name.to_owned(), found.clone());
        if let Some(bucket) = &found {
            self.ids.borrow_mut().insert(name.to_owned(), bucket.id.clone());
        }
        Ok(found)
    }

    /// The number of a bucket that must be there.
    fn id(&self, name: &str) -> Result<String> {
        if let Some(id) = self.ids.borrow().get(name) {
            return Ok(id.clone());
        }
        Ok(self.find(name)?.with_context(|| format!("there is no bucket `{name}`"))?.id)
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).context("reading Garage's answer")
}

fn none() -> Fault {
    Fault::new(Code::NotInitialised, "this host has no object storage of its own")
        .next("hostkit init --with-storage")
}

/// What Garage objects to. It says nothing secret, and is not told what it was sent.
fn refused(what: &str, status: u16, text: &str) -> Fault {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or("no reason").lines().next().unwrap_or_default();
    let verb = what.split('?').next().unwrap_or(what);
    let fault = Fault::new(Code::StorageRefused, format!("Garage refuses `{verb}` ({status}): {message}"));
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
        if let Some(made) = self.tell("CreateBucket", &json!({ "globalAlias": name }), Some(409))? {
            self.ids.borrow_mut().insert(name.to_owned(), parse::<BucketAnswer>(&made)?.id);
        }
        Ok(())
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
        self.ids.borrow_mut().clear();
        self.post("AddBucketAlias", &json!({ "bucketId": bucket.id, "globalAlias": to }))?;
        self.post("RemoveBucketAlias", &json!({ "bucketId": bucket.id, "globalAlias": from }))
    }
    fn exchange(&mut self, name: &str, incoming: &str, aside: &str) -> Result<()> {
        let Some(new) = self.find(incoming)? else { return self.id(name).map(drop) };
        let old = self.find(name)?.filter(|old| old.id != new.id);
        self.ids.borrow_mut().clear();
        let alias =
            |bucket: &BucketAnswer, alias: &str| json!({ "bucketId": bucket.id, "globalAlias": alias });
        if let Some(old) = old {
            self.post("AddBucketAlias", &alias(&old, aside))?;
            self.post("RemoveBucketAlias", &alias(&old, name))?;
        }
        self.post("AddBucketAlias", &alias(&new, name))?;
        self.post("RemoveBucketAlias", &alias(&new, incoming))
    }
    fn remove(&mut self, name: &str) -> Result<()> {
        let Some(bucket) = self.find(name)? else { return Ok(()) };
        self.ids.borrow_mut().clear();
        let now = json!({ "bucketId": bucket.id, "olderThanSecs": 0 });
        self.post("CleanupIncompleteUploads", &now)?;
        self.post(&format!("DeleteBucket?id={}", bucket.id), &json!({}))
    }
    fn rights(&self, id: &str, bucket: &str) -> Result<Rights> {
        let seen = self.seen.borrow().get(bucket).cloned();
        let found = seen.map_or_else(|| self.find(bucket), Ok)?;
        Ok(found.map(|found| found.rights(id)).unwrap_or_default())
    }
    fn keys(&self) -> Result<Vec<KeyName>> {
        let all: Vec<KeyItem> = self.get("ListKeys")?.unwrap_or_default();
        Ok(all.into_iter().map(|key| KeyName { id: key.id, label: key.name }).collect())
    }
    fn import(&mut self, id: &str, secret: &Secret, label: &str) -> Result<()> {
        let key = json!({ "accessKeyId": id, "secretAccessKey": secret.reveal(), "name": label });
        self.tell("ImportKey", &key, Some(409)).map(drop)
    }
    fn forget(&mut self, id: &str) -> Result<()> {
        self.tell(&format!("DeleteKey?id={id}"), &json!({}), Some(404)).map(drop)
    }
    fn permit(&mut self, id: &str, bucket: &str, rights: Rights) -> Result<()> {
        let number = self.id(bucket)?;
        let change = |what: Rights| json!({ "bucketId": number, "accessKeyId": id, "permissions": what });
        let mut excess = Rights { read: true, write: true, owner: true };
        if rights != Rights::default() {
            let allowed = self.tell("AllowBucketKey", &change(rights), None)?.unwrap_or_default();
            excess = parse::<BucketAnswer>(&allowed)?.rights(id);
        }
        // Each of the two changes only what it says `true` of.
        let excess = Rights {
            read: excess.read && !rights.read,
            write: excess.write && !rights.write,
            owner: excess.owner && !rights.owner,
        };
        if excess == Rights::default() { Ok(()) } else { self.post("DenyBucketKey", &change(excess)) }
    }
}
