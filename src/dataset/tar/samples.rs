//! The members of a tar file, gathered to samples.

use std::io::{self, Read};
use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded};
use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry};

use crate::error::{Error, Result};

/// Groups of members that are read ahead.
const AHEAD: usize = 2;
/// Bytes from which members make a group, so that what is read ahead is bounded in bytes and small ones cost little.
const GROUP_BYTES: usize = 1 << 20;
/// A larger member is no part of a sample, and neither are members that are larger together.
const MAX_SAMPLE_BYTES: u64 = 256 << 20;
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
    groups: Receiver<Option<io::Result<Vec<Member>>>>,
    /// Members of the last group that were not taken yet.
    group: std::vec::IntoIter<Member>,
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
        let (sender, groups) = bounded(AHEAD);
        let unpack: Box<dyn Read + Send> =
            if is_packed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        thread::Builder::new().name("dismax-tar".into()).spawn(move || send_all(unpack, &sender)).map_err(about)?;
        Ok(Self { origin: origin.to_owned(), groups, group: Vec::new().into_iter(), next: None, ended: false })
    }

    fn member(&mut self) -> Result<Option<Member>> {
        if let Some(member) = self.group.next() {
            return Ok(Some(member));
        }
        if self.ended {
            return Ok(None);
        }
        let group = self.groups.recv();
        self.ended = !matches!(group, Ok(Some(Ok(_))));
        match group {
            Ok(None) => Ok(None),
            Ok(Some(Ok(members))) => {
                self.group = members.into_iter();
                Ok(self.group.next())
            }
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
        let mut bytes: u64 = members.iter().map(|member| member.bytes.len() as u64).sum();
        while let Some(member) = self.member()? {
            if members.first().is_some_and(|first| first.key != member.key) {
                self.next = Some(member);
                break;
            }
            bytes += member.bytes.len() as u64;
            if bytes > MAX_SAMPLE_BYTES {
                let message = format!("its sample has more than {} MiB, which none has", MAX_SAMPLE_BYTES >> 20);
                return Err(Error::data(format!("{}, {}", self.origin, member.name), message));
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

fn send_all(reader: impl Read, sender: &Sender<Option<io::Result<Vec<Member>>>>) {
    let mut archive = Archive::new(reader);
    let (mut group, mut bytes) = (Vec::new(), 0);
    let outcome = archive.entries().and_then(|mut entries| {
        entries.try_for_each(|entry| {
            let Some(member) = entry.and_then(read_member)? else { return Ok(()) };
            bytes += member.bytes.len();
            group.push(member);
            if bytes < GROUP_BYTES {
                return Ok(());
            }
            bytes = 0;
            sender.send(Some(Ok(std::mem::take(&mut group)))).map_err(|_| io::ErrorKind::BrokenPipe.into())
        })
    });
    // What is whole comes before the damage.
    if !group.is_empty() {
        let _ = sender.send(Some(Ok(group)));
    }
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
    if size > MAX_SAMPLE_BYTES {
        return Err(io::Error::other(format!("{name} has {size} bytes, the limit is {MAX_SAMPLE_BYTES}")));
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
