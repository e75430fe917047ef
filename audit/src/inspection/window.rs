//! Parts of a picture that are hashed and compared.

/// Most that a window's middle lies from the picture's, in steps of its size.
const AROUND: [i8; 3] = [-1, 0, 1];

/// A part of a picture with its proportions: one of three sizes at one of nine places around the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub size: WindowSize,
    /// Down from the middle, in steps of the size: -1, 0 or 1.
    pub row: i8,
    /// To the right of the middle, in steps of the size: -1, 0 or 1.
    pub column: i8,
}

/// Side of a window and the step between its places, as shares of a picture's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowSize {
    /// 0.9, in steps of a pixel of 32: what stays of a picture that was moved by so much.
    Large,
    /// 0.865, in steps of 0.017.
    Medium,
    /// 0.83, in steps of 0.033: the middle of a picture that was cropped to about nine tenths.
    Small,
}

impl WindowSize {
    /// All sizes, largest first.
    pub const ALL: [Self; 3] = [Self::Large, Self::Medium, Self::Small];

    /// Where the window begins along one side of the picture, and how long it is there, as shares of that side.
    pub const fn span(self, place: i8) -> (f64, f64) {
        let (side, step) = match self {
            Self::Large => (0.9, 1.0 / 32.0),
            Self::Medium => (0.865, 0.017),
            Self::Small => (0.83, 0.033),
        };
        ((1.0 - side) / 2.0 + place as f64 * step, side)
    }

    /// The spans of all its places along one side.
    pub fn spans(self) -> [(f64, f64); 3] {
        AROUND.map(|place| self.span(place))
    }
}

impl Window {
    /// The part by which a picture is looked for: nine tenths of each side, around the middle.
    pub const MIDDLE: Self = Self { size: WindowSize::Large, row: 0, column: 0 };

    /// Windows in which the middle of a picture lies that was moved by some pixels, or cropped to nine tenths or more
    /// and made as large as before: three sizes, each at nine places, row by row.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        WindowSize::ALL.into_iter().flat_map(|size| {
            AROUND.into_iter().flat_map(move |row| AROUND.into_iter().map(move |column| Self { size, row, column }))
        })
    }
}
