// What `hone bench kernels --emu` runs: every kernel once, on the emulator, at a small shape of a real model's
// proportions, and every rung of the study ladders.
#pragma once

#include <hone/emu/settings.hpp>
#include <hone/tensor/device.hpp>
#include <hone/tensor/tensor.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace hone::cli {

/// One run of an op, with shapes that a table can print.
struct KernelCase {
  std::string shapes;
  std::function<void(const Emu& device)> run;
};

/// The rungs of the study ladders, in their order.
std::vector<KernelCase> study_cases();

/// Values between -1 and 1 that do not repeat within a row.
template <class T>
Tensor<T, Emu> values(const Emu& device, const Shape& shape) {
  std::vector<T> out;
  for (std::int64_t i = 0; i < shape.elements(); ++i) out.push_back(T(static_cast<float>(i * 37 % 2001 - 1000) / 1000));
  return Tensor<T, Emu>::from(device, shape, out);
}

inline Tensor<std::int32_t, Emu> ids(const Emu& device, std::int64_t count, std::int64_t below) {
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<std::int32_t>(i * 131 % below));
  return Tensor<std::int32_t, Emu>::from(device, {count}, out);
}

/// One launch: which instantiation of which kernel, and what the emulator counted.
struct KernelRow {
  std::string shapes;  ///< of the case that launched it
  std::string kernel;  ///< "swiglu_forward_kernel<bf16, 8>"
  std::int64_t blocks = 0, threads_of_block = 0, shared_bytes = 0;
  emulator::Counters counted;
};

/// The launches of all cases whose kernel's name contains `only`. Only in builds with the emulator.
std::vector<KernelRow> run_kernel_cases(const std::string& only);

}  // namespace hone::cli
