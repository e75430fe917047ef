//! Against libtorch's autograd.

use tch::{Device, Kind, Reduction, Tensor};

use super::suits;
use crate::error::Result;
use crate::network::{Architecture, Backbone, Head, HeadKind, Network};

fn network(architecture: Architecture, head: HeadKind) -> Network {
    let network = Network::try_new(architecture, head, 5, Device::Cpu, 3).unwrap();
    network.weights().require_gradients().unwrap();
    network
}

fn objective(logits: &Tensor) -> Result<Tensor> {
    let labels = Tensor::f_arange(logits.size()[0], (Kind::Int64, Device::Cpu))?.f_remainder(5)?;
    let log_p = logits.f_mul_scalar(3.0)?.f_log_softmax(1, None)?;
    Ok(log_p.f_nll_loss(&labels, None::<Tensor>, Reduction::Mean, -100)?)
}

/// Size of the difference beside the size of what is expected.
fn apart(values: &Tensor, expected: &Tensor) -> f64 {
    let size = expected.norm().double_value(&[]).max(1e-6);
    (values - expected).norm().double_value(&[]) / size
}

#[test]
fn gradients_and_statistics_are_autograds() {
    tch::set_num_threads(1);
    tch::manual_seed(1);
    // Rounding grows with the depth: ResNet-50 has 53 layers.
    for (architecture, head, height, width, depth) in [
        (Architecture::Resnet20, HeadKind::Dismax, 32, 32, 1.0),
        (Architecture::Resnet20, HeadKind::Softmax, 22, 13, 1.0),
        (Architecture::Vgg8, HeadKind::Dismax, 32, 32, 1.0),
        (Architecture::Vgg8, HeadKind::Softmax, 23, 13, 1.0),
        (Architecture::Resnet18, HeadKind::IsomaxPlus, 64, 96, 1.0),
        (Architecture::Resnet50, HeadKind::Softmax, 64, 64, 5.0),
    ] {
        let images = Tensor::randn([7, height, width, 3], (Kind::Float, Device::Cpu)).permute([0, 3, 1, 2]);
        if !dismax_kernels::is_available() {
            println!("skipped: this processor has no AVX2 with FMA");
            return;
        }
        let (plain, written_out) = (network(architecture, head), network(architecture, head));
        let logits = plain.logits(&images, true).unwrap();
        let expected_objective = objective(&logits).unwrap();
        let expected = Tensor::run_backward(&[&expected_objective], &plain.weights().trainable(), false, false);
        assert!(suits(&images));
        let of_features = |head: &Head, features: &Tensor| {
            let logits = head.logits(features)?;
            let objective = objective(&logits)?;
            Ok((logits, objective))
        };
        let step = match &written_out.backbone {
            Backbone::Residual(network) => written_out.written_out(network, &images, of_features),
            Backbone::Plain(network) => written_out.written_out(network, &images, of_features),
            _ => unreachable!("of other networks it is not written out"),
        };
        let step = step.unwrap();

        let of_logits = apart(&step.logits, &logits);
        assert!(of_logits < 1e-4 * depth, "{architecture} {head:?}: {of_logits}");
        assert!(apart(&step.objective, &expected_objective) < 1e-5 * depth, "{architecture} {head:?}");
        let names: Vec<_> =
            plain.weights().iter().filter(|weight| weight.trainable).map(|weight| weight.name.clone()).collect();
        assert_eq!((step.gradients.len(), expected.len()), (names.len(), names.len()));
        for ((name, gradient), expected) in names.iter().zip(&step.gradients).zip(&expected) {
            assert_eq!(gradient.size(), expected.size(), "{architecture} {name}");
            let apart = apart(gradient, expected);
            // A value near zero can fall on the other side of a rectifier, and everything before it moves by a percent;
            // of the head and the last layers, 1e-5 are usual.
            assert!(apart < 0.05, "{architecture} {name}: {apart}");
        }
        for (buffer, expected) in written_out.weights().buffers().iter().zip(&plain.weights().buffers()) {
            assert!(apart(buffer, expected) < 1e-4 * depth, "{architecture} {head:?}");
        }
    }
}
