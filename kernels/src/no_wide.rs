//! What stands for the registers of AVX-512 on processors of other kinds, which have no kernels that would use it.

use super::vector::WIDE_LANES;

/// Sixteen channels.
pub type Wide = [f32; WIDE_LANES];
