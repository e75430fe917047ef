//! From pixels to pooled features.

use dismax::image::Preprocessing;
use dismax::network::graph::{Array, Graph, Operation, Value};

use crate::nodes::{Name, Nodes};
use crate::proto::{Attribute, Element};

/// What a network makes of its images.
#[derive(Debug)]
pub struct Pooled {
    /// `[N, F]` of each stage but the last.
    pub early: Vec<Name>,
    /// `[N, D]`: the features that the head sees.
    pub features: Name,
}

/// Pixels `[N, H, W, 3]` u8 to normalised images `[N, 3, H, W]`.
pub fn images(nodes: &mut Nodes, pixels: &Name, preprocessing: &Preprocessing) -> Name {
    let pixels = nodes.cast(pixels, Element::Float);
    let mean = nodes.floats(&preprocessing.mean.map(|value| value * 255.0), &[3]);
    let inverse_std = nodes.floats(&preprocessing.std.map(|value| 1.0 / (value * 255.0)), &[3]);
    let centred = nodes.op("Sub", &[&pixels, &mean]);
    let scaled = nodes.op("Mul", &[&centred, &inverse_std]);
    nodes.node("Transpose", &[&scaled], vec![Attribute::ints("perm", &[0, 3, 1, 2])])
}

/// Images `[N, 3, H, W]` and behind them their mirror images: `[2 N, 3, H, W]`.
pub fn with_mirror_images(nodes: &mut Nodes, images: &Name) -> Name {
    let [start, end, axis, step] = [-1, i64::MIN, 3, -1].map(|number| nodes.integers(&[number]));
    let mirrored = nodes.op("Slice", &[images, &start, &end, &axis, &step]);
    nodes.node("Concat", &[images, &mirrored], vec![Attribute::int("axis", 0)])
}

/// The means of rows `[2 N, W]` of images and of their mirror images: `[N, W]`.
pub fn mean_of_mirror_images(nodes: &mut Nodes, rows: &Name, width: usize) -> Name {
    let shape = nodes.integers(&[2, -1, width as i64]);
    let pairs = nodes.op("Reshape", &[rows, &shape]);
    nodes.over("ReduceMean", &pairs, 0, false)
}

/// Normalised images `[N, 3, H, W]` to what each stage gives, pooled.
pub fn pooled(nodes: &mut Nodes, images: Name, graph: &Graph) -> Pooled {
    let mut values = vec![images];
    for operation in &graph.operations {
        let value = operate(nodes, &values, operation);
        values.push(value);
    }
    let mut pool = |value: Value| {
        let means = nodes.op("GlobalAveragePool", &[&values[value.number()]]);
        nodes.node("Flatten", &[&means], vec![Attribute::int("axis", 1)])
    };
    let early = graph.stages.iter().map(|&stage| pool(stage)).collect();
    Pooled { early, features: pool(graph.last) }
}

fn operate(nodes: &mut Nodes, values: &[Name], operation: &Operation) -> Name {
    let of = |value: Value| &values[value.number()];
    let square = |kernel: i64, stride: i64, padding: i64| {
        vec![
            Attribute::ints("kernel_shape", &[kernel; 2]),
            Attribute::ints("strides", &[stride; 2]),
            Attribute::ints("pads", &[padding; 4]),
        ]
    };
    match operation {
        Operation::Conv { input, weight, bias, stride, padding } => {
            let kernel = weight.shape[2];
            let weight = array(nodes, weight);
            let bias = bias.as_ref().map(|bias| array(nodes, bias));
            let inputs: Vec<&Name> = [of(*input), &weight].into_iter().chain(&bias).collect();
            nodes.node("Conv", &inputs, square(kernel, *stride, *padding))
        }
        Operation::ScaleShift { input, scale, shift } => {
            // Channels stand before height and width.
            let [scale, shift] = [scale, shift].map(|numbers| {
                let channels = numbers.values.len() as i64;
                nodes.floats(&numbers.values, &[channels, 1, 1])
            });
            let scaled = nodes.op("Mul", &[of(*input), &scale]);
            nodes.op("Add", &[&scaled, &shift])
        }
        Operation::Relu(input) => nodes.op("Relu", &[of(*input)]),
        Operation::Add(one, other) => nodes.op("Add", &[of(*one), of(*other)]),
        Operation::Concat(one, other) => nodes.node("Concat", &[of(*one), of(*other)], vec![Attribute::int("axis", 1)]),
        Operation::MaxPool { input, kernel, stride, padding } => {
            nodes.node("MaxPool", &[of(*input)], square(*kernel, *stride, *padding))
        }
        Operation::AveragePool { input, kernel } => {
            nodes.node("AveragePool", &[of(*input)], square(*kernel, *kernel, 0))
        }
    }
}

/// The array as a constant.
pub fn array(nodes: &mut Nodes, array: &Array) -> Name {
    nodes.floats(&array.values, &array.shape)
}
