//! Charts as SVG text: numbers in, pictures out. SVG needs no font files and prints well.
//!
//! [`training`], [`reliability`] and [`score_histogram`] draw pages of their own on white; [`p_values`],
//! [`reliability_bins`] and [`score_distributions`] draw small charts without a background, to be placed inside an HTML
//! page. [`bar`] and [`sparkline`] are drawings of the size of a word, for the cells of a table.
//!
//! All charts use the colours of Okabe and Ito (2008), which people with any colour vision can tell apart, and put
//! their legend outside the plot, where it hides no data.

mod draw;
mod inline;
mod reliability;
mod score_histogram;
mod training;
mod word;

pub use self::inline::{p_values, reliability_bins, score_distributions};
pub use self::reliability::{Bin, ReliabilityPanel, reliability};
pub use self::score_histogram::{ScoreHistogram, ScoreSet, score_histogram};
pub use self::training::{Epoch, training};
pub use self::word::{bar, sparkline};

#[cfg(test)]
mod tests;
