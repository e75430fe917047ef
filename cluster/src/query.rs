//! What a worker is told about a query besides its plan.

use dismax_udfs::ModelName;
use http::{HeaderMap, HeaderValue};

use crate::error::{Error, Result};

const ID: &str = "x-dismax-query";
const MODELS: &str = "x-dismax-models";

/// A query as its workers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// What logs call it.
    pub id: String,
    /// What its functions call which model: functions travel by their names.
    pub models: Vec<ModelName>,
}

impl Query {
    pub fn add_to(&self, headers: &mut HeaderMap) -> Result<()> {
        let models: Vec<(&str, &str)> =
            self.models.iter().map(|model| (model.name.as_str(), model.digest.as_str())).collect();
        // As ASCII: names may have any characters.
        let models = serde_json::to_string(&models).expect("pairs of strings are JSON");
        let escape = |c: char| match c.is_ascii() {
            true => c.to_string(),
            false => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        };
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| Error::Config("a model has a name that cannot travel".into()))
        };
        headers.insert(MODELS, value(&models.chars().map(escape).collect::<String>())?);
        headers.insert(ID, value(&self.id)?);
        Ok(())
    }

    /// # Errors
    /// Headers of something else than a coordinator of this release.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        let wrong = || Error::Config("the request comes from no coordinator of this release".into());
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(wrong);
        let models: Vec<(String, String)> = serde_json::from_str(text(MODELS)?).map_err(|_| wrong())?;
        let models = models.into_iter().map(|(name, digest)| ModelName { name, digest }).collect();
        Ok(Self { id: text(ID)?.to_owned(), models })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_languages_travel() {
        let model = |name: &str| ModelName { name: name.into(), digest: "ab".into() };
        let query = Query { id: "1".into(), models: vec![model("größe \"x\""), model("模型🙂")] };
        let mut headers = HeaderMap::new();
        query.add_to(&mut headers).expect("ASCII");
        assert_eq!(Query::of(&headers).expect("the same"), query);
        assert!(Query::of(&HeaderMap::new()).is_err());
    }
}
