//! What came back from the server, as a table.

use std::{collections::BTreeMap, time::Duration};

use crate::stats::{mean, median, ms, ratio};

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Measured {
    pairs: BTreeMap<String, (Vec<Duration>, Vec<Duration>)>,
    values: Vec<(String, u64)>,
    notes: Vec<String>,
}

/// What a line of the table compares, and how far apart both sides may be.
pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    pub(crate) beside: &'static str,
    /// The largest ratio; `None` where none was set.
    pub(crate) target: Option<f64>,
}

impl Measured {
    /// Adds the lines that a part of the measurement said.
    pub(crate) fn read(&mut self, text: &str) {
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["pair", key, ours, other] => {
                    self.pairs.insert(key.to_owned(), (samples(ours), samples(other)));
                }
                ["value", key, value] => self.values.extend(value.parse().ok().map(|v| (key.to_owned(), v))),
                ["note", note] => self.notes.push(note.to_owned()),
                _ => {}
            }
        }
    }

    /// Prints what the parts had to remark.
    pub(crate) fn print_notes(&self) {
        self.notes.iter().for_each(|note| println!("  {note}"));
    }

    fn ratio(&self, key: &str) -> Option<f64> {
        let (ours, other) = self.pairs.get(key)?;
        Some(ratio(median(ours), median(other)))
    }

    /// Whether a row was measured and is over its target.
    pub(crate) fn is_over(&self, rows: &[Row], key: &str) -> bool {
        let target = rows.iter().find(|r| r.key == key).and_then(|r| r.target);
        self.ratio(key).zip(target).is_some_and(|(ratio, target)| ratio > target)
    }

    /// Prints the rows that were measured.
    pub(crate) fn print_ratios(&self, rows: &[Row]) {
        println!(
            "\n{:<34} {:>10}   {:<30} {:>10} {:>8} {:>8}",
            "median of", "ms", "beside", "ms", "ratio", "target"
        );
        for row in rows {
            let Some((ours, other)) = self.pairs.get(row.key) else { continue };
            let (ours, other) = (median(ours), median(other));
            let ratio = ratio(ours, other);
            let target = row.target.map_or_else(|| "–".to_owned(), |t| format!("≤ {t}"));
            println!(
                "{:<34} {:>10.1}   {:<30} {:>10.1} {ratio:>7.2}× {target:>8}  {}",
                row.what,
                ms(ours),
                row.beside,
                ms(other),
                verdict(row.target.map(|t| ratio <= t))
            );
        }
    }

    /// Prints what has a limit of its own: time to start, size, memory.
    pub(crate) fn print_limits(&self) {
        println!("\n{:<56} {:>10} {:>10}", "limits", "is", "limit");
        if let Some((ours, other)) = self.pairs.get("startup") {
            let (ours, other) = (ms(mean(ours)), ms(mean(other)));
            line("hostkit --version, mean", &format!("{ours:.2} ms"), "5 ms", ours <= 5.0);
            println!("{:<56} {:>10}", "/bin/true, mean", format!("{other:.2} ms"));
        }
        for (key, value) in &self.values {
            let mib = |bytes: f64| bytes / f64::from(1 << 20);
            #[expect(clippy::cast_precision_loss, reason = "these are megabytes, for people")]
            let value = *value as f64;
            match key.strip_prefix("memory ") {
                None if key == "size" => {
                    line(
                        "the program, stripped",
                        &format!("{:.1} MiB", mib(value)),
                        "12 MiB",
                        mib(value) <= 12.0,
                    );
                }
                None => {}
                Some(command) => {
                    let peak = mib(value * 1024.0);
                    line(&format!("memory: {command}"), &format!("{peak:.1} MiB"), "30 MiB", peak <= 30.0);
                }
            }
        }
    }
}

fn line(what: &str, is: &str, limit: &str, kept: bool) {
    println!("{what:<56} {is:>10} {limit:>10}  {}", verdict(Some(kept)));
}

fn verdict(kept: Option<bool>) -> &'static str {
    match kept {
        None => "",
        Some(true) => "OK",
        Some(false) => "OVER",
    }
}

fn samples(text: &str) -> Vec<Duration> {
    text.split(' ').filter_map(|n| n.parse().ok()).map(Duration::from_micros).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row { key: "provision", what: "provision", beside: "floor", target: Some(1.5) };

    #[test]
    fn what_the_server_says_becomes_a_verdict() {
        let mut measured = Measured::default();
        measured.read("pair\tprovision\t300 200 100\t100 100\nnote\thello\nsomething else\n");
        assert!(measured.is_over(&[ROW], "provision"));
        measured.read("pair\tprovision\t150 140 900\t100 100\n");
        assert!(!measured.is_over(&[ROW], "provision"));
        assert!(!measured.is_over(&[ROW], "rollback"), "what was not measured is not over");
    }
}
