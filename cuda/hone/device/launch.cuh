// launch: a kernel, its shape and its arguments, through the device's driver table. Beside it what launchers share:
// views as kernels take them, and whether rows allow 16-byte accesses.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/device/language.cuh>
#include <hone/tensor/kernel.hpp>
#include <hone/tensor/view.hpp>

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

namespace hone {
inline namespace HONE_TARGET {

namespace kernel_detail {

/// Calls a kernel of parameters P... as a plain function; only the emulator does.
template <class... P>
struct Invoker {
  static void invoke(const void* function, void** arguments) {
    unpack(function, arguments, std::index_sequence_for<P...>{});
  }

 private:
  template <std::size_t... I>
  static void unpack(const void* function, [[maybe_unused]] void** arguments, std::index_sequence<I...>) {
    const auto kernel = reinterpret_cast<void (*)(P...)>(const_cast<void*>(function));
    kernel(*static_cast<std::remove_cvref_t<P>*>(arguments[I])...);
  }
};

/// Dynamic shared memory that a block may have, by compute capability (CUDA C++ Programming Guide, "Technical
/// Specifications").
constexpr std::size_t most_shared_bytes(int sm) {
  const std::size_t kilobytes = sm == 80 || sm == 87 ? 163 : sm == 90 || sm == 100 || sm == 103 ? 227 : 99;
  return kilobytes << 10;
}

}  // namespace kernel_detail

/// Launches kernel(arguments...) on the device's stream. Throws Error when the launch is refused; `name` is what errors
/// and profilers call it.
template <class... P, class... Args>
void launch(KernelDevice& device, const char* name, const gpu::LaunchShape& shape, void (*kernel)(P...),
            Args&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(Args), "launch: give the kernel exactly its arguments");
  const int sm = device.target().sm;
  check(shape.shared_bytes <= kernel_detail::most_shared_bytes(sm),
        "[cuda] {}: {} bytes of shared memory, sm_{} gives a block {}", name, shape.shared_bytes, sm,
        kernel_detail::most_shared_bytes(sm));
  std::tuple<std::remove_cvref_t<P>...> values(std::forward<Args>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {&value...};
        static constexpr std::size_t sizes[] = {sizeof(P)...};
        const gpu::KernelCall call{name,
                                   shape,
                                   reinterpret_cast<const void*>(kernel),
                                   pointers,
                                   &kernel_detail::Invoker<P...>::invoke,
                                   kernel_detail::emulate,
                                   sizeof...(P),
                                   sizes};
        gpu::succeed(driver_of(device), driver_of(device).launch(call, stream_of(device)), name);
      },
      values);
}

/// `count` as an extent of a grid, which CUDA bounds by 2^31 - 1.
inline unsigned grid_extent(std::int64_t count) {
  return static_cast<unsigned>(narrow<std::int32_t>(count, "[cuda] extent of a grid"));
}

/// `items` spread over blocks of `threads`, along x.
inline gpu::LaunchShape shape_for(std::int64_t items, unsigned threads, std::size_t shared_bytes = 0) {
  return {{grid_extent(ceil_div(items, threads)), 1, 1}, {threads, 1, 1}, shared_bytes};
}

/// A matrix as kernels see it: View<T, 2> without its extents (std::array's members are not device functions).
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t stride = 0;

  __host__ __device__ T* row(std::int64_t index) const { return data + index * stride; }
};

template <class T>
Rows<T> rows_of(const View<T, 2>& view) {
  return {view.data, view.stride};
}

/// Elements of T that one 16-byte access moves.
template <class T>
inline constexpr int vector_width = static_cast<int>(16 / sizeof(T));

/// True when every row of every view starts on a multiple of 16 bytes and holds whole vectors of 16 bytes.
template <class... V>
bool allows_vectors(const V&... views) {
  const auto fits = [](const auto& view) {
    constexpr std::int64_t element = sizeof(*view.data);
    constexpr std::int64_t width = 16 / element;
    const bool rows_align = view.extent(0) <= 1 || view.stride * element % 16 == 0;
    const bool is_vector = view.extents.size() == 1;  // its elements, not its rows, lie next to each other
    const std::int64_t columns = is_vector ? view.extent(0) : view.row_elements();
    return reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0 && columns % width == 0 && (is_vector || rows_align);
  };
  return (fits(views) && ...);
}

}  // namespace HONE_TARGET
}  // namespace hone
