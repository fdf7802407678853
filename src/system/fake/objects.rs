//! A fake of the object store, with what lies in it: both halves, and any number of providers, which
//! are all the same store.

use std::{collections::BTreeMap, io::Read};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Fake, State as World};
use crate::{
    domain::{
        fault::{Code, Fault},
        secret::Secret,
    },
    system::objects::{Access, Bucket, Buckets, Entry, Headers, KeyName, Objects, Page, Rights, Take},
};

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// Its quota in bytes.
    pub quota: Option<u64>,
    /// What lies in it.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// What is said of them besides.
    pub headers: BTreeMap<String, Headers>,
    /// Which key may do what in it.
    pub rights: BTreeMap<String, Rights>,
}

/// A key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opener {
    /// Its secret.
    pub secret: String,
    /// What it is called.
    pub label: String,
    /// It was removed: there will never be another one with its identifier.
    pub gone: bool,
}

/// The store's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Buckets, by a number that they keep whatever they are called.
    pub shelves: BTreeMap<u32, Shelf>,
    /// Numbers by name.
    pub names: BTreeMap<String, u32>,
    /// Keys by identifier.
    pub keys: BTreeMap<String, Opener>,
    /// It does not answer.
    pub down: bool,
    /// How many bytes lie in every bucket besides what is there.
    #[serde(default)]
    pub weight: u64,
    /// Somebody who puts an object of this key into this bucket as soon as another one was read from it.
    #[serde(default)]
    pub meddler: Option<(String, String)>,
}

impl State {
    /// A bucket by one of its names.
    pub fn shelf(&mut self, name: &str) -> Option<&mut Shelf> {
        self.shelves.get_mut(self.names.get(name)?)
    }
    /// Without what was thrown away and is only waiting to be removed.
    pub fn tidied(mut self) -> Self {
        self.names.retain(|name, _| name.strip_suffix(".trash").is_none());
        let in_use: Vec<u32> = self.names.values().copied().collect();
        self.shelves.retain(|number, _| in_use.contains(number));
        let shelves = &self.shelves;
        self.keys.retain(|id, key| !key.gone && shelves.values().any(|s| s.rights.contains_key(id)));
        // Which number a bucket got says only how many there were before.
        let order: BTreeMap<u32, u32> = self.names.values().copied().zip(1..).collect();
        self.names.values_mut().for_each(|number| *number = order[number]);
        self.shelves = self.shelves.into_iter().map(|(number, shelf)| (order[&number], shelf)).collect();
        self
    }
    fn number(&self, name: &str) -> Result<u32> {
        self.names.get(name).copied().with_context(|| format!("there is no bucket `{name}`"))
    }
    fn live(&mut self, id: &str) -> Result<&mut Opener> {
        let key = self.keys.get_mut(id).filter(|key| !key.gone);
        key.ok_or_else(|| refused(404, "NoSuchAccessKey", id))
    }
}

fn refused(status: u16, code: &str, why: &str) -> anyhow::Error {
    Fault::new(Code::StorageRefused, format!("the object storage refuses ({status} {code}): {why}"))
        .next("hostkit storage info NAME")
        .into()
}

impl Fake {
    fn store<T>(&self, look: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut world = self.world.state();
        if world.objects.down {
            bail!(
                Fault::new(
                    Code::ServiceDown,
                    "the object storage http://127.0.0.1:3903 does not answer: connection refused"
                )
                .next("systemctl status hostkit-s3")
            );
        }
        look(&mut world.objects)
    }
    fn change(&self, what: &str, change: impl FnOnce(&mut State) -> Result<()>) -> Result<()> {
        self.store(|_| Ok(()))?;
        self.effect(what, |world: &mut World| change(&mut world.objects))
    }
    /// Opens a bucket as the store would: right key, right secret, right to do so.
    fn open<T>(&self, at: &Access, write: bool, work: impl FnOnce(&mut Shelf) -> Result<T>) -> Result<T> {
        self.store(|store| {
            let key = store.keys.get(&at.key).filter(|key| !key.gone);
            let known = key.is_some_and(|key| key.secret == at.secret.reveal());
            let Some(number) = store.names.get(&at.bucket).copied() else {
                return Err(refused(404, "NoSuchBucket", "Bucket not found"));
            };
            let shelf = store.shelves.get_mut(&number).context("a bucket with a name")?;
            let rights = shelf.rights.get(&at.key).copied().unwrap_or_default();
            if !known || (write && !rights.write) || (!write && !rights.read) {
                return Err(refused(403, "AccessDenied", "Operation is not allowed for this key."));
            }
            work(shelf)
        })
    }
}

impl Buckets for Fake {
    fn ready(&self) -> Result<()> {
        self.store(|_| Ok(()))
    }
    fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        self.store(|store| {
            let weight = store.weight;
            Ok(store.shelf(name).map(|shelf| Bucket {
                quota: shelf.quota,
                objects: shelf.objects.len() as u64,
                bytes: weight + shelf.objects.values().map(|bytes| bytes.len() as u64).sum::<u64>(),
            }))
        })
    }
    fn buckets(&self) -> Result<Vec<String>> {
        self.store(|store| Ok(store.names.keys().cloned().collect()))
    }
    fn create(&mut self, name: &str) -> Result<()> {
        if self.bucket(name)?.is_some() {
            return Ok(());
        }
        self.change("bucket:create", |store| {
            let number = store.shelves.keys().max().map_or(1, |last| last + 1);
            store.shelves.insert(number, Shelf::default());
            store.names.insert(name.to_owned(), number);
            Ok(())
        })
    }
    fn limit(&mut self, name: &str, quota: Option<u64>) -> Result<()> {
        self.change("bucket:limit", |store| {
            store.number(name)?;
            store.shelf(name).context("a bucket with a name")?.quota = quota;
            Ok(())
        })
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let Ok(number) = self.store(|store| store.number(from)) else {
            return self.store(|store| store.number(to)).map(drop);
        };
        self.change("bucket:name", |store| match store.names.insert(to.to_owned(), number) {
            Some(other) if other != number => {
                store.names.insert(to.to_owned(), other);
                bail!("Alias {to} already exists and points to different bucket")
            }
            _ => Ok(()),
        })?;
        self.change("bucket:unname", |store| {
            store.names.remove(from);
            Ok(())
        })
    }
    fn exchange(&mut self, name: &str, incoming: &str, aside: &str) -> Result<()> {
        let Ok(new) = self.store(|store| store.number(incoming)) else {
            return self.store(|store| store.number(name)).map(drop);
        };
        let old = self.store(|store| Ok(store.number(name).ok().filter(|old| *old != new)))?;
        let mut steps = vec![(Some((name, new)), None), (None, Some(incoming))];
        if let Some(old) = old {
            steps.splice(0..0, [(Some((aside, old)), None), (None, Some(name))]);
        }
        for (put, away) in steps {
            self.change("bucket:name", |store| {
                if let Some((name, number)) = put {
                    if store.names.get(name).is_some_and(|other| *other != number) {
                        bail!("Alias {name} already exists and points to different bucket");
                    }
                    store.names.insert(name.to_owned(), number);
                }
                store.names.retain(|name, _| Some(name.as_str()) != away);
                Ok(())
            })?;
        }
        Ok(())
    }
    fn remove(&mut self, name: &str) -> Result<()> {
        let Ok(number) = self.store(|store| store.number(name)) else { return Ok(()) };
        self.change("bucket:remove", |store| {
            if store.shelves.get(&number).is_some_and(|shelf| !shelf.objects.is_empty()) {
                return Err(refused(409, "BucketNotEmpty", "Tried to delete a non-empty bucket"));
            }
            store.shelves.remove(&number);
            store.names.retain(|_, n| *n != number);
            Ok(())
        })
    }
    fn rights(&self, id: &str, bucket: &str) -> Result<Rights> {
        self.store(|store| {
            let held = store.shelf(bucket).and_then(|shelf| shelf.rights.get(id).copied());
            Ok(held.unwrap_or_default())
        })
    }
    fn keys(&self) -> Result<Vec<KeyName>> {
        self.store(|store| {
            let there = store.keys.iter().filter(|(_, key)| !key.gone);
            let name = |(id, key): (&String, &Opener)| KeyName { id: id.clone(), label: key.label.clone() };
            Ok(there.map(name).collect())
        })
    }
    fn import(&mut self, id: &str, secret: &Secret, label: &str) -> Result<()> {
        // One that was removed is there for ever, and opens nothing.
        if self.store(|store| Ok(store.keys.contains_key(id)))? {
            return Ok(());
        }
        self.change("key:import", |store| {
            let (secret, label) = (secret.reveal().to_owned(), label.to_owned());
            store.keys.insert(id.to_owned(), Opener { secret, label, ..Opener::default() });
            Ok(())
        })
    }
    fn forget(&mut self, id: &str) -> Result<()> {
        if self.store(|store| Ok(store.live(id).is_err()))? {
            return Ok(());
        }
        self.change("key:forget", |store| {
            for shelf in store.shelves.values_mut() {
                shelf.rights.remove(id);
            }
            store.live(id).map(|key| key.gone = true)
        })
    }
    fn permit(&mut self, id: &str, bucket: &str, rights: Rights) -> Result<()> {
        self.change("key:permit", |store| {
            store.live(id)?;
            let number = store.number(bucket)?;
            let shelf = store.shelves.get_mut(&number).context("a bucket with a name")?;
            if rights == Rights::default() {
                shelf.rights.remove(id);
            } else {
                shelf.rights.insert(id.to_owned(), rights);
            }
            Ok(())
        })
    }
}

impl Objects for Fake {
    fn list(&self, at: &Access, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page> {
        self.open(at, false, |shelf| {
            let mut rest = shelf
                .objects
                .iter()
                .filter(|(key, _)| key.starts_with(prefix) && from.is_none_or(|from| key.as_str() > from));
            let entries: Vec<Entry> = rest
                .by_ref()
                .take(limit)
                .map(|(key, bytes)| Entry {
                    key: key.clone(),
                    size: bytes.len() as u64,
                    modified: "2026-11-20T08:00:00.000Z".into(),
                    tag: bytes
                        .iter()
                        .fold(5381_u64, |sum, b| sum.wrapping_mul(33) ^ u64::from(*b))
                        .to_string(),
                })
                .collect();
            let next = rest.next().and(entries.last()).map(|last| last.key.clone());
            Ok(Page { entries, next })
        })
    }
    fn size(&self, at: &Access, key: &str) -> Result<Option<u64>> {
        self.open(at, false, |shelf| Ok(shelf.objects.get(key).map(|bytes| bytes.len() as u64)))
    }
    fn read(&self, at: &Access, key: &str, take: Take<'_>) -> Result<bool> {
        let found = self.open(at, false, |shelf| {
            let bytes = shelf.objects.get(key).cloned();
            Ok(bytes.map(|bytes| (bytes, shelf.headers.get(key).cloned().unwrap_or_default())))
        })?;
        let Some((bytes, headers)) = found else { return Ok(false) };
        self.store(|store| {
            if store.meddler.as_ref().is_some_and(|(bucket, _)| *bucket == at.bucket)
                && let Some((_, key)) = store.meddler.take()
                && let Some(shelf) = store.shelf(&at.bucket)
            {
                shelf.headers.insert(key.clone(), Headers::new());
                shelf.objects.insert(key, b"late".to_vec());
            }
            Ok(())
        })?;
        take(bytes.len() as u64, &headers, &mut bytes.as_slice())?;
        Ok(true)
    }
    fn put(&mut self, at: &Access, key: &str, headers: &Headers, from: &mut dyn Read) -> Result<u64> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).context("reading what is to be stored")?;
        self.open(at, true, |shelf| {
            let others: usize = shelf.objects.iter().filter(|(k, _)| *k != key).map(|(_, b)| b.len()).sum();
            match shelf.quota {
                Some(quota) if (others + bytes.len()) as u64 > quota => {
                    Err(refused(403, "AccessDenied", "Bucket size quota is reached"))
                }
                _ => Ok(()),
            }
        })?;
        let length = bytes.len() as u64;
        self.effect("object:put", |world| {
            let shelf = world.objects.shelf(&at.bucket).context("a bucket with a name")?;
            shelf.objects.insert(key.to_owned(), bytes);
            shelf.headers.insert(key.to_owned(), headers.clone());
            Ok(())
        })?;
        Ok(length)
    }
    fn delete(&mut self, at: &Access, keys: &[String]) -> Result<()> {
        self.open(at, true, |_| Ok(()))?;
        self.effect("object:delete", |world| {
            let shelf = world.objects.shelf(&at.bucket).context("a bucket with a name")?;
            shelf.objects.retain(|key, _| !keys.contains(key));
            shelf.headers.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }
}
