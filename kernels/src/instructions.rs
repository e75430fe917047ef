//! Which of the processor's instructions a kernel is compiled for, and the one place where such code is called.
//!
//! Kernels are generic over the register: with AVX-512 sixteen channels lie in one instead of two, and there are twice
//! as many for sums.

use super::error::KernelError;

/// Code that is compiled once for each set of instructions. Everything that it calls is inlined into it, so that it is
/// compiled for them too.
pub trait Kernel {
    /// What it computes.
    type Output;

    /// On AVX2's registers.
    fn avx2(self) -> Self::Output;

    /// On AVX-512's registers.
    fn avx512(self) -> Self::Output;
}

/// A set of instructions that this processor has: there is no way to get another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instructions(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F and VL besides.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// All sets that this processor has, the best last.
    #[cfg(target_arch = "x86_64")]
    pub fn all() -> Vec<Self> {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
        [(avx2, Set::Avx2), (avx512, Set::Avx512)].into_iter().filter(|set| set.0).map(|set| Self(set.1)).collect()
    }

    /// No kernel is written for this kind of processor.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn all() -> Vec<Self> {
        Vec::new()
    }

    /// The best set.
    ///
    /// # Errors
    /// [`KernelError::Processor`].
    pub fn best() -> Result<Self, KernelError> {
        Self::all().pop().ok_or(KernelError::Processor)
    }

    /// Runs a kernel compiled for these instructions.
    #[cfg(target_arch = "x86_64")]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: a value of this type says that the processor has the instructions.
        unsafe {
            match self.0 {
                Set::Avx2 => run_avx2(kernel),
                Set::Avx512 => run_avx512(kernel),
            }
        }
    }

    /// Never called: there is no value of this type.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn run<K: Kernel>(self, _: K) -> K::Output {
        match self.0 {}
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.avx2()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.avx512()
}

/// Whether this processor has the instructions that the kernels need.
pub fn is_available() -> bool {
    Instructions::best().is_ok()
}
