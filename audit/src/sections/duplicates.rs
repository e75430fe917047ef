//! Images that occur more than once.

use super::Material;
use super::words::{are, more, repeats};
use crate::kind::Kind;
use crate::text::{count, counted};
use crate::view::{Section, Tone};
use dismax::error::Result;

/// Kinds that the section on duplicates shows.
const DUPLICATE_KINDS: [Kind; 4] = [Kind::ExactDuplicate, Kind::NearDuplicate, Kind::Leaked, Kind::LeakedNear];

impl Material<'_> {
    pub(super) fn duplicates(&mut self) -> Result<Section> {
        let summary = self.summary;
        let [exact, near, leaked, leaked_near] = DUPLICATE_KINDS.map(|kind| summary.of(kind));
        let mut text =
            format!("{} an earlier one byte for byte, {} nearly.", repeats(exact, "row"), repeats(near, "row"));
        text.push_str(&match summary.duplicates.reference_images {
            Some(images) => format!(
                " {} in the reference byte for byte and {} nearly ({} compared): the two are not independent where there are any.",
                are(leaked, "row"),
                count(leaked_near),
                counted(images, "row of it")
            ),
            None => " Without a reference dataset, leaks between datasets are not looked for.".to_owned(),
        });
        let tone = match (leaked + leaked_near, exact + near) {
            (0, 0) => Tone::Good,
            (0, _) => Tone::Warn,
            _ => Tone::Bad,
        };
        let how = "Exact duplicates by SHA-256. Near duplicates by a perceptual hash (pHash, 121 bits), found by multi-index hashing (Norouzi et al. 2012) and \
                   checked on small pictures; images of one tone are left out.";
        let mut section = Section::new("duplicates", "Duplicates", tone, text, how);
        section.count = Some(exact + near + leaked + leaked_near);
        let (gallery, all) = self.gallery(&DUPLICATE_KINDS)?;
        section.more = more(gallery.len(), all);
        section.gallery = gallery;
        Ok(section)
    }
}
