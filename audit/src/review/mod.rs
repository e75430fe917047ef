//! What is known about findings before an audit: those that an earlier audit has as well, and those that people
//! accepted.

mod acceptances;
mod reviewer;
mod template;

pub use self::acceptances::{Acceptance, Acceptances};
pub(super) use self::reviewer::Reviewer;
pub use self::reviewer::{ReviewFigures, ReviewOptions};
pub use self::template::acceptance_template;
