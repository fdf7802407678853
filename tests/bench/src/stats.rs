//! Samples, and the one number that stands for them.

use std::time::Duration;

/// The middle one; with an even number of samples, the mean of the two in the middle.
pub(crate) fn median(samples: &[Duration]) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => Duration::ZERO,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2,
    }
}

/// The arithmetic mean: for what is too short to be looked at one by one.
pub(crate) fn mean(samples: &[Duration]) -> Duration {
    let number = u32::try_from(samples.len()).unwrap_or(u32::MAX).max(1);
    samples.iter().sum::<Duration>() / number
}

/// A time in milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How often `other` fits into `one`.
pub(crate) fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_one_that_was_disturbed() {
        let samples = [3, 1, 900, 2, 4].map(Duration::from_millis);
        assert_eq!(median(&samples), Duration::from_millis(3));
        assert_eq!(median(&samples[..2]), Duration::from_millis(2));
        assert_eq!(median(&[]), Duration::ZERO);
    }

    #[test]
    fn the_mean_takes_all_of_them() {
        assert_eq!(mean(&[1, 2, 6].map(Duration::from_millis)), Duration::from_millis(3));
        assert_eq!(mean(&[]), Duration::ZERO);
    }
}
