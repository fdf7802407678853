//! A project's key for repositories, in the forms that `ssh` reads: Ed25519, out of a seed.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::secret::Secret;

const KIND: &[u8] = b"ssh-ed25519";

/// The key that belongs to a random text.
pub struct DeployKey {
    seed: Zeroizing<[u8; 32]>,
    public: [u8; 32],
    comment: String,
}

impl DeployKey {
    /// The key of this text; always the same.
    pub fn of(text: &str, comment: impl Into<String>) -> Self {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(Sha256::digest(text.trim()).into());
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("a seed is 32 bytes");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { seed, public, comment: comment.into() }
    }

    /// The line that a repository is given.
    pub fn public(&self) -> String {
        format!("ssh-ed25519 {} {}", STANDARD.encode(self.blob()), self.comment)
    }

    /// The file that `ssh` reads.
    pub fn private(&self) -> Secret {
        let mut whole = Zeroizing::new(Vec::with_capacity(512));
        whole.extend_from_slice(b"openssh-key-v1\0");
        // No cipher, no derivation, no options of one; one key.
        for text in [&b"none"[..], b"none", b""] {
            string(&mut whole, text);
        }
        whole.extend_from_slice(&1_u32.to_be_bytes());
        string(&mut whole, &self.blob());
        let mut inner = Zeroizing::new(Vec::with_capacity(256));
        // Twice the same number: that is how a wrong password would show.
        inner.extend_from_slice(&[0; 8]);
        string(&mut inner, KIND);
        string(&mut inner, &self.public);
        let both = Zeroizing::new([&self.seed[..], &self.public].concat());
        string(&mut inner, &both);
        string(&mut inner, self.comment.as_bytes());
        for number in 1.. {
            if inner.len() % 8 == 0 {
                break;
            }
            inner.push(number);
        }
        string(&mut whole, &inner);
        let text = Zeroizing::new(STANDARD.encode(&*whole));
        let mut file = Zeroizing::new(String::with_capacity(1024));
        file.push_str("-----BEGIN OPENSSH PRIVATE KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(70));
            file.push_str(line);
            file.push('\n');
            rest = after;
        }
        file.push_str("-----END OPENSSH PRIVATE KEY-----\n");
        Secret::new(file.as_str())
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        string(&mut blob, KIND);
        string(&mut blob, &self.public);
        blob
    }
}

impl std::fmt::Debug for DeployKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeployKey").field("comment", &self.comment).finish_non_exhaustive()
    }
}

fn string(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys are short");
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(bytes);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_as_long_as_its_text_is() {
        let key = DeployKey::of("one\n", "hostkit-blog");
        assert_eq!(key.public(), DeployKey::of("one", "hostkit-blog").public());
        assert_ne!(key.public(), DeployKey::of("two", "hostkit-blog").public());
        assert!(
            key.public().starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI")
                && key.public().ends_with(" hostkit-blog")
        );
        assert!(!format!("{key:?}").contains("seed"));
        // What a file holds is what its public line says, for whoever reads such files.
        let private = key.private();
        let body: String = private.reveal().lines().filter(|line| !line.starts_with('-')).collect();
        let bytes = STANDARD.decode(body).unwrap();
        assert!(bytes.starts_with(b"openssh-key-v1\0") && bytes.windows(51).any(|w| w == key.blob()));
    }
}
