//! S3, the same for every store: requests are made and signed by `rusty-s3` and sent by `ureq`.

use std::{
    cell::OnceCell,
    io::{self, Read},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use rusty_s3::{
    S3Action,
    actions::{CreateMultipartUpload, ListObjectsV2, ObjectIdentifier},
};
use ureq::{
    Agent, Body,
    http::{HeaderValue, Request, Response},
};

use super::{
    Access, BATCH, Entry, Headers, Objects, Page, Take,
    access::{check_key, shown},
    http, is_kept,
};
use crate::domain::fault::{Code, Fault};

/// What one request carries of an object, in bytes; memory is needed for one. Ten thousand of them, the
/// most that S3 takes, are 312 GiB.
const PART: usize = 32 << 20;
/// The most parts an object may have.
const PARTS: usize = 10_000;
/// How long a signed request is good for.
const SIGNED_FOR: Duration = Duration::from_mins(15);
/// How often a request is made that the store did not take for want of time or connection, and the pause
/// before the next.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(400);

/// S3 over HTTP.
#[derive(Debug, Default)]
pub struct S3 {
    agent: OnceCell<Agent>,
}

impl S3 {
    /// Makes one request; any answer that is no success is a fault, except "not found", which is `None`.
    fn ask(&self, at: &Access, method: &str, url: &str, body: &[u8]) -> Result<Option<Response<Body>>> {
        self.ask_with(at, method, url, body, &Headers::new())
    }

    fn ask_with(
        &self,
        at: &Access,
        method: &str,
        url: &str,
        body: &[u8],
        headers: &Headers,
    ) -> Result<Option<Response<Body>>> {
        let agent = self.agent.get_or_init(http::agent);
        for tried in 1.. {
            let mut request = Request::builder().method(method).uri(url);
            for (name, value) in headers {
                request = request.header(name, HeaderValue::from_bytes(value.as_bytes())?);
            }
            let answer = http::ask(agent, request.body(body)?, &at.endpoint);
            let busy = answer.as_ref().map_or(true, |response| response.status().is_server_error());
            // On the loopback nobody is far away or overrun: what does not answer is down.
            if busy && tried < TRIES && at.endpoint.starts_with("https:") {
                std::thread::sleep(PAUSE * tried);
                continue;
            }
            let mut response = answer?;
            return match response.status().as_u16() {
                200..=299 => Ok(Some(response)),
                404 => {
                    let text = http::text(&mut response, &at.endpoint)?;
                    if element(&text, "Code") == Some("NoSuchBucket") {
                        bail!(refused(at, 404, &text))
                    }
                    Ok(None)
                }
                status => bail!(refused(at, status, &http::text(&mut response, &at.endpoint)?)),
            };
        }
        unreachable!("the last try returns")
    }

    /// Asks for a text that must be there.
    fn text(&self, at: &Access, method: &str, url: &str, body: &[u8]) -> Result<String> {
        let response = self.ask(at, method, url, body)?;
        let mut response = response.with_context(|| format!("`{}` has no such upload", at.bucket))?;
        http::text(&mut response, &at.endpoint)
    }

    /// Writes an object of more than one part.
    fn put_parts(
        &self,
        at: &Access,
        key: &str,
        headers: &Headers,
        first: Vec<u8>,
        from: &mut dyn Read,
    ) -> Result<u64> {
        let (bucket, credentials) = at.open()?;
        let mut begin = bucket.create_multipart_upload(Some(&credentials), key);
        carry(&mut begin, headers);
        let answer = self.ask_with(at, "POST", sign(&begin).as_str(), &[], headers)?;
        let mut answer = answer.ok_or_else(|| nonsense(at))?;
        let answer = http::text(&mut answer, &at.endpoint)?;
        let upload =
            CreateMultipartUpload::parse_response(&answer).map_err(|_| nonsense(at))?.upload_id().to_owned();
        let written = self.send_parts(at, key, &upload, first, from);
        if written.is_err() {
            // Parts of what will never be whole take room; that they could not be removed is not the news.
            let abort = bucket.abort_multipart_upload(Some(&credentials), key, &upload);
            let _ = self.ask(at, "DELETE", sign(&abort).as_str(), &[]);
        }
        written
    }

    fn send_parts(
        &self,
        at: &Access,
        key: &str,
        upload: &str,
        first: Vec<u8>,
        from: &mut dyn Read,
    ) -> Result<u64> {
        let (bucket, credentials) = at.open()?;
        let (mut part, mut written, mut tags) = (first, 0, Vec::new());
        while !part.is_empty() {
            if tags.len() == PARTS {
                bail!(Fault::new(Code::StorageRefused, "the object is larger than 312 GiB"));
            }
            let number = u16::try_from(tags.len() + 1)?;
            let action = bucket.upload_part(Some(&credentials), key, number, upload);
            let response = self.ask(at, "PUT", sign(&action).as_str(), &part)?;
            let tag = response.and_then(|r| Some(r.headers().get("etag")?.to_str().ok()?.to_owned()));
            tags.push(tag.ok_or_else(|| nonsense(at))?);
            written += part.len() as u64;
            part = fill(part, from)?;
        }
        let tags = tags.iter().map(String::as_str);
        let whole = bucket.complete_multipart_upload(Some(&credentials), key, upload, tags);
        let url = sign(&whole);
        let answer = self.text(at, "POST", url.as_str(), whole.body().as_bytes())?;
        // It may begin to answer before it knows how it ends.
        if element(&answer, "Code").is_some() {
            bail!(refused(at, 200, &answer));
        }
        Ok(written)
    }
}

fn sign<'a>(action: &impl S3Action<'a>) -> String {
    action.sign_with_time(SIGNED_FOR, &Timestamp::now()).into()
}

/// Has these headers go with a request. They are signed: a store believes no others.
fn carry<'a>(action: &mut impl S3Action<'a>, headers: &'a Headers) {
    for (name, value) in headers {
        action.headers_mut().insert(name.as_str(), value.as_str());
    }
}

/// How many bytes an object has, as an answer says it.
fn length(response: &Response<Body>) -> Option<u64> {
    response.headers().get("content-length")?.to_str().ok()?.parse().ok()
}

/// What is said of an object in the headers of an answer.
fn headers(response: &Response<Body>) -> Result<Headers> {
    let kept = response.headers().iter().filter(|(name, _)| is_kept(name.as_str()));
    kept.map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes()).context("a header that is no text")?;
        Ok((name.as_str().to_owned(), value.to_owned()))
    })
    .collect()
}

/// Reads the next part into the memory of the one before; shorter than a part only at the end.
fn fill(mut part: Vec<u8>, from: &mut dyn Read) -> Result<Vec<u8>> {
    part.clear();
    from.take(PART as u64).read_to_end(&mut part).context("reading what is to be stored")?;
    Ok(part)
}

/// What stands in an element of an answer.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_once(&format!("<{name}>"))?.1.split_once("</").map(|(inside, _)| inside)
}

fn nonsense(at: &Access) -> anyhow::Error {
    anyhow!("what `{}` answers is not S3", at.endpoint)
}

/// What a store objects to.
fn refused(at: &Access, status: u16, text: &str) -> Fault {
    let code = element(text, "Code").unwrap_or("no reason");
    let reason: String = element(text, "Message").unwrap_or_default().chars().take(200).collect();
    let fault = Fault::new(
        Code::StorageRefused,
        format!("the object storage refuses ({status} {}): {}", shown(code), shown(&reason)),
    );
    match code {
        "NoSuchBucket" => fault.next(format!("make the bucket `{}` at {}", at.bucket, at.endpoint)),
        "AccessDenied" if reason.contains("quota") => fault.next("hostkit storage info NAME"),
        _ => fault.next(format!("look at what the key {} may do at {}", at.key, at.endpoint)),
    }
}

/// An object on its way, which says which one it is when it breaks off. What broke is not said: it may hold
/// an address.
struct Whole<'a, R> {
    from: R,
    key: &'a str,
}

impl<R: Read> Read for Whole<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.from.read(into).map_err(|error| {
            io::Error::other(format!("reading `{}` broke off: {}", shown(self.key), error.kind()))
        })
    }
}

impl Objects for S3 {
    fn list(&self, at: &Access, prefix: &str, from: Option<&str>, limit: usize) -> Result<Page> {
        let (bucket, credentials) = at.open()?;
        let mut action = bucket.list_objects_v2(Some(&credentials));
        action.with_max_keys(limit.min(BATCH));
        if !prefix.is_empty() {
            action.with_prefix(prefix);
        }
        if let Some(from) = from {
            action.with_continuation_token(from);
        }
        let answer = self.text(at, "GET", &sign(&action), &[])?;
        let parsed = ListObjectsV2::parse_response(&answer).map_err(|_| nonsense(at))?;
        let entries = parsed.contents.into_iter().map(|c| Entry {
            key: c.key,
            size: c.size.unwrap_or_default(),
            modified: c.last_modified.unwrap_or_default(),
            tag: c.etag.unwrap_or_default(),
        });
        Ok(Page { entries: entries.collect(), next: parsed.next_continuation_token })
    }
    fn size(&self, at: &Access, key: &str) -> Result<Option<u64>> {
        check_key(key)?;
        let (bucket, credentials) = at.open()?;
        let response = self.ask(at, "HEAD", &sign(&bucket.head_object(Some(&credentials), key)), &[])?;
        response.map(|r| length(&r).ok_or_else(|| nonsense(at))).transpose()
    }
    fn read(&self, at: &Access, key: &str, take: Take<'_>) -> Result<bool> {
        check_key(key)?;
        let (bucket, credentials) = at.open()?;
        let response = self.ask(at, "GET", &sign(&bucket.get_object(Some(&credentials), key)), &[])?;
        let Some(mut response) = response else { return Ok(false) };
        let headers = headers(&response)?;
        let length = length(&response).ok_or_else(|| nonsense(at))?;
        let mut from = Whole { from: response.body_mut().as_reader(), key };
        let read = take(length, &headers, &mut from)?;
        if length != read {
            bail!("`{}` was cut off after {read} bytes", shown(key));
        }
        Ok(true)
    }
    fn put(&mut self, at: &Access, key: &str, headers: &Headers, from: &mut dyn Read) -> Result<u64> {
        check_key(key)?;
        let first = fill(Vec::new(), from)?;
        if first.len() == PART {
            return self.put_parts(at, key, headers, first, from);
        }
        let (bucket, credentials) = at.open()?;
        let mut action = bucket.put_object(Some(&credentials), key);
        carry(&mut action, headers);
        let response = self.ask_with(at, "PUT", &sign(&action), &first, headers)?;
        response.ok_or_else(|| nonsense(at))?;
        Ok(first.len() as u64)
    }
    fn delete(&mut self, at: &Access, keys: &[String]) -> Result<()> {
        let (bucket, credentials) = at.open()?;
        for some in keys.chunks(BATCH) {
            // By name in a text, so that any key can be deleted, also one no address can spell.
            let names: Vec<ObjectIdentifier> = some.iter().cloned().map(ObjectIdentifier::new).collect();
            let mut action = bucket.delete_objects(Some(&credentials), names.iter());
            action.set_quiet(true);
            let url = sign(&action);
            let (body, md5) = action.body_with_md5();
            let headers = Headers::from([("content-md5".to_owned(), md5)]);
            let response = self.ask_with(at, "POST", &url, body.as_bytes(), &headers)?;
            let mut response = response.ok_or_else(|| nonsense(at))?;
            let answer = http::text(&mut response, &at.endpoint)?;
            if element(&answer, "Code").is_some() {
                bail!(refused(at, 200, &answer));
            }
        }
        Ok(())
    }
}
