//! Versions of programs, and the ranges of them that sources ask for.
//!
//! Every world writes ranges in its own way. What is not understood asks for nothing: whether a program
//! will do is in the end for it to say.

use std::cmp::Ordering;

/// A version: numbers, the most important first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(Vec<u64>);

impl Version {
    /// The first version in what a program says of itself (`v22.3.1`, `Python 3.11.2`, `go1.19.8`).
    pub fn find(text: &str) -> Option<Self> {
        let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
        words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).find_map(|word| {
            let numbers: Vec<u64> = word.split('.').map_while(|part| part.parse().ok()).collect();
            (numbers.len() > 1).then_some(Self(numbers))
        })
    }

    fn part(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// How it stands to a bound.
    fn against(&self, bound: &[u64]) -> Ordering {
        let longest = self.0.len().max(bound.len());
        (0..longest)
            .map(|at| self.part(at).cmp(&bound.get(at).copied().unwrap_or(0)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn begins_with(&self, numbers: &[u64]) -> bool {
        numbers.iter().enumerate().all(|(at, number)| self.part(at) == *number)
    }

    /// Whether it is what a source asks for of this program.
    pub fn fits(&self, program: &str, range: &str) -> bool {
        let range = range.replace(" - ", "-to-");
        range.split('|').filter(|one| !one.trim().is_empty()).any(|one| self.fits_all(program, one))
            || range.trim().is_empty()
    }

    fn fits_all(&self, program: &str, range: &str) -> bool {
        // `>= 18` is one bound, `>=18 <21` are two.
        let mut bounds: Vec<String> = Vec::new();
        for word in range.split([',', ' ']).filter(|word| !word.is_empty()) {
            match bounds.last_mut() {
                Some(last) if last.chars().all(|c| "<>=~^!".contains(c)) => last.push_str(word),
                _ => bounds.push(word.to_owned()),
            }
        }
        bounds.iter().all(|bound| self.fits_one(program, bound))
    }

    fn fits_one(&self, program: &str, bound: &str) -> bool {
        if let Some((low, high)) = bound.split_once("-to-") {
            return self.fits_one(program, &format!(">={low}"))
                && self.fits_one(program, &format!("<={high}"));
        }
        let end = bound.find(|c: char| !"<>=~^!".contains(c)).unwrap_or(bound.len());
        let (sign, rest) = bound.split_at(end);
        let rest = rest.trim_start_matches('v');
        let numbers: Vec<u64> = rest.split('.').map_while(|part| part.parse().ok()).collect();
        if numbers.is_empty() {
            // `*`, `lts/iron`, `latest`
            return true;
        }
        let whole = numbers.len() == rest.split('.').count();
        let order = self.against(&numbers);
        match sign {
            ">=" => order.is_ge(),
            ">" => order.is_gt() && (whole && numbers.len() > 2 || !self.begins_with(&numbers)),
            "<" => order.is_lt(),
            "<=" => order.is_le() || self.begins_with(&numbers),
            "!=" => !self.begins_with(&numbers),
            "^" => {
                // The first number that is not zero must stay.
                let kept = numbers.iter().position(|n| *n > 0).map_or(numbers.len(), |at| at + 1);
                order.is_ge() && self.begins_with(&numbers[..kept])
            }
            "~" | "~>" | "~=" => {
                let kept = if program == "node" { numbers.len().min(2) } else { numbers.len().max(2) - 1 };
                order.is_ge() && self.begins_with(&numbers[..kept])
            }
            "" | "=" | "==" | "===" if program == "go" => order.is_ge(),
            "" | "=" | "==" | "===" => self.begins_with(&numbers),
            _ => true,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.pad(&numbers.join("."))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_its_version_among_other_things() {
        for (text, version) in [
            ("v22.3.1\n", "22.3.1"),
            ("Python 3.11.2", "3.11.2"),
            ("go version go1.19.8 linux/amd64", "1.19.8"),
            ("PHP 8.2.35 (cli) (built: Oct 21 2026 06:29:00) (NTS)", "8.2.35"),
            ("ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux-gnu]", "3.1.2"),
        ] {
            assert_eq!(Version::find(text).unwrap().to_string(), version);
        }
        assert_eq!(Version::find("no version"), None);
    }

    #[test]
    fn ranges_are_read_as_their_world_means_them() {
        for (program, version, fits, not) in [
            (
                "node",
                "20.11.1",
                &[
                    ">=18.18",
                    ">= 18",
                    "^20",
                    "^20.9.0",
                    "20",
                    "20.x",
                    "~20.11",
                    "18 || 20",
                    "^18||^20",
                    ">=18 <21",
                    "18 - 20",
                    "*",
                    "lts/iron",
                    "",
                    "v20.11.1",
                    ">=18.0.0 <=20",
                ][..],
                &[">=22", "^18", "18.x", "~20.10", "20.9.0", ">=18 <20", "16 - 18", ">20", "<20"][..],
            ),
            (
                "python",
                "3.11.2",
                &[">=3.11,<4", "^3.10", "~=3.9", "==3.11.*", "3.11", "!=3.10.*"],
                &[">=3.12", "3.12", "~=3.11.5", "<3.11"],
            ),
            (
                "php",
                "8.2.35",
                &["^8.1", ">=8.1", "~8.1", "8.2.*", "^7.4|^8.0", "^7.4 || ^8.0"],
                &["^7.4", "~8.1.0", "^8.3"],
            ),
            ("ruby", "3.1.2", &["3.1.2", "~> 3.1", "~> 3.1.0", ">= 2.7"], &["3.2.0", "~> 3.2", "~> 3.0.1"]),
            ("go", "1.19.8", &["1.18", "1.19"], &["1.22.1", "1.20"]),
        ] {
            let version = Version::find(version).unwrap();
            for range in fits {
                assert!(version.fits(program, range), "{program} {version} fits {range}");
            }
            for range in not {
                assert!(!version.fits(program, range), "{program} {version} does not fit {range}");
            }
        }
    }
}
