//! What a small file may take of memory: a program of its own, so that nothing else does.

use std::fs;
use std::io;

use dismax::image::{Decoding, Limits, decode};
use flate2::Compression;
use flate2::write::ZlibEncoder;

/// Bytes of the profile once it is not compressed.
const PROFILE: u64 = 512 << 20;

fn compressed(mut bytes: impl io::Read) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    io::copy(&mut bytes, &mut encoder).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn chunk(name: &[u8; 4], data: &[u8], to: &mut Vec<u8>) {
    let named = [name, data].concat();
    to.extend((data.len() as u32).to_be_bytes());
    to.extend(&named);
    to.extend(crc32fast::hash(&named).to_be_bytes());
}

/// A PNG of 16x16 with this colour profile.
fn png(profile: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = 16u32.to_be_bytes();
    // 8 bits, colour, and the only kinds of compression, filters and order.
    chunk(b"IHDR", &[size.as_slice(), &size, &[8, 2, 0, 0, 0]].concat(), &mut file);
    chunk(b"iCCP", &[b"profile\0\0", profile].concat(), &mut file);
    chunk(b"IDAT", &compressed([0; 16 * (1 + 16 * 3)].as_slice()), &mut file);
    chunk(b"IEND", &[], &mut file);
    file
}

/// The most memory that this process has taken, in bytes.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn a_profile_that_unfolds_to_half_a_gigabyte_does_not_take_it() {
    let read = |file: &[u8]| decode(file, &Limits::default(), Decoding::default());
    let sound = read(&png(&compressed([7; 400].as_slice()))).expect("decodes");
    assert_eq!((sound.width, sound.height), (16, 16));

    let file = png(&compressed(io::Read::take(io::repeat(0), PROFILE)));
    assert!(file.len() < 8 << 20, "{} bytes", file.len());
    let before = most_memory();
    // The profile does not matter for the pixels, so that an image without it is as good.
    assert_eq!(read(&file).expect("decodes").data, sound.data);
    let taken = most_memory() - before;
    assert!(taken < PROFILE / 4, "{taken} bytes");
}
