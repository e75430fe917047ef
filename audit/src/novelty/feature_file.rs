//! Features of all different images in a temporary file, 2 bytes a number: what they are compared with is known only at
//! the end of the pass.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;

use dismax::error::{Error, Result};

/// Writes one row after the other. The file has no name and is gone with the last handle.
#[derive(Debug)]
pub(crate) struct FeatureWriter {
    file: BufWriter<File>,
    folder: PathBuf,
    row: Row,
    rows: usize,
}

/// A row as the file holds it.
#[derive(Debug, Clone)]
struct Row {
    stored: Vec<f16>,
    bytes: Vec<u8>,
}

impl Row {
    fn new(width: usize) -> Self {
        Self { stored: vec![f16::ZERO; width], bytes: vec![0; 2 * width] }
    }
}

impl FeatureWriter {
    /// A file in `folder`, which should be on a disk rather than in memory, for rows of `width` features.
    pub fn create(folder: &Path, width: usize) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| Error::io(folder, error))?;
        let (file, folder) = (BufWriter::new(file), folder.to_path_buf());
        Ok(Self { file, folder, row: Row::new(width), rows: 0 })
    }

    /// Appends a row.
    pub fn push(&mut self, features: &[f32]) -> Result<()> {
        let Row { stored, bytes } = &mut self.row;
        if features.len() != stored.len() {
            let (found, width) = (features.len(), stored.len());
            return Err(Error::Internal(format!("{found} features of a row, where others have {width}")));
        }
        stored.convert_from_f32_slice(features);
        for (two, value) in bytes.chunks_exact_mut(2).zip(stored.iter()) {
            two.copy_from_slice(&value.to_le_bytes());
        }
        self.file.write_all(bytes).map_err(|error| Error::io(&self.folder, error))?;
        self.rows += 1;
        Ok(())
    }

    /// No more rows.
    pub fn finish(self) -> Result<FeatureFile> {
        let Self { file, folder, row, rows } = self;
        let file = file.into_inner().map_err(|error| Error::io(&folder, error.into_error()))?;
        Ok(FeatureFile { file: BufReader::new(file), folder, row, rows })
    }
}

/// Reads rows back.
#[derive(Debug)]
pub(crate) struct FeatureFile {
    file: BufReader<File>,
    folder: PathBuf,
    row: Row,
    rows: usize,
}

impl FeatureFile {
    /// Shows these rows, which ascend, each with its place among them.
    pub fn each_of(&mut self, rows: &[u32], mut show: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let mut wanted = rows.iter().enumerate().peekable();
        self.each(|row, features| match wanted.next_if(|(_, wanted)| **wanted as usize == row) {
            Some((place, _)) => show(place, features),
            None => Ok(()),
        })
    }

    /// Shows every row in order.
    pub fn each(&mut self, mut show: impl FnMut(usize, &[f32]) -> Result<()>) -> Result<()> {
        let failed = |error| Error::io(&self.folder, error);
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut features = vec![0.0; self.row.stored.len()];
        for row in 0..self.rows {
            self.file.read_exact(&mut self.row.bytes).map_err(failed)?;
            let Row { stored, bytes } = &mut self.row;
            for (value, two) in stored.iter_mut().zip(bytes.as_chunks().0) {
                *value = f16::from_le_bytes(*two);
            }
            stored.convert_to_f32_slice(&mut features);
            show(row, &features)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_often_as_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = FeatureWriter::create(folder.path(), 3).expect("a file");
        let rows = [[0.5, -1.25, 1000.0], [0.1, 2.0, 3.0], [4.0, 5.0, 6.0]];
        for row in &rows {
            writer.push(row).expect("written");
        }
        assert!(writer.push(&[1.0]).is_err());
        let mut file = writer.finish().expect("written");
        for _ in 0..2 {
            let mut seen = Vec::new();
            let show = |row, features: &[f32]| {
                seen.push((row, features.to_vec()));
                Ok(())
            };
            file.each(show).expect("read");
            assert_eq!((seen.len(), &seen[0]), (3, &(0, rows[0].to_vec())));
            assert_eq!((seen[1].0, &seen[1].1[1..]), (1, &rows[1][1..]));
            assert!((seen[1].1[0] - 0.1).abs() < 1e-4, "rounded to f16");
        }
        let mut seen = Vec::new();
        let show = |place, features: &[f32]| {
            seen.push((place, features.to_vec()));
            Ok(())
        };
        file.each_of(&[0, 2], show).expect("read");
        assert_eq!(seen, [(0, rows[0].to_vec()), (1, rows[2].to_vec())]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "the file has no name");
    }
}
