//! Memory that begins with a line of the cache.

/// Bytes of a line, which are also those of AVX-512's registers.
const LINE: usize = 64;
/// Values of a line.
const VALUES: usize = LINE / size_of::<f32>();

/// Values that begin with a line. The allocator does not align to lines, and every load of AVX-512 would straddle two
/// and take twice the time.
#[derive(Debug, Default)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// So many zeros.
    pub fn zeros(count: usize) -> Self {
        let mut buffer = Self::default();
        buffer.first_mut(count);
        buffer
    }

    /// The first `count` values; at most as many as there are.
    pub fn first(&self, count: usize) -> &[f32] {
        self.0.get(self.start()..).and_then(|values| values.get(..count)).unwrap_or_default()
    }

    /// The first `count` values. The buffer grows for them, and forgets what it held.
    pub fn first_mut(&mut self, count: usize) -> &mut [f32] {
        if self.0.len() < count + VALUES {
            self.0 = vec![0.0; count + VALUES];
        }
        let start = self.start();
        &mut self.0[start..][..count]
    }

    /// Below [`VALUES`].
    fn start(&self) -> usize {
        self.0.as_ptr().align_offset(LINE).min(VALUES - 1)
    }
}
