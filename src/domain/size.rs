//! Sizes as people write them: a number and M or G.

/// `512M`, `2G`: a number of bytes.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size: a number and M or G, such as 512M or 2G");
    let (number, shift) = match text.as_bytes().last() {
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        _ => return Err(wrong()),
    };
    // Not `+2G`.
    let number: u64 = number.parse().ok().filter(|_| !number.starts_with('+')).ok_or_else(wrong)?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= 1 << 50).ok_or_else(wrong)
}

/// The shortest text that [`parse`] reads as this many bytes or a little less.
pub fn text(bytes: u64) -> String {
    if bytes >= 1 << 30 && bytes.trailing_zeros() >= 30 {
        format!("{}G", bytes >> 30)
    } else {
        format!("{}M", bytes >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse("512M"), Ok(512 << 20));
        assert_eq!(parse("2G"), Ok(2 << 30));
        for wrong in ["", "M", "2", "2T", "-1G", "+1G", "1.5G", "99999999999999G"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for size in ["512M", "1536M", "2G"] {
            assert_eq!(parse(size).map(text).as_deref(), Ok(size));
        }
    }
}
