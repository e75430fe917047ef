//! How the bytes of a file become pixels, as far as that is a choice.

/// What is done while a file is decoded. It changes pixels, so it belongs to a network's preprocessing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoding {
    /// Whether the picture is turned as its EXIF orientation says.
    pub orientation: bool,
    /// The sides that a picture is needed in; JPEG files of at least twice the size are decoded at a half, a quarter or
    /// an eighth of theirs. Files are decoded in full where there is none.
    pub needed: Option<Needed>,
}

/// The size that will be made of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Both sides.
    Sides {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The shorter side.
    ShorterSide(u32),
}

impl Decoding {
    /// By how much a picture may be reduced: 1, 2, 4 or 8. `width` and `height` are those of the file.
    pub(super) fn divisor(self, width: u32, height: u32, is_turned: bool) -> u32 {
        let (width, height) = if is_turned { (height, width) } else { (width, height) };
        let suffices = |divisor: u32| match self.needed {
            None => false,
            Some(Needed::Sides { width: w, height: h }) => width / divisor >= w && height / divisor >= h,
            Some(Needed::ShorterSide(side)) => width.min(height) / divisor >= side,
        };
        [8, 4, 2].into_iter().find(|divisor| suffices(*divisor)).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_reduced_to_no_less_than_is_needed() {
        let divisor = |needed, width, height| Decoding { needed, orientation: false }.divisor(width, height, false);
        let side = Some(Needed::ShorterSide(256));
        assert_eq!([divisor(side, 4000, 3000), divisor(side, 3000, 2000), divisor(side, 900, 512)], [8, 4, 2]);
        assert_eq!([divisor(side, 900, 511), divisor(None, 4000, 3000)], [1, 1]);
        let sides = Some(Needed::Sides { width: 32, height: 64 });
        assert_eq!([divisor(sides, 256, 512), divisor(sides, 512, 256)], [8, 4]);
        assert_eq!(Decoding { needed: sides, orientation: true }.divisor(512, 256, true), 8);
    }
}
