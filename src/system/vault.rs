//! The vault: sealing and opening secrets with the host's master key, and making new ones.
//!
//! A secret is encrypted with XChaCha20-Poly1305; what it is for is authenticated with it, so a sealed
//! text is worth nothing in another place. The nonce is a keyed hash of purpose and text: the same
//! secret for the same purpose is sealed alike, which is all that an onlooker can learn.

use std::{cell::OnceCell, fmt, fs::File, io::Read, os::unix::fs::MetadataExt, path::PathBuf};

use anyhow::{Context, Result, anyhow};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::domain::{
    fault::{Code, Fault},
    secret::{Sealed, Secret},
};

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a nonce.
const NONCE: usize = 24;
/// What a sealed text begins with.
const VERSION: &str = "v1.";
/// Letters and digits of a password: 32 of 62 are 190 bits. Not one more: some frameworks take a key of
/// exactly so many bytes.
const PASSWORD: usize = 32;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A key that leaves memory with its owner.
pub type Key = Zeroizing<[u8; KEY]>;

/// The host's vault. The master key is read when it is first needed.
pub struct Vault {
    path: PathBuf,
    key: OnceCell<Key>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Vault {
    /// The vault whose master key is kept in a file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path, key: OnceCell::new() }
    }

    /// Seals a secret for one purpose, such as `blog/DATABASE_URL`.
    pub fn seal(&self, context: &str, secret: &Secret) -> Result<Sealed> {
        let text = secret.reveal().as_bytes();
        let mut hash = mac(&*self.derive("nonce")?);
        hash.update(&(context.len() as u64).to_le_bytes());
        hash.update(context.as_bytes());
        hash.update(text);
        let hash = hash.finalize().into_bytes();
        let nonce = XNonce::try_from(&hash[..NONCE]).context("a nonce")?;
        let payload = Payload { msg: text, aad: context.as_bytes() };
        let sealed =
            self.cipher()?.encrypt(&nonce, payload).map_err(|_| anyhow!("sealing `{context}` failed"))?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(Sealed::from_text(format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Opens what was sealed for this purpose with this key.
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Secret> {
        let refused = || {
            Fault::new(
                Code::VaultKey,
                format!("the secret `{context}` was sealed with another master key, or was changed"),
            )
            .next(format!("put back the `{}` that this registry was made with", self.path.display()))
        };
        let bytes = sealed
            .as_str()
            .strip_prefix(VERSION)
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .filter(|bytes| bytes.len() > NONCE)
            .ok_or_else(refused)?;
        let (nonce, text) = bytes.split_at(NONCE);
        let nonce = XNonce::try_from(nonce).context("a nonce")?;
        let payload = Payload { msg: text, aad: context.as_bytes() };
        let plain = Zeroizing::new(self.cipher()?.decrypt(&nonce, payload).map_err(|_| refused())?);
        Ok(Secret::new(std::str::from_utf8(&plain).context("a secret that is no text")?))
    }

    /// A key of its own for one purpose, made from the master key.
    pub fn derive(&self, purpose: &str) -> Result<Key> {
        let mut hash = mac(self.key()?.as_slice());
        hash.update(b"hostkit ");
        hash.update(purpose.as_bytes());
        Ok(Zeroizing::new(hash.finalize().into_bytes().into()))
    }

    /// Tells master keys apart without telling anything about them: 16 hexadecimal digits.
    pub fn fingerprint(&self) -> Result<String> {
        Ok(self.derive("fingerprint")?[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305> {
        XChaCha20Poly1305::new_from_slice(&*self.derive("seal")?)
            .map_err(|_| anyhow!("a key of the wrong length"))
    }

    fn key(&self) -> Result<&Key> {
        if self.key.get().is_none() {
            let _ = self.key.set(self.read()?);
        }
        self.key.get().context("the key was just read")
    }

    fn read(&self) -> Result<Key> {
        let path = self.path.display();
        let lost =
            |why: String| Fault::new(Code::VaultKey, why).next(format!("put `{path}` back from your copy"));
        let file = File::open(&self.path);
        let mut file = file.map_err(|e| lost(format!("the master key `{path}` cannot be read: {e}")))?;
        let meta = file.metadata().context("looking at the master key")?;
        if !meta.is_file() || meta.mode() & 0o077 != 0 {
            return Err(lost(format!("the master key `{path}` can be read by others than root"))
                .next(format!("chmod 600 {path}"))
                .into());
        }
        let mut text = Zeroizing::new(String::new());
        file.by_ref().take(1024).read_to_string(&mut text).context("reading the master key")?;
        let mut key = Zeroizing::new([0; KEY]);
        URL_SAFE_NO_PAD
            .decode_slice(text.trim(), &mut *key)
            .ok()
            .filter(|length| *length == KEY)
            .ok_or_else(|| lost(format!("`{path}` holds no master key")))?;
        Ok(key)
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length will do")
}

/// What a secret of a project's variable is sealed for.
pub fn context(project: &str, key: &str) -> String {
    format!("{project}/{key}")
}

/// Random bytes from the kernel.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|e| anyhow!("the kernel gives no random bytes: {e}"))?;
    Ok(bytes)
}

/// A new key as text, for a file.
pub fn key() -> Result<Secret> {
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*random::<KEY>()?)))
}

/// A new password: letters and digits, which need no quoting anywhere.
pub fn password() -> Result<Secret> {
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD));
    while text.len() < PASSWORD {
        for byte in random::<64>()?.iter() {
            // The largest multiple of 62: every letter is as likely as any other.
            if *byte < 248 && text.len() < PASSWORD {
                text.push(char::from(LETTERS[usize::from(byte % 62)]));
            }
        }
    }
    Ok(Secret::new(text.as_str()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn vault(key: &str, mode: u32) -> (tempfile::TempDir, Vault) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.key");
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, Vault::new(path))
    }

    #[test]
    fn what_is_sealed_for_one_purpose_opens_for_that_purpose_alone() {
        let (_dir, vault) = vault(key().unwrap().reveal(), 0o600);
        let secret = Secret::new("pa'ss\nwörd");
        let sealed = vault.seal("blog/DATABASE_URL", &secret).unwrap();
        assert_eq!(vault.open("blog/DATABASE_URL", &sealed).unwrap(), secret);
        assert!(vault.open("shop/DATABASE_URL", &sealed).is_err());
        assert!(!sealed.as_str().contains("ss"));
        assert_eq!(vault.seal("blog/DATABASE_URL", &secret).unwrap(), sealed);
        assert_ne!(vault.seal("blog/REDIS_URL", &secret).unwrap(), sealed);
        assert_ne!(vault.seal("blog/DATABASE_URL", &Secret::new("")).unwrap(), sealed);
    }

    #[test]
    fn a_changed_or_foreign_sealed_text_is_refused_with_what_to_do() {
        let (_a, ours) = vault(key().unwrap().reveal(), 0o600);
        let (_b, theirs) = vault(key().unwrap().reveal(), 0o600);
        let sealed = ours.seal("blog/A", &Secret::new("x")).unwrap();
        for text in ["", "v1.", "v2.AAAA", "v1.AAAA", "v1.!", &sealed.as_str()[..40]] {
            let error = ours.open("blog/A", &Sealed::from_text(text.to_owned())).unwrap_err();
            assert_eq!(error.downcast_ref::<Fault>().unwrap().code, Code::VaultKey, "{text}");
        }
        assert!(theirs.open("blog/A", &sealed).is_err());
        assert_ne!(ours.fingerprint().unwrap(), theirs.fingerprint().unwrap());
    }

    #[test]
    fn a_master_key_that_is_missing_open_to_others_or_damaged_is_refused() {
        let good = key().unwrap();
        for (text, mode) in [("", 0o600), ("short", 0o600), (good.reveal(), 0o640), (good.reveal(), 0o604)] {
            assert!(vault(text, mode).1.fingerprint().is_err(), "{mode:o}");
        }
        assert!(Vault::new("/nowhere/master.key".into()).fingerprint().is_err());
        assert!(vault(&format!("{}\n", good.reveal()), 0o600).1.fingerprint().is_ok());
    }

    #[test]
    fn passwords_are_long_plain_and_never_the_same() {
        let (a, b) = (password().unwrap(), password().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.reveal().len(), PASSWORD);
        assert!(a.reveal().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(format!("{a:?}"), "Secret(…)");
    }
}
