//! What the rows of a training's datasets are there for.

/// What a row is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowUse {
    /// It is trained on.
    Train,
    /// Validation, calibration and thresholds.
    HeldOut,
    /// The best epoch is chosen by it.
    Select,
}
