//! The formats of tables.

use std::path::Path;

/// A format that datasets are read from and written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC with a footer ("Feather version 2").
    IpcFile,
    /// Arrow IPC as a stream of messages.
    IpcStream,
}

impl Format {
    /// The format that a file name's extension stands for: `parquet`/`pq`, `arrow`/`feather`/`ipc`, `arrows`.
    pub fn of_extension(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "arrow" | "feather" | "ipc" => Some(Self::IpcFile),
            "arrows" => Some(Self::IpcStream),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        assert_eq!(Format::of_extension(Path::new("a/b.PARQUET")), Some(Format::Parquet));
        assert_eq!(Format::of_extension(Path::new("b.feather")), Some(Format::IpcFile));
        assert_eq!(Format::of_extension(Path::new("b.arrows")), Some(Format::IpcStream));
        assert_eq!(Format::of_extension(Path::new("b.csv")), None);
        assert_eq!(Format::of_extension(Path::new("parquet")), None);
    }
}
