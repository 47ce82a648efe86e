// Cuda: the device tag of a real card. g++ compiles it, for the driver table hides CUDA; hone::open_card() in
// hone/cuda.hpp makes one.
#pragma once

#include <hone/tensor/device.hpp>

namespace hone {

/// Work goes to a stream of its own; `target` is the card's, see gpu::cuda_target.
class Cuda : public gpu::DeviceHandle {
 public:
  using DeviceHandle::DeviceHandle;
};
static_assert(Device<Cuda>);

}  // namespace hone
