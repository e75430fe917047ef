//! Channels that lie in one register, for both sets of instructions.
//!
//! Arrays become AVX2's registers by themselves. For AVX-512 the compiler makes single values of them in places, so
//! that its registers are
//! [named](super::wide).

/// Channels that AVX2 takes together: one of its registers.
pub const LANES: usize = 8;
/// Channels that AVX-512 takes together, where there are so many.
pub const WIDE_LANES: usize = 16;

/// The same value of several channels. Inlined into functions that are compiled for a processor.
pub trait Arithmetic: Copy {
    /// Zeros.
    fn zero() -> Self;
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self - other`.
    fn sub(self, other: Self) -> Self;
    /// `self * factor`.
    fn scaled(self, factor: f32) -> Self;
    /// `self * factor + other`.
    fn scaled_sum(self, factor: f32, other: Self) -> Self;
    /// `self * factor + other`, each channel with its own factor.
    fn product_sum(self, factor: Self, other: Self) -> Self;
    /// Zero where `other` is not above zero.
    fn where_positive(self, other: Self) -> Self;
    /// Zero where negative. What is not a number stays so, where a maximum would hide it.
    fn rectified(self) -> Self;
}

/// [`Arithmetic`] on `N` channels.
pub trait Vector<const N: usize>: Arithmetic {
    /// From memory.
    fn load(values: &[f32; N]) -> Self;
    /// To memory.
    fn store(self, values: &mut [f32; N]);

    /// The first `N` of `values`, of which there are so many.
    #[inline(always)]
    fn first_of(values: &[f32]) -> Self {
        debug_assert!(values.len() >= N);
        match values.first_chunk::<N>() {
            Some(values) => Self::load(values),
            None => Self::zero(),
        }
    }

    /// To the first `N` of `values`, of which there are so many.
    #[inline(always)]
    fn store_first(self, values: &mut [f32]) {
        debug_assert!(values.len() >= N);
        if let Some(values) = values.first_chunk_mut::<N>() {
            self.store(values);
        }
    }
}

/// Eight channels.
pub type Lanes = [f32; LANES];

impl<const N: usize> Arithmetic for [f32; N] {
    #[inline(always)]
    fn zero() -> Self {
        [0.0; N]
    }

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (a, b) in self.iter_mut().zip(other) {
            *a += b;
        }
        self
    }

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for (a, b) in self.iter_mut().zip(other) {
            *a -= b;
        }
        self
    }

    #[inline(always)]
    fn scaled(mut self, factor: f32) -> Self {
        for a in &mut self {
            *a *= factor;
        }
        self
    }

    #[inline(always)]
    fn scaled_sum(self, factor: f32, mut other: Self) -> Self {
        for (b, a) in other.iter_mut().zip(self) {
            *b = a.mul_add(factor, *b);
        }
        other
    }

    #[inline(always)]
    fn product_sum(self, factor: Self, mut other: Self) -> Self {
        for ((b, a), factor) in other.iter_mut().zip(self).zip(factor) {
            *b = a.mul_add(factor, *b);
        }
        other
    }

    #[inline(always)]
    fn where_positive(mut self, other: Self) -> Self {
        for (value, other) in self.iter_mut().zip(other) {
            *value = if other > 0.0 { *value } else { 0.0 };
        }
        self
    }

    #[inline(always)]
    fn rectified(mut self) -> Self {
        for value in &mut self {
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
        self
    }
}

impl<const N: usize> Vector<N> for [f32; N] {
    #[inline(always)]
    fn load(values: &[f32; N]) -> Self {
        *values
    }

    #[inline(always)]
    fn store(self, values: &mut [f32; N]) {
        *values = self;
    }
}
