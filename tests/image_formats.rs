//! Every image format and pixel type that is read, what is refused, and resizing against Pillow.
//!
//! The files in `tests/data` were made by `tests/data/make_images.py`.

use std::io::Cursor;
use std::path::PathBuf;

use dismax::RowErrorCode;
use dismax::image::{Decoding, Limits, Needed, Pixels, Preprocessing, Resize, ReusableResizer, decode};
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};

const LOSSLESS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff];

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("the encoder takes this pixel type");
    bytes.into_inner()
}

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(path).expect("made by make_images.py and committed")
}

fn decoded(bytes: &[u8]) -> Pixels {
    decode(bytes, &Limits::default(), Decoding::default()).expect("decodes")
}

fn code(bytes: &[u8]) -> RowErrorCode {
    decode(bytes, &Limits::default(), Decoding::default()).expect_err("should be refused").code
}

/// 20 x 14 with 35 colours: few enough for a GIF's palette.
fn picture() -> RgbImage {
    RgbImage::from_fn(20, 14, |x, y| Rgb([(x / 4 * 50) as u8, (y / 2 * 30) as u8, 200 - (x / 4 * 20) as u8]))
}

fn mean_difference(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    let sum: u64 = one.iter().zip(other).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
    sum as f64 / one.len() as f64
}

#[test]
fn lossless_formats_give_the_pixels_back() {
    for format in LOSSLESS {
        let pixels = decoded(&encode(picture(), format));
        assert_eq!((pixels.width, pixels.height), (20, 14), "{format:?}");
        assert_eq!(pixels.data, picture().into_raw(), "{format:?}");
    }
}

#[test]
fn jpeg_gives_nearly_the_pixels_back() {
    let plain = RgbImage::from_pixel(16, 16, Rgb([200, 100, 50]));
    let pixels = decoded(&encode(plain.clone(), ImageFormat::Jpeg));
    assert!(mean_difference(&pixels.data, plain.as_raw()) < 3.0);
    let progressive = decoded(&data("progressive.jpg"));
    assert_eq!((progressive.width, progressive.height), (24, 16));
}

#[test]
fn grey_becomes_three_equal_channels() {
    let grey = GrayImage::from_fn(5, 3, |x, y| Luma([(x * 40 + y) as u8]));
    let expected: Vec<u8> = grey.as_raw().iter().flat_map(|&value| [value; 3]).collect();
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff] {
        assert_eq!(decoded(&encode(grey.clone(), format)).data, expected, "{format:?}");
    }
    let jpeg = decoded(&encode(grey, ImageFormat::Jpeg)).data;
    assert!(jpeg.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
}

#[test]
fn alpha_is_dropped_not_composited() {
    let image = RgbaImage::from_fn(4, 2, |x, y| Rgba([(x * 60) as u8, (y * 90) as u8, 7, (x * 80) as u8]));
    let expected: Vec<u8> = image.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        assert_eq!(decoded(&encode(image.clone(), format)).data, expected, "{format:?}");
    }
    let grey = GrayAlphaImage::from_raw(2, 1, vec![10, 0, 200, 128]).expect("fits");
    assert_eq!(decoded(&encode(grey, ImageFormat::Png)).data, [10, 10, 10, 200, 200, 200]);
}

#[test]
fn sixteen_bits_keep_the_high_byte() {
    let rgb = ImageBuffer::<Rgb<u16>, _>::from_raw(1, 2, vec![0x12FF, 0xAB00, 0xFFFF, 0x0080, 0x00FF, 0x0100]);
    let rgb = DynamicImage::from(rgb.expect("fits"));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        assert_eq!(decoded(&encode(rgb.clone(), format)).data, [0x12, 0xAB, 0xFF, 0, 0, 1], "{format:?}");
    }
    let grey = ImageBuffer::<Luma<u16>, _>::from_raw(2, 1, vec![0x7FFF, 0x8000]).expect("fits");
    assert_eq!(decoded(&encode(grey, ImageFormat::Png)).data, [0x7F, 0x7F, 0x7F, 0x80, 0x80, 0x80]);
    let alpha = ImageBuffer::<Rgba<u16>, _>::from_raw(1, 1, vec![0x0102, 0x0304, 0x0506, 0]).expect("fits");
    assert_eq!(decoded(&encode(alpha, ImageFormat::Png)).data, [1, 3, 5]);
}

#[test]
fn floating_point_pixels_are_refused() {
    let image = ImageBuffer::<Rgb<f32>, _>::from_raw(1, 1, vec![0.5f32, 0.5, 0.5]).expect("fits");
    let error = decode(&encode(image, ImageFormat::Tiff), &Limits::default(), Decoding::default())
        .expect_err("no scale is known");
    assert!(error.to_string().contains("floating-point"), "{error}");
}

#[test]
fn cmyk_as_pillow_converts_it() {
    let ours = decoded(&data("cmyk.jpg"));
    let pillow = decoded(&data("cmyk_as_rgb.png"));
    assert_eq!((ours.width, ours.height), (pillow.width, pillow.height));
    let difference = mean_difference(&ours.data, &pillow.data);
    assert!(difference < 2.0, "mean difference {difference}");
}

#[test]
fn orientation_is_not_applied() {
    let pixels = decoded(&data("orientation_6.jpg"));
    assert_eq!((pixels.width, pixels.height), (24, 16));
}

#[test]
fn first_picture_of_an_animation() {
    let mut bytes = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        for colour in [[255, 0, 0, 255], [0, 255, 0, 255]] {
            let frame = image::Frame::new(RgbaImage::from_pixel(3, 2, Rgba(colour)));
            encoder.encode_frame(frame).expect("encodes");
        }
    }
    assert_eq!(decoded(&bytes).data, [255, 0, 0].repeat(6));
}

/// A PNG whose header promises `width` x `height` RGB pixels and whose data are a few bytes.
fn promising_png(width: u32, height: u32) -> Vec<u8> {
    fn chunk(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let body = [kind.as_slice(), content].concat();
        let mut checksum = u32::MAX;
        for byte in &body {
            checksum ^= u32::from(*byte);
            for _ in 0..8 {
                checksum = if checksum & 1 == 1 { checksum >> 1 ^ 0xEDB8_8320 } else { checksum >> 1 };
            }
        }
        [&(content.len() as u32).to_be_bytes()[..], &body, &(!checksum).to_be_bytes()].concat()
    }
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header), &chunk(b"IDAT", &[0x78, 0x9C, 1]), &chunk(b"IEND", &[])]
        .concat()
}

#[test]
fn too_many_pixels_are_refused_by_the_header() {
    let error = decode(&promising_png(30_000, 30_000), &Limits::default(), Decoding::default())
        .expect_err("900 million pixels");
    assert_eq!(error.to_string(), "too_many_pixels: 30000 x 30000 = 900000000 pixels, the limit is 100000000");
    assert_eq!(code(&promising_png(u32::MAX >> 1, u32::MAX >> 1)), RowErrorCode::TooManyPixels);
    // The same check with a limit that the user chose, in every format.
    let mut formats = LOSSLESS.to_vec();
    formats.push(ImageFormat::Jpeg);
    for format in formats {
        let bytes = encode(picture(), format);
        let error = decode(&bytes, &Limits { max_pixels: 279 }, Decoding::default()).expect_err("280 pixels");
        assert_eq!(error.code, RowErrorCode::TooManyPixels, "{format:?}: {error}");
        assert!(error.detail.contains("20 x 14 = 280 pixels, the limit is 279"), "{format:?}: {error}");
        assert!(decode(&bytes, &Limits { max_pixels: 280 }, Decoding::default()).is_ok(), "{format:?}");
    }
}

#[test]
fn files_that_were_cut_off_are_refused() {
    let mut files: Vec<(String, Vec<u8>)> =
        LOSSLESS.into_iter().map(|format| (format!("{format:?}"), encode(picture(), format))).collect();
    for name in ["progressive.jpg", "orientation_6.jpg", "cmyk.jpg"] {
        files.push((name.into(), data(name)));
    }
    for (name, bytes) in files {
        let reduced = Decoding { orientation: true, needed: Some(Needed::ShorterSide(2)) };
        for (length, decoding) in (0..bytes.len()).flat_map(|length| [(length, Decoding::default()), (length, reduced)])
        {
            match decode(&bytes[..length], &Limits::default(), decoding) {
                // The very end holds what a decoder can do without: checksums, trailers, padding.
                Ok(_) => assert!(length + 16 >= bytes.len() && !name.ends_with("jpg"), "{name} cut at {length}"),
                Err(error) => assert!(!error.detail.contains("panicked"), "{name} cut at {length}: {error}"),
            }
        }
        assert_eq!(code(&bytes[..bytes.len() / 2]), RowErrorCode::DecodeFailed, "{name}");
    }
}

#[test]
fn altered_bytes_never_stop_the_run() {
    let mut files: Vec<Vec<u8>> = LOSSLESS.into_iter().map(|format| encode(picture(), format)).collect();
    files.extend(["progressive.jpg", "cmyk.jpg"].map(data));
    // A bound on pixels keeps altered sizes cheap.
    let limits = Limits { max_pixels: 1 << 20 };
    for bytes in files {
        for position in 0..bytes.len() {
            for value in [0, 0x7F, 0xFF, bytes[position] ^ 0x10] {
                let mut altered = bytes.clone();
                altered[position] = value;
                for needed in [None, Some(Needed::ShorterSide(2))] {
                    if let Ok(pixels) = decode(&altered, &limits, Decoding { orientation: true, needed }) {
                        assert_eq!(pixels.data.len(), pixels.width as usize * pixels.height as usize * 3);
                    }
                }
            }
        }
    }
}

#[test]
fn resizing_is_pillows_bilinear() {
    let source = decoded(&data("resize_source.png"));
    let shorter = Preprocessing { resize: Resize::ShorterSide { pixels: 26 }, ..Preprocessing::new(24, 20) };
    let mut resizer = ReusableResizer::new();
    for (name, preprocessing) in [
        ("resize_exact_32x32.png", Preprocessing::new(32, 32)),
        ("resize_exact_80x70.png", Preprocessing::new(70, 80)),
        ("resize_shorter_26_crop_24x20.png", shorter),
    ] {
        let pillow = decoded(&data(name));
        let mut ours = vec![0; preprocessing.image_bytes()];
        preprocessing.apply_into(&source, &mut resizer, &mut ours).expect("resizes");
        let difference = mean_difference(&ours, &pillow.data);
        let worst = ours.iter().zip(&pillow.data).map(|(ours, pillow)| ours.abs_diff(*pillow)).max();
        println!("{name}: mean difference {difference:.4}, largest {worst:?}");
        // Both round to u8 between the two passes, in another order of passes: a level or two apart, seldom.
        assert!(difference < 0.2 && worst <= Some(2), "{name}: mean {difference}, largest {worst:?}");
    }
}

/// A JPEG file whose EXIF data hold this orientation.
fn turned(picture: &RgbImage, orientation: u8) -> Vec<u8> {
    let plain = encode(picture.clone(), ImageFormat::Jpeg);
    // One entry, 0x0112 of type SHORT, in big-endian TIFF.
    let mut exif = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).expect("short").to_be_bytes();
    [&plain[..2], &[0xFF, 0xE1], &length, &exif, &plain[2..]].concat()
}

#[test]
fn all_eight_orientations_show_the_same_picture() {
    // Red above left, green above right, blue below left; not square.
    let upright = RgbImage::from_fn(64, 48, |x, y| match (x < 32, y < 24) {
        (true, true) => Rgb([250, 0, 0]),
        (false, true) => Rgb([0, 250, 0]),
        (true, false) => Rgb([0, 0, 250]),
        (false, false) => Rgb([0, 0, 0]),
    });
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    // What a camera that was held so stores, by the value of the tag.
    let stored = [
        upright.clone(),
        flip_horizontal(&upright),
        rotate180(&upright),
        flip_vertical(&upright),
        flip_horizontal(&rotate90(&upright)),
        rotate270(&upright),
        flip_horizontal(&rotate270(&upright)),
        rotate90(&upright),
    ];
    let corners = |pixels: &Pixels| {
        let at = |x: u32, y: u32| {
            let place = 3 * (y * pixels.width + x) as usize;
            pixels.data[place..place + 3].iter().map(|value| *value > 125).collect::<Vec<_>>()
        };
        let (right, below) = (pixels.width - pixels.width / 8, pixels.height - pixels.height / 8);
        [at(pixels.width / 8, pixels.height / 8), at(right, pixels.height / 8), at(pixels.width / 8, below)]
    };
    let wanted = [[true, false, false], [false, true, false], [false, false, true]].map(Vec::from);
    for (number, picture) in stored.iter().enumerate() {
        let bytes = turned(picture, number as u8 + 1);
        for needed in [None, Some(Needed::Sides { width: 32, height: 24 }), Some(Needed::ShorterSide(12))] {
            let decoding = Decoding { orientation: true, needed };
            let pixels = decode(&bytes, &Limits::default(), decoding).expect("decodes");
            assert_eq!(pixels.stored, (64, 48), "orientation {}", number + 1);
            let size = match needed {
                None => (64, 48),
                Some(Needed::Sides { .. }) => (32, 24),
                Some(Needed::ShorterSide(_)) => (16, 12),
            };
            assert_eq!((pixels.width, pixels.height), size, "orientation {}", number + 1);
            assert_eq!(corners(&pixels), wanted, "orientation {} {needed:?}", number + 1);
        }
        let as_stored = decode(&bytes, &Limits::default(), Decoding::default()).expect("decodes");
        assert_eq!((as_stored.width, as_stored.height), picture.dimensions(), "old models do not turn");
    }
}

#[test]
fn a_reduced_picture_is_the_picture_made_small() {
    let picture = RgbImage::from_fn(800, 600, |x, y| {
        let wave = |value: u32, period: f32| (127.0 + 120.0 * (value as f32 / period).sin()) as u8;
        Rgb([wave(x, 60.0), wave(y, 45.0), wave(x + y, 90.0)])
    });
    let bytes = encode(picture, ImageFormat::Jpeg);
    for (divisor, side) in [(2, 300), (4, 150), (8, 75)] {
        let preprocessing = Preprocessing {
            resize: Resize::ShorterSide { pixels: side },
            reduced: true,
            ..Preprocessing::new(side, side)
        };
        let apply = |decoding| {
            let pixels = decode(&bytes, &Limits::default(), decoding).expect("decodes");
            let mut out = vec![0; preprocessing.image_bytes()];
            preprocessing.apply_into(&pixels, &mut ReusableResizer::default(), &mut out).expect("fits");
            (pixels, out)
        };
        let (reduced, small) = apply(preprocessing.decoding());
        assert_eq!((reduced.width, reduced.height), (800 / divisor, 600 / divisor));
        assert_eq!(reduced.stored, (800, 600));
        let (_, expected) = apply(Decoding::default());
        let difference = mean_difference(&small, &expected);
        assert!(difference < 2.5, "1/{divisor}: {difference}");
    }
    // Damage is an error as in full.
    let decoding = Decoding { needed: Some(Needed::ShorterSide(75)), ..Decoding::default() };
    let limits = Limits::default();
    assert_eq!(decode(&bytes[..bytes.len() / 2], &limits, decoding).expect_err("cut").code, RowErrorCode::DecodeFailed);
    let png = encode(RgbImage::from_pixel(640, 640, Rgb([1, 2, 3])), ImageFormat::Png);
    assert_eq!(decode(&png, &limits, decoding).expect("decodes").width, 640, "other formats are decoded in full");
}
