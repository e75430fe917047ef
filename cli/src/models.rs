//! Models that are given with a name.

use std::path::{Path, PathBuf};

use dismax::model::Model;
use dismax::{Error, Result};

/// Reads the models of `NAME=MODEL` arguments, each under its name.
pub fn named(arguments: &[String]) -> Result<Vec<(String, Model)>> {
    let mut models: Vec<(String, Model)> = Vec::new();
    for argument in arguments {
        let (name, folder) = name_of(argument)?;
        if models.iter().any(|(taken, _)| *taken == name) {
            return Err(Error::Config(format!(
                "two models are called '{name}'; name them apart: --model first={folder} --model second=..."
            )));
        }
        models.push((name, Model::read(folder)?));
    }
    Ok(models)
}

/// Reads the models that lie in folders, each under the name of its own, which none of `others` may have.
pub fn in_folders(folders: &[PathBuf], others: &[(String, Model)]) -> Result<Vec<(String, Model)>> {
    let mut models: Vec<(String, Model)> = Vec::new();
    for folder in folders {
        let mut places = Vec::new();
        for entry in folder.read_dir().map_err(|error| Error::io(folder, error))? {
            places.push(entry.map_err(|error| Error::io(folder, error))?.path());
        }
        places.retain(|place| Model::is_at(place));
        places.sort();
        if places.is_empty() {
            return Err(Error::Config(format!(
                "{}: none of its folders is a model; a model itself is given with --model",
                folder.display()
            )));
        }
        for place in places {
            let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if others.iter().chain(&models).any(|(taken, _)| *taken == name) {
                return Err(Error::Config(format!(
                    "two models are called '{name}'; give one of them another name: --model NAME={}",
                    place.display()
                )));
            }
            models.push((name, Model::read(place)?));
        }
    }
    Ok(models)
}

/// `NAME=MODEL`, or a folder that gives its own name.
fn name_of(argument: &str) -> Result<(String, &str)> {
    match argument.split_once('=') {
        // A folder may have the sign in its name.
        Some((name, folder)) if !Path::new(argument).exists() && !name.is_empty() => Ok((name.to_owned(), folder)),
        _ => {
            let folder = Path::new(argument);
            let last = folder.canonicalize().ok().and_then(|folder| Some(folder.file_name()?.to_owned()));
            let name = last.as_deref().or(folder.file_name()).map(|name| name.to_string_lossy().into_owned());
            let name =
                name.ok_or_else(|| Error::Config(format!("{argument}: give it a name: --model NAME={argument}")))?;
            Ok((name, argument))
        }
    }
}
