//! What Hugging Face's `datasets` writes into a schema: the key `huggingface` with JSON about the columns' features.

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Map, Value, json};

/// Key of the schema's metadata.
pub const METADATA_KEY: &str = "huggingface";

/// Entries of `info` about the files of a dataset.
const COUNTS: [&str; 6] =
    ["splits", "download_size", "download_checksums", "dataset_size", "size_in_bytes", "post_processing_size"];

/// Names of the classes of a column that is a `ClassLabel` feature.
pub(super) fn class_names(schema: &Schema, column: &str) -> Option<Vec<String>> {
    let metadata: Value = serde_json::from_str(schema.metadata().get(METADATA_KEY)?).ok()?;
    let names = metadata.get("info")?.get("features")?.get(column)?.get("names")?.as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|name| Some(name.as_str()?.to_owned())).collect();
    names.filter(|names| !names.is_empty())
}

/// The metadata with features for the columns of `input` and the fields in `added`, so that older readers, which take
/// the listed columns for all there are, open the file too. `None` when `metadata_json` lists no features or a field
/// has no counterpart there; the metadata are better left out then.
pub fn extend_features(metadata_json: &str, input: &Schema, added: &[Field]) -> Option<String> {
    let mut metadata: Value = serde_json::from_str(metadata_json).ok()?;
    // It stands for the contents, which are others now.
    metadata.as_object_mut()?.remove("fingerprint");
    let info = metadata.get_mut("info")?.as_object_mut()?;
    // What counts the dataset that the columns were added to would be wrong now; licence, citation and the like stay.
    info.retain(|key, _| !COUNTS.contains(&key.as_str()));
    let features: &mut Map<String, Value> = info.get_mut("features")?.as_object_mut()?;
    features.retain(|name, _| input.column_with_name(name).is_some());
    for field in added {
        features.insert(field.name().clone(), feature(field.data_type())?);
    }
    Some(metadata.to_string())
}

/// The feature of a type. Lists use the name `Sequence`, which old and new readers know.
fn feature(data_type: &DataType) -> Option<Value> {
    let value = |name: &str| Some(json!({"dtype": name, "_type": "Value"}));
    match data_type {
        DataType::Boolean => value("bool"),
        DataType::Int8 => value("int8"),
        DataType::Int16 => value("int16"),
        DataType::Int32 => value("int32"),
        DataType::Int64 => value("int64"),
        DataType::UInt8 => value("uint8"),
        DataType::UInt16 => value("uint16"),
        DataType::UInt32 => value("uint32"),
        DataType::UInt64 => value("uint64"),
        DataType::Float16 => value("float16"),
        DataType::Float32 => value("float32"),
        DataType::Float64 => value("float64"),
        DataType::Utf8 => value("string"),
        DataType::LargeUtf8 => value("large_string"),
        // Readers there turn dictionaries into their values.
        DataType::Dictionary(_, values) => feature(values),
        DataType::List(item) => Some(json!({"feature": feature(item.data_type())?, "_type": "Sequence"})),
        DataType::FixedSizeList(item, length) => {
            Some(json!({"feature": feature(item.data_type())?, "length": length, "_type": "Sequence"}))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"info": {"features": {"img": {"_type": "Image"}, "label": {"names": ["cat", "dog"],
        "_type": "ClassLabel"}}, "splits": {"train": {"num_examples": 5}},
        "license": "MIT"}, "fingerprint": "1"}"#;

    #[test]
    fn names_of_classes() {
        let schema = |json: &str| {
            let metadata = [(METADATA_KEY.to_string(), json.to_string())];
            Schema::new_with_metadata(Vec::<Field>::new(), metadata.into())
        };
        assert_eq!(class_names(&schema(METADATA), "label"), Some(vec!["cat".into(), "dog".into()]));
        assert_eq!(class_names(&schema(METADATA), "img"), None);
        assert_eq!(class_names(&schema("no json"), "label"), None);
        assert_eq!(class_names(&Schema::empty(), "label"), None);
    }

    #[test]
    fn added_features() {
        let added = [
            Field::new_dictionary("prediction", DataType::Int16, DataType::Utf8, true),
            Field::new("ood_score", DataType::Float32, true),
            Field::new_fixed_size_list("probabilities", Field::new("item", DataType::Float32, false), 10, true),
            Field::new("is_ood", DataType::Boolean, true),
        ];
        let [input, without_images] = [&["img", "label"][..], &["label"]].map(|names| {
            Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>())
        });
        let extend = |metadata: &str, input: &Schema, added: &[Field]| extend_features(metadata, input, added);
        let extended: Value =
            serde_json::from_str(&extend(METADATA, &input, &added).expect("extends")).expect("is JSON");
        let features = &extended["info"]["features"];
        assert_eq!(features["img"], json!({"_type": "Image"}));
        assert_eq!(features["prediction"], json!({"dtype": "string", "_type": "Value"}));
        assert_eq!(
            features["probabilities"],
            json!({"feature": {"dtype": "float32", "_type": "Value"}, "length": 10, "_type": "Sequence"})
        );
        assert_eq!(features["is_ood"]["dtype"], "bool");
        assert_eq!(extended["info"]["license"], "MIT");
        assert!(extended["info"].get("splits").is_none() && extended.get("fingerprint").is_none());
        assert_eq!(extend("{}", &input, &added), None);
        assert_eq!(extend(METADATA, &input, &[Field::new("when", DataType::Date32, true)]), None);
        let without: Value =
            serde_json::from_str(&extend(METADATA, &without_images, &added).expect("extends")).expect("is JSON");
        let features = without["info"]["features"].as_object().expect("features");
        assert!(features.contains_key("label") && !features.contains_key("img"), "{features:?}");
    }
}
