//! A GPU as an [`Accelerator`]: copies on a stream of their own, kernels on the default stream, events between them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use tch::{Device, Kind, Tensor};

use super::accelerator::{Accelerator, Finished, PASSES_IN_FLIGHT, Pass};
use super::pass_rows::{PassRows, bucket};
use super::slots::SlotShape;
use crate::device::cuda::{Event, Stream, use_device};
use crate::device::{HostMemory, on_device};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::network::Scorer;

/// What one pass needs on the device and for its way back.
#[derive(Debug)]
struct Lane {
    /// `[rows * H * W * 3]` u8 on the device.
    pixels: Tensor,
    /// `[rows, C + F]` f32 on the host.
    values: HostMemory,
    /// The pixels are on the device.
    copied: Event,
    /// The kernels begin.
    begun: Event,
    /// The values are on the host.
    ended: Event,
}

/// One GPU with a network.
#[derive(Debug)]
pub(super) struct Cuda {
    index: usize,
    model: Arc<Model>,
    scorer: Scorer,
    /// Scores again what leaves the range of f16.
    wider: Option<Arc<Mutex<Scorer>>>,
    shape: SlotShape,
    copies: Stream,
    kernels: Stream,
    free: (Sender<Lane>, Receiver<Lane>),
    limit: PassRows,
}

impl Cuda {
    /// `scorer` runs on the GPU `index`, in passes of up to a slot.
    ///
    /// # Errors
    /// [`Error::DeviceFailed`] where the device has too little memory or is lost.
    pub fn try_new(index: usize, model: &Arc<Model>, mut scorer: Scorer, shape: SlotShape) -> Result<Self> {
        let (lost, device) = (|reason| device_error(index, reason), Device::Cuda(index));
        use_device(index).map_err(lost)?;
        let (sender, receiver) = bounded(PASSES_IN_FLIGHT);
        for _ in 0..PASSES_IN_FLIGHT {
            let lane = Lane {
                // Zeros: a pass may read rows that no image was copied to yet.
                pixels: on_device(device, || Ok(Tensor::f_zeros([shape.bytes() as i64], (Kind::Uint8, device))?))?,
                values: HostMemory::pinned_or_pageable(shape.rows * model.values_width(true) * size_of::<f32>()),
                copied: Event::try_new().map_err(lost)?,
                begun: Event::try_new().map_err(lost)?,
                ended: Event::try_new().map_err(lost)?,
            };
            sender.send(lane).expect("the other end is in the next line");
        }
        Ok(Self {
            index,
            model: Arc::clone(model),
            wider: scorer.take_wider().map(|wider| Arc::new(Mutex::new(wider))),
            scorer,
            shape,
            copies: Stream::try_new().map_err(lost)?,
            kernels: Stream::default_stream().map_err(lost)?,
            free: (sender, receiver),
            limit: PassRows::new(shape.rows),
        })
    }

    /// Queues the network on the first `rows` images of `pixels`. Logits and features `[rows, C + F]` on the device.
    fn compute(&mut self, pixels: &Tensor, rows: usize) -> Result<Tensor> {
        // Only the usual size is worth a search for the fastest kernels: a search takes longer than many passes.
        tch::Cuda::cudnn_set_benchmark(rows == self.shape.rows);
        let (scorer, image_bytes, device) = (&self.scorer, self.shape.image_bytes as i64, Device::Cuda(self.index));
        let parts = self.limit.in_parts(rows, |first, count| {
            let part = pixels.f_narrow(0, first as i64 * image_bytes, count as i64 * image_bytes)?;
            on_device(device, || scorer.values_on_device(&part, true))
        })?;
        on_device(device, || Ok(Tensor::f_cat(&parts, 0)?.f_contiguous()?))
    }

    fn queue(&mut self, lane: &mut Lane, pixels: &HostMemory, rows: usize) -> Result<Tensor> {
        let index = self.index;
        let lost = |reason| device_error(index, reason);
        // SAFETY: both memories stay in the pass, or with the caller after an error, until an event behind this copy
        // has passed; nothing writes to a slot that is away, and the kernels that last read the lane have ended, or it
        // would not be free.
        unsafe { self.copies.copy_to_device(lane.pixels.data_ptr(), pixels.as_ptr(), rows * self.shape.image_bytes) }
            .map_err(lost)?;
        lane.copied.record(&self.copies).map_err(lost)?;
        self.kernels.wait_for(&lane.copied).map_err(lost)?;
        lane.begun.record(&self.kernels).map_err(lost)?;
        let values = self.compute(&lane.pixels, bucket(rows, self.shape.rows))?;
        let bytes = rows * self.model.values_width(true) * size_of::<f32>();
        // SAFETY: the values are contiguous f32 with at least `rows` rows, and the lane has room for a slot's. Both
        // stay in the pass until `ended`, before which nothing looks at the lane's.
        unsafe { self.kernels.copy_to_host(lane.values.as_mut_ptr(), values.data_ptr(), bytes) }.map_err(lost)?;
        lane.ended.record(&self.kernels).map_err(lost)?;
        Ok(values)
    }
}

impl Accelerator for Cuda {
    type Pass = CudaPass;

    fn warm_up(&mut self) -> Result<()> {
        use_device(self.index).map_err(|reason| device_error(self.index, reason))?;
        let lane = self.free.1.recv().expect("the sender is in `self`");
        // Kernels are searched for, and chosen between, in a pass of full size.
        let warm = self.compute(&lane.pixels, self.shape.rows);
        let _ = self.free.0.send(lane);
        let _ = warm?;
        if let Err(message) = self.model.self_check().verify(&self.scorer) {
            log::warn!("with cuDNN's fused kernels {message}; separate kernels are used");
            self.scorer.without_fused_kernels();
        }
        Ok(())
    }

    fn start(&mut self, pixels: HostMemory, rows: usize) -> Result<CudaPass, (HostMemory, Error)> {
        let mut lane = self.free.1.recv().expect("the sender is in `self`");
        match self.queue(&mut lane, &pixels, rows) {
            Ok(values) => {
                let image_bytes = self.shape.image_bytes;
                let work = Work { lane, pixels, values };
                let (wider, free, index) = (self.wider.clone(), self.free.0.clone(), self.index);
                Ok(CudaPass { work: Some(work), rows, image_bytes, wider, free, index })
            }
            Err(error) => {
                // The copy may still read the slot.
                let _ = lane.copied.wait();
                let _ = self.free.0.send(lane);
                Err((pixels, error))
            }
        }
    }
}

/// A pass on a GPU.
#[derive(Debug)]
pub(super) struct CudaPass {
    work: Option<Work>,
    rows: usize,
    image_bytes: usize,
    wider: Option<Arc<Mutex<Scorer>>>,
    free: Sender<Lane>,
    index: usize,
}

/// What the device reads and writes.
#[derive(Debug)]
struct Work {
    lane: Lane,
    pixels: HostMemory,
    /// Logits and features on the device, which are copied to the lane's.
    values: Tensor,
}

impl CudaPass {
    fn values(&self, work: &Work) -> Result<(Vec<f32>, Duration)> {
        let lost = |reason| device_error(self.index, reason);
        work.lane.ended.wait().map_err(lost)?;
        let milliseconds = work.lane.ended.milliseconds_since(&work.lane.begun).map_err(lost)?;
        let width = work.values.size()[1] as usize;
        let (bytes, _) = work.lane.values.as_chunks::<4>();
        let values: Vec<f32> = bytes[..self.rows * width].iter().map(|&value| f32::from_ne_bytes(value)).collect();
        let values = match &self.wider {
            Some(wider) if values.iter().any(|value| !value.is_finite()) => {
                let pixels = work.lane.pixels.f_narrow(0, 0, (self.rows * self.image_bytes) as i64)?;
                let wider = wider.lock().unwrap_or_else(PoisonError::into_inner);
                on_device(Device::Cuda(self.index), || wider.values_of(&pixels, true))?
            }
            _ => values,
        };
        Ok((values, Duration::from_secs_f32(milliseconds.max(0.0) / 1e3)))
    }
}

impl Pass for CudaPass {
    fn finish(mut self) -> Finished {
        let work = self.work.take().expect("a pass is finished once");
        let result = self.values(&work);
        let Work { lane, pixels, values: _ } = work;
        // Nobody starts a pass any more where the device's thread has ended.
        let _ = self.free.send(lane);
        match result {
            Ok((values, busy)) => Finished { pixels, values: Ok(values), busy },
            Err(error) => Finished { pixels, values: Err(error), busy: Duration::ZERO },
        }
    }
}

impl Drop for CudaPass {
    fn drop(&mut self) {
        if let Some(work) = &self.work {
            // The device must not read or write what is freed.
            let _ = work.lane.ended.wait();
        }
    }
}

fn device_error(index: usize, reason: String) -> Error {
    Error::DeviceFailed { device: format!("cuda:{index}"), reason }
}
