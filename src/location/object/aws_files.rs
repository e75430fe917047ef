//! The two files in which Amazon's tools keep credentials and settings.
//!
//! Single sign-on is not done here: `aws configure export-credentials --format env` prints what such a profile gives as
//! environment variables.

use std::env;
use std::fs;
use std::path::PathBuf;

/// What a profile holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<String>,
    pub session_token: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
}

impl Profile {
    /// The profile that `AWS_PROFILE` names, else `default`; nothing where the files are not there.
    pub fn read() -> Self {
        let file = |variable: &str, name: &str| {
            let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".aws").join(name));
            env::var_os(variable).map(PathBuf::from).or_else(home).and_then(|path| fs::read_to_string(path).ok())
        };
        let name = env::var("AWS_PROFILE").unwrap_or_else(|_| "default".into());
        let mut profile = Self::default();
        profile.add(&file("AWS_CONFIG_FILE", "config").unwrap_or_default(), &name);
        profile.add(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials").unwrap_or_default(), &name);
        profile
    }

    /// Takes what a file says about the profile `name`. Sections of `config` are called `profile NAME`.
    fn add(&mut self, text: &str, name: &str) {
        let mut here = false;
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                let section = section.trim();
                here = section.strip_prefix("profile ").map_or(section, str::trim) == name;
            } else if let Some((key, value)) = line.split_once('=').filter(|_| here) {
                let place = match key.trim() {
                    "aws_access_key_id" => &mut self.access_key_id,
                    "aws_secret_access_key" => &mut self.secret_access_key,
                    "aws_session_token" => &mut self.session_token,
                    "region" => &mut self.region,
                    "endpoint_url" => &mut self.endpoint_url,
                    _ => continue,
                };
                *place = Some(value.trim().to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_gathered_from_both_files() {
        let mut profile = Profile::default();
        profile
            .add("[default]\nregion = a\n[profile work]\n# comment = 1\nregion=b\nendpoint_url = http://x\n", "work");
        profile
            .add("[work]\naws_access_key_id = k\naws_secret_access_key = s=1\n[default]\naws_session_token=t", "work");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            profile,
            Profile {
                access_key_id: text("k"),
                secret_access_key: text("s=1"),
                session_token: None,
                region: text("b"),
                endpoint_url: text("http://x"),
            }
        );
    }
}
