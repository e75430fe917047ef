//! The image mix of fractional probability regularization (arXiv 2205.05874, section 3, DisMax†).

/// How many of `rows` stay as they are where the share `mixed` of them is mixed: those at the beginning.
pub fn plain_rows(rows: usize, mixed: f64) -> usize {
    (rows as f64 * (1.0 - mixed)) as usize
}

/// Replaces three quadrants of every image by those of its three predecessors in the slice, cyclically.
///
/// `images` holds `N` images of `height` x `width` pixels with `channels` values each, row-major `[N, H, W, C]` (or,
/// with `channels` 1, any stack of planes). Image `i` keeps its top left quadrant and takes the bottom left one of
/// image `i-1`, the top right one of `i-2` and the bottom right one of `i-3`, as in the reference. Odd sizes give the
/// smaller part to the top and to the left.
pub fn mix_quadrants<T: Copy>(images: &mut [T], height: usize, width: usize, channels: usize) {
    let (row, size) = (width * channels, height * width * channels);
    if size == 0 {
        return;
    }
    // The predecessors' quadrants must be the unmixed ones, so they are read from a copy.
    let originals = images.to_vec();
    let count = images.len() / size;
    let (top, left) = (height / 2, width / 2 * channels);
    for (index, image) in images.chunks_exact_mut(size).enumerate() {
        let source = |back: usize| {
            let from = (index + 3 * count - back) % count;
            &originals[from * size..][..size]
        };
        for y in 0..height {
            let (start, end) = (y * row, (y + 1) * row);
            let (left_back, right_back) = if y < top { (0, 2) } else { (1, 3) };
            image[start..start + left].copy_from_slice(&source(left_back)[start..start + left]);
            image[start + left..end].copy_from_slice(&source(right_back)[start + left..end]);
        }
    }
}

/// Labels of the four quadrants of each image that [`mix_quadrants`] makes of images with these `labels`.
pub fn mix_labels(labels: &[i64]) -> Vec<[i64; 4]> {
    let count = labels.len();
    let back = |index: usize, back: usize| labels[(index + 3 * count - back) % count];
    (0..count).map(|index| [0, 1, 2, 3].map(|by| back(index, by))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadrants_come_from_the_three_predecessors() {
        // 4 images of 2x2 pixels whose values are the image's number.
        let mut images: Vec<u8> = (0..4).flat_map(|image| [image; 4]).collect();
        mix_quadrants(&mut images, 2, 2, 1);
        assert_eq!(images[..4], [0, 2, 3, 1]); // top left 0, top right -2, bottom left -1, bottom right -3
        assert_eq!(images[12..], [3, 1, 2, 0]);
        assert_eq!(mix_labels(&[10, 11, 12, 13])[3], [13, 12, 11, 10]);
    }

    #[test]
    fn a_half_is_the_references() {
        assert!((0..100).all(|rows| plain_rows(rows, 0.5) == rows / 2 && plain_rows(rows, 0.0) == rows));
        assert_eq!(plain_rows(32, 0.25), 24);
    }

    #[test]
    fn small_counts_wrap_and_nothing_panics() {
        let mut one = vec![7u8; 12];
        mix_quadrants(&mut one, 2, 2, 3);
        assert_eq!(one, vec![7; 12]);
        assert_eq!(mix_labels(&[4]), vec![[4; 4]]);
        assert_eq!(mix_labels(&[]), Vec::<[i64; 4]>::new());
        mix_quadrants::<u8>(&mut [], 0, 0, 3);
    }
}
