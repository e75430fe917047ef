//! Against the convolution's definition.

use super::*;
use crate::instructions::is_available;
use crate::test_layers::{Layer, drawn, skipped, worst};

/// By each set of instructions that this processor has.
fn by_all(
    layer: &Layer,
    input: &[f32],
    images: Images,
    epilogue: Epilogue,
    before: &[f32],
) -> Vec<(Instructions, Vec<f32>)> {
    let by = |instructions| {
        let mut output = before.to_vec();
        // What a larger layer left behind must not show.
        layer.winograd.convolve_by(instructions, input, images, epilogue, &mut output);
        (instructions, output)
    };
    Instructions::all().into_iter().map(by).collect()
}

#[test]
fn all_sizes_and_epilogues_are_the_definitions() {
    if skipped() {
        return;
    }
    // One has filters so large that blocks are.
    let shapes = [
        (16, 16, 32, 32, 3),
        (8, 32, 3, 3, 1),
        (32, 16, 5, 7, 2),
        (24, 48, 33, 6, 2),
        (64, 64, 8, 8, 9),
        (256, 256, 7, 7, 5),
        (8, 16, 1, 1, 3),
        (16, 16, 1, 9, 2),
        (16, 32, 9, 1, 2),
        (16, 16, 4, 4, 0),
    ];
    for (inputs, outputs, height, width, count) in shapes {
        let layer = Layer::drawn(inputs, outputs);
        let images = Images { count, height, width };
        let input = drawn(count * height * width * inputs, 3);
        let before = drawn(count * height * width * outputs, 4);
        let direct = layer.direct(&input, images);
        let what = format!("{inputs} to {outputs} channels, {images:?}");

        for (set, sums) in by_all(&layer, &input, images, Epilogue::None, &before) {
            assert!(worst(&sums, direct.iter().copied()) < 5e-5, "{what}, {set:?}");
        }
        for (set, rectified) in by_all(&layer, &input, images, Epilogue::Relu, &before) {
            assert!(worst(&rectified, direct.iter().map(|sum| sum.max(0.0))) < 5e-5, "{what}, rectified, {set:?}");
        }
        for (set, added) in by_all(&layer, &input, images, Epilogue::AddRelu, &before) {
            let expected = direct.iter().zip(&before).map(|(sum, before)| (sum + f64::from(*before)).max(0.0));
            assert!(worst(&added, expected) < 5e-5, "{what}, with a residual sum, {set:?}");
        }
    }
}

#[test]
fn an_image_is_computed_alike_in_any_batch() {
    if skipped() {
        return;
    }
    let layer = Layer::drawn(16, 32);
    let together = Images { count: 7, height: 9, width: 9 };
    let alone = Images { count: 1, ..together };
    let input = drawn(7 * 81 * 16, 5);
    let all = layer.convolve(&input, together, Epilogue::Relu, vec![0.0; 7 * 81 * 32]);
    for (image, expected) in input.chunks(81 * 16).zip(all.chunks(81 * 32)) {
        assert_eq!(layer.convolve(image, alone, Epilogue::Relu, vec![0.0; 81 * 32]), expected);
    }
}

#[test]
fn what_is_no_number_stays_so_and_in_its_image() {
    if skipped() {
        return;
    }
    let layer = Layer::drawn(16, 16);
    let images = Images { count: 2, height: 8, width: 8 };
    let mut input = drawn(2 * 64 * 16, 6);
    input[100] = f32::NAN;
    for (set, output) in by_all(&layer, &input, images, Epilogue::Relu, &[0.0; 2 * 64 * 16]) {
        let (first, second) = output.split_at(64 * 16);
        assert!(first.iter().any(|value| value.is_nan()), "{set:?}");
        assert!(second.iter().all(|value| value.is_finite()), "{set:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (inputs, outputs, weights, biases) in
        [(12, 16, 1728, 16), (8, 8, 576, 8), (8, 16, 1151, 16), (8, 16, 1152, 15), (0, 16, 0, 16)]
    {
        let refused = Winograd::try_new(&vec![0.0; weights], &vec![0.0; biases], inputs, outputs);
        assert_eq!(refused.expect_err("unfit"), KernelError::Shape { inputs, outputs, weights, biases });
    }
    let layer = Layer::drawn(8, 16);
    let size = Images { count: 1, height: 4, width: 4 };
    let refused = layer.winograd.convolve(&[0.0; 127], size, Epilogue::None, &mut [0.0; 256]);
    assert_eq!(refused, Err(KernelError::Size { input: 127, output: 256, size }));
}

/// Where the processor lacks the instructions, as on machines before AVX2 and of other kinds.
#[test]
fn a_processor_without_the_instructions_is_refused() {
    let layer = Layer::drawn(8, 16);
    let size = Images { count: 1, height: 4, width: 4 };
    let result = layer.winograd.convolve(&[0.0; 128], size, Epilogue::None, &mut [0.0; 256]);
    assert_eq!(result, if is_available() { Ok(()) } else { Err(KernelError::Processor) });
}
