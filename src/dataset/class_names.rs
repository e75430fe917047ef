//! Finding a class by its name.

use std::collections::HashMap;

/// Classes by name. Names that differ only in case and outer spaces are one, unless two classes do.
#[derive(Debug)]
pub(super) struct ClassNames<'a> {
    exact: HashMap<&'a str, usize>,
    /// None for a name that several classes share.
    loose: HashMap<String, Option<usize>>,
}

impl<'a> ClassNames<'a> {
    pub fn new(names: &'a [String]) -> Self {
        let exact = names.iter().enumerate().map(|(class, name)| (name.as_str(), class)).collect();
        let mut loose: HashMap<String, Option<usize>> = HashMap::new();
        for (class, name) in names.iter().enumerate() {
            loose.entry(loosely(name)).and_modify(|known| *known = None).or_insert(Some(class));
        }
        Self { exact, loose }
    }

    /// The class of this name, if there is one.
    pub fn class_of(&self, name: &str) -> Option<usize> {
        self.exact.get(name).copied().or_else(|| self.loose.get(&loosely(name)).copied().flatten())
    }
}

fn loosely(name: &str) -> String {
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_outer_spaces_do_not_count_where_that_is_unambiguous() {
        let names = ["cat", "Dog ", "ship", "SHIP"].map(String::from);
        let classes = ClassNames::new(&names);
        assert_eq!(
            [" Cat", "dog", "ship", "SHIP"].map(|name| classes.class_of(name)),
            [Some(0), Some(1), Some(2), Some(3)]
        );
        assert_eq!(["Ship", "bird", ""].map(|name| classes.class_of(name)), [None; 3]);
    }
}
