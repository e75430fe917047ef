//! Whether a share is larger in some rows than in the others.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::stats_tests::{Alternative, fishers_exact};

use dismax::error::{Error, Result};

/// Expected rows in each cell from which the normal approximation is good enough.
const ENOUGH: f64 = 10.0;

/// One-sided p-value of `hits` of `rows` being more than `other_hits` of `other_rows` by chance.
pub(crate) fn more_than_elsewhere(hits: u64, rows: u64, other_hits: u64, other_rows: u64) -> Result<f64> {
    let (n, m) = (rows as f64, other_rows as f64);
    let pooled = (hits + other_hits) as f64 / (n + m);
    if n.min(m) * pooled.min(1.0 - pooled) >= ENOUGH {
        let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
        let z = (hits as f64 / n - other_hits as f64 / m) / error;
        return Ok(Normal::standard().sf(z).clamp(0.0, 1.0));
    }
    // No more than expected: the exact test need not be asked.
    if hits as f64 <= pooled * n {
        return Ok(1.0);
    }
    let table = [hits, rows - hits, other_hits, other_rows - other_hits];
    let p_value = fishers_exact(&table, Alternative::Greater)
        .map_err(|error| Error::Internal(format!("Fisher's exact test of {table:?}: {error}")))?;
    Ok(p_value.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_of_known_tables() {
        // R: fisher.test(matrix(c(3, 1, 2, 20), 2), alternative = "greater"): 0.0146 (1 / 68.6 of the hypergeometric
        // tail).
        let exact = more_than_elsewhere(3, 5, 1, 21).expect("a table");
        // P(X >= 3) with 4 hits among 26 rows, 5 drawn: (C(4,3) C(22,2) + C(4,4) C(22,1)) / C(26,5).
        let expected = (4.0 * 231.0 + 22.0) / 65_780.0;
        assert!((exact - expected).abs() < 1e-9, "{exact} instead of {expected}");
        // z = (0.2 - 0.1) / sqrt(0.15 * 0.85 * 2 / 400) = 3.9606: p = 3.74e-5.
        let normal = more_than_elsewhere(80, 400, 40, 400).expect("a table");
        assert!((normal / 3.74e-5 - 1.0).abs() < 0.01, "{normal}");
        assert_eq!(more_than_elsewhere(0, 5, 4, 21).expect("a table"), 1.0);
    }
}
