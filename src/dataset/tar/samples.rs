//! The members of a tar file, gathered to samples.

use std::io::{self, Read};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry};

use crate::error::{Error, Result};

/// Members that are read ahead.
const AHEAD: usize = 16;
/// A larger member is no part of a sample.
const MAX_MEMBER_BYTES: u64 = 512 << 20;
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// A file in the tar file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its whole name.
    pub name: String,
    /// The name up to the first dot after the last `/`, which the members of a sample share.
    pub key: String,
    /// What follows that dot, in small letters.
    pub ending: String,
    pub bytes: Vec<u8>,
}

/// What belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample(pub Vec<Member>);

impl Sample {
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|member| member.bytes.len()).sum()
    }

    pub fn key(&self) -> &str {
        self.0.first().map_or("", |member| &member.key)
    }

    pub fn member(&self, ending: &str) -> Option<&Member> {
        self.0.iter().find(|member| member.ending == ending)
    }
}

/// Reads a tar file on a thread of its own, and yields its samples in order.
#[derive(Debug)]
pub(super) struct Samples {
    origin: String,
    /// Ends with `None`: a thread that panicked must not look like the end.
    members: Receiver<Option<io::Result<Member>>>,
    /// The first member of the next sample.
    next: Option<Member>,
    ended: bool,
}

impl Samples {
    /// Begins. Whether the bytes are packed with gzip is seen from the first of them.
    ///
    /// # Errors
    /// When nothing can be read, or the system gives no thread.
    pub fn read(origin: &str, mut reader: Box<dyn Read + Send>) -> Result<Self> {
        let mut start = Vec::with_capacity(GZIP.len());
        let about = |source| Error::io(origin, source);
        reader.by_ref().take(GZIP.len() as u64).read_to_end(&mut start).map_err(about)?;
        let is_packed = start == GZIP;
        let whole = io::Cursor::new(start).chain(reader);
        let (sender, members) = bounded(AHEAD);
        let unpack: Box<dyn Read + Send> =
            if is_packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        thread::Builder::new().name("dismax-tar".into()).spawn(move || send_all(unpack, &sender)).map_err(about)?;
        Ok(Self { origin: origin.to_owned(), members, next: None, ended: false })
    }

    fn member(&mut self) -> Result<Option<Member>> {
        if self.ended {
            return Ok(None);
        }
        let member = self.members.recv();
        self.ended = !matches!(member, Ok(Some(Ok(_))));
        match member {
            Ok(None) => Ok(None),
            Ok(Some(Ok(member))) => Ok(Some(member)),
            Ok(Some(Err(error))) => Err(Error::data(
                &self.origin,
                format!(
                    "this tar file is incomplete or damaged ({error}); write or download it again, or leave it out"
                ),
            )),
            Err(_) => Err(Error::Internal("the thread that reads a tar file ended unexpectedly".into())),
        }
    }

    fn sample(&mut self) -> Result<Option<Sample>> {
        let mut members: Vec<Member> = self.next.take().into_iter().collect();
        while let Some(member) = self.member()? {
            if members.first().is_some_and(|first| first.key != member.key) {
                self.next = Some(member);
                break;
            }
            members.push(member);
        }
        Ok((!members.is_empty()).then_some(Sample(members)))
    }
}

impl Iterator for Samples {
    type Item = Result<Sample>;

    fn next(&mut self) -> Option<Self::Item> {
        self.sample().transpose()
    }
}

fn send_all(reader: impl Read, sender: &Sender<Option<io::Result<Member>>>) {
    let mut archive = Archive::new(reader);
    let outcome = archive.entries().and_then(|mut entries| {
        entries.try_for_each(|entry| match entry.and_then(read_member)? {
            Some(member) => sender.send(Some(Ok(member))).map_err(|_| io::ErrorKind::BrokenPipe.into()),
            None => Ok(()),
        })
    });
    // Nobody listens any more once reading was given up.
    let _ = match outcome {
        Ok(()) => sender.send(None),
        Err(error) => sender.send(Some(Err(error))),
    };
}

/// The member of a sample; `None` for folders, links and hidden files such as those that macOS adds.
fn read_member(mut entry: Entry<'_, impl Read>) -> io::Result<Option<Member>> {
    let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let hidden = name[start..].starts_with(['.', '_']);
    if !entry.header().entry_type().is_file() || hidden {
        return Ok(None);
    }
    let size = entry.size();
    if size > MAX_MEMBER_BYTES {
        return Err(io::Error::other(format!("{name} has {size} bytes, the limit is {MAX_MEMBER_BYTES}")));
    }
    // Memory follows what arrives: the size may lie.
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    if bytes.len() as u64 != size {
        return Err(io::Error::other(format!("{name} is cut off after {} of {size} bytes", bytes.len())));
    }
    let dot = name[start..].find('.').map_or(name.len(), |dot| start + dot);
    let ending = name[dot..].trim_start_matches('.').to_ascii_lowercase();
    Ok(Some(Member { key: name[..dot].to_owned(), ending, bytes, name }))
}
