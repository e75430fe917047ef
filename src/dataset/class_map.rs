//! From the labels of a dataset to the classes of a model.

use super::chunk::Chunk;
use super::class_names::ClassNames;
use super::label_column::{LabelColumn, LabelKind, Labels};
use crate::error::{Error, Result};

/// How a dataset's labels become a model's classes: names by name, numbers by number. Where the dataset names its
/// numbers (Hugging Face's metadata) and at least one of these names is a class of the model, numbers go by name too:
/// two datasets may count the same classes in another order.
#[derive(Debug)]
pub struct ClassMap<'a> {
    column: &'a LabelColumn,
    classes: &'a [String],
    /// The dataset's names with the model's class of each; none where numbers are taken as they are.
    by_name: Option<(&'a [String], Vec<Option<usize>>)>,
    of_name: ClassNames<'a>,
}

/// Checks that a dataset which names the numbers of its labels names at least one of `classes`: a model must not learn
/// from numbers that mean something else.
///
/// # Errors
/// [`Error::Data`] with both lists.
pub fn require_common_class(column: &LabelColumn, classes: &[String]) -> Result<()> {
    let message = "; give the dataset the model's names, or leave the names out where the numbers agree";
    difference(column, classes).map_or(Ok(()), |difference| Err(Error::data("label column", difference + message)))
}

/// The two lists of classes, where a dataset names the numbers of its labels and has no class in common with `classes`.
fn difference(column: &LabelColumn, classes: &[String]) -> Option<String> {
    let names = column.class_names().filter(|_| column.kind() == LabelKind::Index)?;
    let known = ClassNames::new(classes);
    names.iter().all(|name| known.class_of(name).is_none()).then(|| {
        let (names, classes) = (names.join(", "), classes.join(", "));
        format!("none of the dataset's classes ({names}) is one of the model's ({classes})")
    })
}

/// What a row's label says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// Nothing: it is null.
    Null,
    /// A class of the model.
    Class(usize),
    /// Something that is no class of the model.
    Foreign(String),
}

impl<'a> ClassMap<'a> {
    /// The map from a label column to the classes of a model.
    pub fn new(column: &'a LabelColumn, classes: &'a [String]) -> Self {
        let of_name = ClassNames::new(classes);
        let by_name = column.class_names().filter(|_| column.kind() == LabelKind::Index).and_then(|names| {
            let map: Vec<_> = names.iter().map(|name| of_name.class_of(name)).collect();
            map.iter().any(Option::is_some).then_some((names, map))
        });
        if let Some(difference) = difference(column, classes) {
            log::warn!("{difference}; its labels are taken as numbers of the model's classes");
        }
        Self { column, classes, by_name, of_name }
    }

    /// What the label of each row says. Labels that are no classes of the model are no error here.
    ///
    /// # Errors
    /// A record batch without the column, or with another type.
    pub fn given(&self, chunk: &Chunk) -> Result<Vec<Given>> {
        let named = |name: &str| match self.of_name.class_of(name) {
            Some(class) => Given::Class(class),
            None => Given::Foreign(name.to_owned()),
        };
        let numbered = |number: i64| {
            let index = usize::try_from(number).ok();
            match &self.by_name {
                Some((names, _)) => match index.and_then(|index| names.get(index)) {
                    Some(name) => named(name),
                    None => Given::Foreign(number.to_string()),
                },
                None => match index.filter(|&class| class < self.classes.len()) {
                    Some(class) => Given::Class(class),
                    None => Given::Foreign(number.to_string()),
                },
            }
        };
        Ok(match self.column.labels_of(chunk)? {
            Labels::Indices(labels) => labels.into_iter().map(|label| label.map_or(Given::Null, numbered)).collect(),
            Labels::Names(labels) => {
                labels.into_iter().map(|label| label.map_or(Given::Null, |name| named(&name))).collect()
            }
        })
    }

    /// The model's class of each row, none where the label is null.
    ///
    /// # Errors
    /// A label that is not among the model's classes; the message has file and row.
    pub fn classes_of(&self, chunk: &Chunk) -> Result<Vec<Option<usize>>> {
        let labels = self.column.labels_of(chunk)?;
        let Some((names, map)) = &self.by_name else {
            return labels.to_classes(self.classes, &chunk.file, chunk.first_row);
        };
        let numbers = labels.to_classes(names, &chunk.file, chunk.first_row)?;
        let class_of = |(row, number): (usize, Option<usize>)| {
            let Some(number) = number else { return Ok(None) };
            map.get(number).copied().flatten().map(Some).ok_or_else(|| {
                let name = names.get(number).map_or("", String::as_str);
                Error::data(
                    format!("{}, row {}", chunk.file, chunk.first_row + row as u64),
                    format!(
                        "label {number} (\"{name}\") is not among the model's classes; leave such rows out, or evaluate \
                         them as out-of-distribution"
                    ),
                )
            })
        };
        numbers.into_iter().enumerate().map(class_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Map;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn given(labels: ArrayRef, names: &[&str]) -> Vec<Given> {
        let features = serde_json::json!({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}});
        let metadata = match names {
            [] => Map::new(),
            _ => Map::from([("huggingface".to_owned(), features.to_string())]),
        };
        let field = Field::new("label", labels.data_type().clone(), true);
        let schema = Arc::new(Schema::new_with_metadata(vec![field], metadata));
        let column = LabelColumn::find(&schema, None).expect("a label column");
        let record_batch = RecordBatch::try_new(schema, vec![labels]).expect("a record batch");
        let classes = ["cat", "dog"].map(String::from);
        let chunk = Chunk { record_batch, file: "made up".into(), source: 0, first_row: 0 };
        ClassMap::new(&column, &classes).given(&chunk).expect("labels")
    }

    #[test]
    fn labels_that_are_no_classes_are_told_apart_from_null() {
        let foreign = |label: &str| Given::Foreign(label.into());
        let names = StringArray::from(vec![Some("dog"), None, Some("bird")]);
        assert_eq!(given(Arc::new(names), &[]), [Given::Class(1), Given::Null, foreign("bird")]);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), None, Some(2), Some(-1)]));
        assert_eq!(given(numbers.clone(), &[]), [Given::Class(0), Given::Null, foreign("2"), foreign("-1")]);
        let by_name = given(numbers, &["dog", "bird", "cat"]);
        assert_eq!(by_name, [Given::Class(1), Given::Null, Given::Class(0), foreign("-1")]);
    }
}
