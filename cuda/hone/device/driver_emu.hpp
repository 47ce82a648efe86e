// How a kernel call of the emulated driver's table (tensor/emulated_driver.hpp) runs: block by block, on the calling
// thread.
#pragma once

#include <hone/emu/launch.hpp>
#include <hone/tensor/driver.hpp>

namespace hone::gpu {

namespace detail {

inline int emulated_launch(const KernelCall& call) {
  const auto dim3 = [](const Box& box) { return emulator::Dim3(box.x, box.y, box.z); };
  const emulator::LaunchShape shape{dim3(call.shape.grid), dim3(call.shape.block), call.shape.shared_bytes,
                                    call.shape.cluster};
  // The emulator's body takes one pointer; CUDA's launch takes a function and its arguments.
  emulator::launch(call.name, shape,
                   {[](void* context) {
                      const auto& kernel = *static_cast<const KernelCall*>(context);
                      kernel.invoke(kernel.function, kernel.arguments);
                    },
                    const_cast<KernelCall*>(&call)},
                   call.function);
  return 0;
}

}  // namespace detail

}  // namespace hone::gpu
