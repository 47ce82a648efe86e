// The driver table: what a device asks of it, what a person reads when a call fails, and that a failed call leaves
// nothing behind.
#include "emu/lambda_kernel.hpp"
#include "every_device.hpp"
#include "faults.hpp"

#include <hone/autograd/backward.hpp>
#include <hone/device/launch.cuh>
#include <hone/kernels/fill_copy.cuh>
#include <hone/kernels/swiglu.cuh>
#include <hone/ops/swiglu.hpp>
#include <hone/tensor/copy_lane.hpp>
#include <hone/tensor/cuda.hpp>
#include <hone/tensor/graph.hpp>

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
using hone::test::Faults;

namespace {

/// A device of a table of its own, as Cuda is of the real one.
Cuda cuda_on(const gpu::Driver& driver) { return {driver, gpu::cuda_target(90)}; }

/// A few ops, forward and backward, with every kind of call a step makes: allocations, poison, copies both ways,
/// launches.
std::vector<float> short_run() {
  const Emu device = test::poisoned_device<Emu>();
  auto gate_up = test::random_tensor<float, Emu>({3, 8}, 1, -1, 1, device);
  gate_up.require_grad();
  const auto y = swiglu(gate_up);
  y.backward(test::random_tensor<float, Emu>({3, 4}, 2, -1, 1, device));
  return gate_up.gradient().to_vector();
}

}  // namespace

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

TEST_CASE("memory, copies and fills of the emulated driver") {
  const gpu::Driver& driver = gpu::emulated_driver();
  void* memory = nullptr;
  REQUIRE(driver.allocate(&memory, 100) == 0);
  CHECK(reinterpret_cast<std::uintptr_t>(memory) % 256 == 0);
  const std::vector<char> out(100, 'x');
  std::vector<char> back(100);
  CHECK(driver.copy(memory, out.data(), 100, nullptr) == 0);
  CHECK(driver.copy(back.data(), memory, 100, nullptr) == 0);
  CHECK(back == out);
  CHECK(driver.fill(memory, 'y', 100, nullptr) == 0);
  CHECK(driver.copy(back.data(), memory, 100, nullptr) == 0);
  CHECK(back == std::vector<char>(100, 'y'));
  CHECK(driver.release(memory) == 0);
}

TEST_CASE("Cuda: one stream a device, memory and tensors through the table") {
  const Faults counted(-1);
  {
    const Cuda device = cuda_on(gpu::emulated_driver());
    const Cuda copy = device;  // a handle: the same stream
    CHECK(Faults::open() == 1);
    CHECK(copy.stream() == device.stream());
    CHECK(device.target().kind == DeviceKind::cuda);
    CHECK(device.target().sm == 90);
    CHECK(device.target().gemm_workspace == 32 << 20);
    device.memory().poison_new_blocks(true);
    const std::vector<float> values = {1, 2, 3, 4, 5, 6};
    const auto x = Tensor<float, Cuda>::from(device, {2, 3}, values);
    CHECK(x.to_vector() == values);
    CHECK(x.columns(1, 2).to_vector() == std::vector<float>{2, 3, 5, 6});  // rows apart: one copy, then taken apart
    CHECK(x.rows(1, 1).columns(2, 1).item() == 6);
    x.rows(0, 1).copy_from(std::vector<float>{7, 8, 9});
    CHECK(x.to_vector() == std::vector<float>{7, 8, 9, 4, 5, 6});
    const auto fresh = Tensor<float, Cuda>::empty(device, {2}).to_vector();
    CHECK(std::isnan(fresh[0]));
    CHECK(Faults::open() > 1);
    device.synchronize();
  }
  CHECK(Faults::open() == 0);
}

TEST_CASE("a stream that cannot be opened, and a card that is full") {
  gpu::Driver driver = gpu::emulated_driver();
  driver.create_stream = [](void**) { return 2; };
  CHECK_THROWS_WITH_AS(cuda_on(driver), "[cuda] create_stream failed: out of memory (status 2)", Error);
  driver = gpu::emulated_driver();
  driver.allocate = [](void**, std::size_t) { return 2; };
  driver.memory_info = [](std::size_t* free_bytes, std::size_t* total_bytes) {
    *free_bytes = std::size_t{1} << 30, *total_bytes = std::size_t{24} << 30;
    return 0;
  };
  const Cuda device = cuda_on(driver);
  const auto text = test::error_of([&] { Tensor<float, Cuda>::empty(device, {1 << 20}, {Category::weights, "w"}); });
  CHECK(
      test::contains(text, "[memory] the system has no 4.00 MiB for w\nof the card's 24.00 GiB, 1.00 GiB are free\n"));
  CHECK_THROWS_AS(device.memory().reserve_slab(Category::weights, 1 << 20), OutOfMemory);
  CHECK(device.memory().ledger().device().now == 0);
}

TEST_CASE("a graph writes a stream's calls down and replays them in order") {
  Emu device;
  const auto x = Tensor<float, Emu>::from(device, {32}, std::vector<float>(32, 1.0f));
  const auto y = Tensor<float, Emu>::from(device, {32}, std::vector<float>(32, 0.0f));
  std::vector<float> host(32);
  gpu::Event begin(device), end(device);
  begin.record(device);
  {
    const gpu::Graph graph(device, [&] {
      for (const float scale : {2.0f, 3.0f})  // gone when the graph runs: arguments are kept by value
        launch(device, "add", shape_for(32, 32), &add_kernel, x.data(), y.data(), scale);
      gpu::succeed(device.driver(), device.driver().copy(x.data(), y.data(), 128, device.stream()), "copy");
    });
    CHECK(y.to_vector() == std::vector<float>(32, 0.0f));  // nothing has been done yet
    graph.launch();
    CHECK(y.to_vector() == std::vector<float>(32, 5.0f));
    CHECK(x.to_vector() == std::vector<float>(32, 5.0f));
    graph.launch();
    CHECK(y.to_vector() == std::vector<float>(32, 30.0f));
  }
  end.record(device);
  end.hold(device);
  CHECK(end.since(begin) >= 0);
  CHECK_THROWS_WITH_AS(gpu::Graph(device, [&] { device.synchronize(); }),
                       "[cuda] synchronize failed: operation not permitted when stream is capturing (status 900)",
                       Error);
  device.synchronize();  // the failed capture has been closed
  CHECK(test::contains(test::error_of([&] { gpu::Graph(device, [&] { x.copy_from(host); }); }),
                       "[cuda] a copy between host and device was asked for in work that is written down as a graph"));
  CHECK(test::contains(test::error_of([&] { gpu::Graph(device, [&] { (void)x.to_vector(); }); }), "as a graph"));
  x.copy_from(host);
}

TEST_CASE("copies of a second stream come into a graph, and must be waited for before it ends") {
  Emu device;
  const auto x = Tensor<float, Emu>::from(device, {32}, std::vector<float>(32, 1.0f));
  const auto kept = Tensor<float, Emu>::empty(device, {32}, {Category::host, "kept"});
  CHECK(device.memory().ledger().of(Category::host).now == 256);
  gpu::CopyLane lane(device);
  gpu::Arrival arrival(device);
  const auto send = [&] {
    lane.follow(device);
    lane.copy(kept.data(), x.data(), 128);
    arrival.expect(lane);
  };
  {
    const gpu::Graph graph(device, [&] {
      launch(device, "add", shape_for(32, 32), &add_kernel, x.data(), x.data(), 1.0f);
      send();
      arrival.meet(device);
    });
    graph.launch();
    CHECK(kept.to_vector() == std::vector<float>(32, 2.0f));
    graph.launch();
    CHECK(kept.to_vector() == std::vector<float>(32, 4.0f));
  }
  CHECK(test::contains(test::error_of([&] { gpu::Graph(device, send); }),
                       "[cuda] end_capture failed: the capture ends before work of another stream that came into it"));
  CHECK(test::contains(test::error_of([&] { arrival.meet(device); }), "belongs to a capture that has ended"));
  send();
  arrival.meet(device);  // what was refused left nothing behind
  CHECK(test::contains(test::error_of([&] {
                         arrival.expect(lane);
                         gpu::Graph(device, [&] { arrival.meet(device); });
                       }),
                       "may not wait for work outside its capture"));
}

TEST_CASE("every driver call of a short run fails once: a clear error, nothing left behind, the next run is right") {
  std::int64_t calls = 0;
  std::vector<float> wanted;
  {
    const Faults counted(-1);
    wanted = short_run();
    calls = Faults::calls();
    CHECK(Faults::open() == 0);
  }
  CHECK(calls > 10);
  for (std::int64_t n = 0; n < calls; ++n) {
    CAPTURE(n);
    const Faults failing(n, n % 2 == 0 ? 2 : 719);
    const auto text = test::error_of([] { short_run(); });
    const bool out_of_memory = text.starts_with("[memory] the system has no ");
    const bool named = text.starts_with("[cuda] ") && test::contains(text, " failed: ");
    CHECK((out_of_memory || named));
    CHECK(short_run() == wanted);  // on the same thread: its tape forgets what was left on it
    CHECK(Faults::open() == 0);
  }
}

TEST_CASE("every driver call of writing and launching a graph fails once, and nothing is left behind") {
  const auto run = [] {
    Emu device;
    const auto x = Tensor<float, Emu>::from(device, {32}, std::vector<float>(32, 1.0f));
    const gpu::Graph graph(device,
                           [&] { launch(device, "add", shape_for(32, 32), &add_kernel, x.data(), x.data(), 1.0f); });
    graph.launch();
    return x.to_vector();
  };
  std::int64_t calls = 0;
  {
    const Faults counted(-1);
    CHECK(run() == std::vector<float>(32, 2.0f));
    calls = Faults::calls();
  }
  for (std::int64_t n = 0; n < calls; ++n) {
    CAPTURE(n);
    const Faults failing(n);
    CHECK(test::contains(test::error_of(run), "a call that the test made fail"));
    CHECK(Faults::open() == 0);
  }
}
