//! Numbers as settings: within bounds, and bytes with a unit where that reads better.

use std::ops::RangeInclusive;

/// Reads a number within bounds; what is none is answered with what to write.
pub(super) fn count(bounds: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| {
        let wrong = || format!("write a number from {} to {}", bounds.start(), bounds.end());
        text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(wrong)
    }
}

/// The same for bytes, which may have a unit, and are no fewer than so many MiB.
pub(super) fn bytes(least_mib: u64) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| {
        let wrong = || format!("write how many bytes, at least {least_mib}MiB, for example 2GiB or 2147483648");
        amount(text).filter(|number| *number >= least_mib << 20).ok_or_else(wrong)
    }
}

/// Reads a part of a whole.
pub(super) fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "write a number from 0 to 1, for example 0.1".to_owned())
}

/// A number, perhaps with a binary unit.
pub(super) fn amount(text: &str) -> Option<u64> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let (digits, unit) = units
        .into_iter()
        .find_map(|(unit, bytes)| text.strip_suffix(unit).map(|digits| (digits, bytes)))
        .unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_bounds_is_answered_with_the_bounds() {
        assert_eq!(count(1..=9)("9"), Ok(9));
        for wrong in ["0", "10", "x", "", "-1", "1e1"] {
            assert_eq!(count(1..=9)(wrong), Err("write a number from 1 to 9".to_owned()), "{wrong}");
        }
        assert_eq!(part("0.5"), Ok(0.5));
        assert!(["1.1", "-0.1", "NaN", "x"].iter().all(|wrong| part(wrong).unwrap_err().contains("from 0 to 1")));
    }

    #[test]
    fn bytes_may_have_a_unit() {
        assert_eq!(
            (bytes(16)("16MiB"), bytes(16)("16777216"), bytes(16)("2GiB")),
            (Ok(1 << 24), Ok(1 << 24), Ok(1 << 31))
        );
        for wrong in ["16777215", "1KiB", "512MB", "abc", "", "-1GiB", "99999999999GiB"] {
            assert!(bytes(16)(wrong).unwrap_err().contains("at least 16MiB, for example 2GiB"), "{wrong}");
        }
    }
}
