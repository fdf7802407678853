//! Access lists of one shape: an owner, a group, and one account that may pass through.

/// The attribute the kernel keeps them in.
pub(super) const NAME: &str = "system.posix_acl_access";

// The kernel's format: a version, then (tag, permissions, id) by rising tag.
const ACL_VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
const TAG_USER: u16 = 2;

/// An access list that adds `--x` for one account to what `mode` says.
pub(super) fn encode(mode: u32, visitor: u32) -> Vec<u8> {
    let bits = |shift: u32| u16::try_from((mode >> shift) & 7).unwrap_or(0);
    let entries = [
        (1_u16, bits(6), NO_ID),
        (TAG_USER, 1, visitor),
        (4, bits(3), NO_ID),
        (0x10, bits(3) | 1, NO_ID),
        (0x20, bits(0), NO_ID),
    ];
    let mut out = ACL_VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(permissions.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

pub(super) fn decode(value: &[u8]) -> Option<u32> {
    value.get(4..)?.chunks_exact(8).find_map(|entry| {
        let (tag, id) = (entry.get(..2)?, entry.get(4..8)?);
        (u16::from_le_bytes(tag.try_into().ok()?) == TAG_USER)
            .then(|| id.try_into().ok().map(u32::from_le_bytes))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visitor_is_read_back() {
        assert_eq!(decode(&encode(0o750, 33)), Some(33));
        assert_eq!(decode(&[]), None);
    }
}
