//! Bytes on their way to lines.

/// How long a line may be, in bytes; the rest of a longer one is the next.
const LONGEST: usize = 8 << 10;

/// What a program writes, cut into lines however it comes.
#[derive(Default)]
pub(super) struct Lines {
    half: Vec<u8>,
    /// The line that came last.
    pub(super) last: Option<String>,
}

impl Lines {
    pub(super) fn add(&mut self, mut bytes: &[u8], said: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.half.extend_from_slice(&bytes[..end]);
            self.say(said);
            bytes = &bytes[end + 1..];
        }
        self.half.extend_from_slice(bytes);
        while self.half.len() > LONGEST {
            let rest = self.half.split_off(LONGEST);
            self.say(said);
            self.half = rest;
        }
    }

    pub(super) fn finish(&mut self, said: &mut dyn FnMut(&str)) {
        if !self.half.is_empty() {
            self.say(said);
        }
    }

    fn say(&mut self, said: &mut dyn FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.half);
        // What a progress bar has drawn over its line before.
        let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        self.half.clear();
        said(&line);
        self.last = Some(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Lines::default();
        let mut said = |line: &str| all.push(line.to_owned());
        for piece in pieces {
            lines.add(piece, &mut said);
        }
        lines.finish(&mut said);
        all
    }

    #[test]
    fn output_is_heard_line_by_line_however_it_comes_and_whatever_is_in_it() {
        assert_eq!(heard(&[b"one\ntw", b"o\n", b"\nthree"]), ["one", "two", "", "three"]);
        assert_eq!(heard(&[b"10%\r50%\r100%\ndone\r\n"]), ["100%", "done"]);
        assert_eq!(heard(&[b"\xff\n"]), ["\u{fffd}"]);
        let long = vec![b'x'; LONGEST * 2 + 1];
        assert_eq!(heard(&[&long]).iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST, 1]);
    }
}
