//! What checks find out, by its type.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;

/// Figures of checks: one value of each type. A check leaves its own here for the checks after it, for sentences, the
/// page and the summary.
#[derive(Default)]
pub(crate) struct Figures(HashMap<TypeId, Box<dyn Any>>);

impl Figures {
    /// Leaves figures, in the place of earlier ones of this type.
    pub fn insert<T: Any>(&mut self, figures: T) {
        self.0.insert(TypeId::of::<T>(), Box::new(figures));
    }

    /// The figures of a type; none where the check did not look, or found nothing to look at.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").field("types", &self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_of_each_type() {
        let mut figures = Figures::default();
        figures.insert(3u64);
        figures.insert("light");
        figures.insert(4u64);
        assert_eq!(
            (figures.get::<u64>(), figures.get::<&str>(), figures.get::<f64>()),
            (Some(&4), Some(&"light"), None)
        );
    }
}
