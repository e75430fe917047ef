//! The registers of AVX-512.

use std::arch::x86_64::{
    __m512, _CMP_GT_OQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_mov_ps,
    _mm512_max_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use super::vector::{Arithmetic, Vector, WIDE_LANES};

/// Sixteen channels in a register of AVX-512. Private to this crate, and used only in
/// [`Kernel::avx512`](super::instructions::Kernel), which runs where the processor was asked for it: all `unsafe` here
/// rests on this.
#[derive(Debug, Clone, Copy)]
pub struct Wide(__m512);

/// One instruction of AVX-512F.
macro_rules! wide {
    ($value:expr) => {
        // SAFETY: see `Wide`; addresses are those of references to sixteen values.
        unsafe { $value }
    };
}

impl Arithmetic for Wide {
    #[inline(always)]
    fn zero() -> Self {
        Self(wide!(_mm512_setzero_ps()))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(wide!(_mm512_add_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(wide!(_mm512_sub_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn scaled(self, factor: f32) -> Self {
        Self(wide!(_mm512_mul_ps(self.0, _mm512_set1_ps(factor))))
    }

    #[inline(always)]
    fn scaled_sum(self, factor: f32, other: Self) -> Self {
        Self(wide!(_mm512_fmadd_ps(self.0, _mm512_set1_ps(factor), other.0)))
    }

    #[inline(always)]
    fn product_sum(self, factor: Self, other: Self) -> Self {
        Self(wide!(_mm512_fmadd_ps(self.0, factor.0, other.0)))
    }

    #[inline(always)]
    fn where_positive(self, other: Self) -> Self {
        Self(wide!({
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(other.0, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(positive, self.0)
        }))
    }

    #[inline(always)]
    fn rectified(self) -> Self {
        // Of two of which one is not a number this instruction gives the second.
        Self(wide!(_mm512_max_ps(_mm512_setzero_ps(), self.0)))
    }
}

impl Vector<WIDE_LANES> for Wide {
    #[inline(always)]
    fn load(values: &[f32; WIDE_LANES]) -> Self {
        Self(wide!(_mm512_loadu_ps(values.as_ptr())))
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; WIDE_LANES]) {
        wide!(_mm512_storeu_ps(values.as_mut_ptr(), self.0));
    }
}
