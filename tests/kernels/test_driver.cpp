// The driver table: what a device asks of it, and what a person reads when a call fails.
#include "emu/lambda_kernel.hpp"

#include <hone/device/cuda.hpp>
#include <hone/device/launch.cuh>

#include <doctest/doctest.h>

#include <vector>

namespace hone {
inline namespace HONE_TARGET {

__global__ void add_kernel(const float* x, float* y, float scale) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] += scale * x[i];
}

}  // namespace HONE_TARGET
}  // namespace hone

using namespace hone;

TEST_CASE("launch hands a kernel its arguments by way of the table") {
  Emu device;
  const std::vector<float> x(64, 2.0f);
  std::vector<float> y(64, 1.0f);
  launch(device, "add", shape_for(64, 32), &add_kernel, x.data(), y.data(), 3);  // the int becomes the kernel's float
  CHECK(y == std::vector<float>(64, 7.0f));
}

TEST_CASE("a launch that the driver refuses is an error with its name and the driver's words") {
  Emu device;
  std::vector<float> data(32);
  gpu::Driver& driver = gpu::emulated_driver();
  const gpu::Driver before = driver;
  driver.launch = [](const gpu::KernelCall&, void*) { return 700; };
  driver.error_text = [](int) { return "an illegal memory access was encountered"; };
  const auto text =
      test::error_of([&] { launch(device, "add", shape_for(32, 32), &add_kernel, data.data(), data.data(), 1.0f); });
  driver = before;
  CHECK(text == "[cuda] add failed: an illegal memory access was encountered (status 700)");
}

TEST_CASE("memory and copies of the emulated driver") {
  const gpu::Driver& driver = gpu::emulated_driver();
  void* memory = nullptr;
  REQUIRE(driver.allocate(&memory, 100) == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0);
  const std::vector<char> out(100, 'x');
  std::vector<char> back(100);
  CHECK(driver.copy(memory, out.data(), 100, nullptr) == 0);
  CHECK(driver.copy(back.data(), memory, 100, nullptr) == 0);
  CHECK(back == out);
  CHECK(driver.release(memory) == 0);
}

TEST_CASE("the Cuda tag opens and closes its stream through the table") {
  static int open = 0;
  gpu::Driver driver = gpu::emulated_driver();
  driver.create_stream = [](void** out) {
    ++open;
    *out = &open;
    return 0;
  };
  driver.destroy_stream = [](void* stream) { return stream == &open ? (--open, 0) : 1; };
  {
    const Cuda device(driver, 90);
    const Cuda copy = device;  // a handle: the same stream
    CHECK(open == 1);
    CHECK(copy.stream() == device.stream());
    CHECK(device.target().kind == DeviceKind::cuda);
    CHECK(device.target().sm == 90);
    device.synchronize();
  }
  CHECK(open == 0);
  driver.create_stream = [](void**) { return 2; };
  CHECK_THROWS_WITH_AS(Cuda(driver, 90), "[cuda] create_stream failed: out of memory (status 2)", Error);
}
