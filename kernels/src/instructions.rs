//! Which of the processor's instructions the kernels are compiled for.
//!
//! The code is generic over the register: with AVX-512 sixteen channels lie in one instead of two, and there are twice as many for sums.

/// Sets of instructions, the better last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F and VL besides.
    Avx512,
}

impl Instructions {
    /// Whether this processor has them.
    pub fn are_there(self) -> bool {
        Some(self) <= Self::best()
    }

    /// The best set that this processor has; none without AVX2 and FMA.
    pub fn best() -> Option<Self> {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            return None;
        }
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        Some(if wide { Self::Avx512 } else { Self::Avx2 })
    }
}

/// Whether this processor has the instructions that the kernels need.
pub fn available() -> bool {
    Instructions::best().is_some()
}
