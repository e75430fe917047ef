//! Audits without a model: what images show by themselves.

mod pictures;

use std::fs;
use std::path::Path;

use dismax::cancel::Cancel;
use dismax::dataset::{Dataset, LoadOptions};
use dismax::image::Limits;
use dismax::run::{Progress, Run};
use dismax::stage::DecodeOptions;
use dismax::{Error, Result};
use dismax_audit::{AuditInputs, AuditOptions, AuditSummary, Kind, audit_images};
use image::ImageFormat;
use pictures::{encoded, pairs, picture};

fn png(seed: u64) -> Vec<u8> {
    encoded(&picture(seed, 0), ImageFormat::Png)
}

/// Files by their names from the folder.
fn write(folder: &Path, files: &[(String, Vec<u8>)]) -> String {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    folder.display().to_string()
}

fn run(input: &str, reference: Option<&str>, out: &Path, images: &DecodeOptions) -> Result<AuditSummary> {
    let reference = reference.map(|reference| Dataset::open(&[reference])).transpose()?;
    let dataset = Dataset::open(&[input])?;
    let inputs = AuditInputs { reference: reference.as_ref(), ..AuditInputs::new(&dataset) };
    let mut run = Run { cancel: Cancel::default(), progress: &mut |_| () };
    audit_images(images, &inputs, out, &AuditOptions::default(), &mut run)
}

#[test]
fn broken_odd_repeated_and_leaked_files_of_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    // Forty pictures in two classes, in the order of their names.
    let class = |seed: u64| if seed < 20 { "ant" } else { "bee" };
    let mut files: Vec<_> = (0..40).map(|seed| (format!("{}/{seed:02}.png", class(seed)), png(seed))).collect();
    let cut_off = png(50)[..600].to_vec();
    let black = encoded(&image::RgbImage::new(40, 40), ImageFormat::Png);
    let wide = encoded(
        &image::imageops::resize(&picture(51, 0), 200, 20, image::imageops::FilterType::Nearest),
        ImageFormat::Png,
    );
    let odd = [
        ("40.png", b"no image".to_vec()),
        ("41.png", cut_off),
        ("42.png", Vec::new()),
        ("43.jpg", png(52)),
        ("44.png", black),
        ("45.png", wide),
        ("46.jpg", encoded(&picture(4, 0), ImageFormat::Jpeg)),
        ("47.png", encoded(&picture(9, 1), ImageFormat::Png)),
        ("48.png", png(12)),
    ];
    files.extend(odd.map(|(name, bytes)| (format!("bee/{name}"), bytes)));
    let input = write(&place("photos"), &files);
    let known = [png(100), encoded(&picture(3, 0), ImageFormat::Jpeg), png(7)];
    let names = ["0.png", "1.jpg", "2.png"].map(str::to_owned);
    let reference = write(&place("known"), &names.into_iter().zip(known).collect::<Vec<_>>());

    let out = place("audit");
    let summary = run(&input, Some(&reference), &out, &DecodeOptions::default()).expect("an audit");
    assert_eq!((summary.rows, summary.scored, &summary.model), (49, 0, &None));
    let one_each = [
        Kind::Undecodable,
        Kind::Truncated,
        Kind::Empty,
        Kind::MislabelledFormat,
        Kind::NearBlack,
        Kind::ExtremeAspect,
        Kind::ExactDuplicate,
        Kind::Leaked,
        Kind::LeakedNear,
    ];
    for kind in one_each {
        assert_eq!(summary.of(kind), 1, "{kind}");
    }
    assert_eq!(pairs(&out, Kind::NearDuplicate), [(46, 4), (47, 9)]);
    assert_eq!(pairs(&out, Kind::ExactDuplicate), [(48, 12)]);
    assert_eq!((pairs(&out, Kind::LeakedNear), pairs(&out, Kind::Leaked)), (vec![(3, 1)], vec![(7, 2)]));
    let missing: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !summary.looked_for(*kind)).collect();
    assert_eq!(missing, [Kind::Unknown, Kind::LabelIssue, Kind::UnseenLabel]);
    assert_eq!((&summary.unknown, &summary.labels, &summary.calibration), (&None, &None, &None));
    assert_eq!(AuditSummary::read(&out).expect("a summary"), summary);

    // Few threads and many give the same table.
    let again = place("again");
    let one = DecodeOptions { workers: 1, ..DecodeOptions::default() };
    run(&input, Some(&reference), &again, &one).expect("an audit");
    let table = |out: &Path| fs::read(out.join("findings.parquet")).expect("a table");
    assert_eq!(table(&again), table(&out));
}

#[test]
fn photographs_are_compared_at_any_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = |seed: u64, side: u32, format: ImageFormat| {
        let image = image::imageops::resize(&picture(seed, 0), side, side, image::imageops::FilterType::CatmullRom);
        encoded(&image, format)
    };
    let mut files: Vec<_> = (0..6).map(|seed| (format!("{seed}.jpg"), large(seed, 640, ImageFormat::Jpeg))).collect();
    files.push(("6.png".into(), large(2, 640, ImageFormat::Png)));
    files.push(("7.jpg".into(), large(4, 200, ImageFormat::Jpeg)));
    files.push(("8.png".into(), large(3, 16, ImageFormat::Png)));
    // Of fewer pixels little can be told.
    files.push(("9.png".into(), large(3, 15, ImageFormat::Png)));
    let input = write(&folder.path().join("photos"), &files);
    let out = folder.path().join("audit");
    let summary = run(&input, None, &out, &DecodeOptions::default()).expect("an audit");
    assert_eq!(pairs(&out, Kind::NearDuplicate), [(6, 2), (7, 4), (8, 3)]);
    // Sizes are those of the files, however small they are decoded.
    let pixels = summary.quality.pixels.expect("images").median;
    assert!((pixels - 640.0 * 640.0).abs() < 1.0, "{pixels}");
}

#[test]
fn a_limit_holds_and_a_stop_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Vec<_> = (0..300).map(|seed| (format!("{seed:03}.png"), png(seed))).collect();
    let input = write(&folder.path().join("photos"), &files);
    let out = folder.path().join("audit");
    let load = LoadOptions { limits: Limits { max_pixels: 1599 }, ..LoadOptions::default() };
    let summary = run(&input, None, &out, &DecodeOptions { load, ..DecodeOptions::default() }).expect("an audit");
    assert_eq!((summary.of(Kind::Undecodable), summary.duplicates.images), (300, 0));
    fs::remove_dir_all(&out).expect("an audit");

    let (cancel, dataset) = (Cancel::default(), Dataset::open(&[&input]).expect("images"));
    let mut done = 0;
    let mut progress = |progress: Progress| {
        done = progress.rows;
        cancel.cancel();
    };
    let mut run = Run { cancel: cancel.clone(), progress: &mut progress };
    let inputs = AuditInputs::new(&dataset);
    let options = DecodeOptions { workers: 2, ..DecodeOptions::default() };
    let stopped = audit_images(&options, &inputs, &out, &AuditOptions::default(), &mut run);
    assert!(matches!(stopped, Err(Error::Cancelled)) && done < 300, "{stopped:?} after {done} rows");
    assert!(!out.exists());
}
