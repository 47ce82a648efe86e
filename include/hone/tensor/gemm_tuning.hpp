// GemmTuning: which algorithm of the GEMM library multiplies a shape, as somebody has measured it on one card. Without
// one, and for shapes it does not name, the library's first heuristic decides. io/gemm_tuning_file.hpp has the file.
#pragma once

#include <hone/tensor/gemm_shape.hpp>

#include <map>
#include <string>
#include <string_view>

namespace hone::gpu {

/// What the speed of an algorithm, and whether it exists, depend on beside the shape.
struct GemmOrigin {
  std::string card;     ///< "NVIDIA H100 80GB HBM3"
  int sm = 0;           ///< compute capability, 90 for sm_90
  int driver = 0;       ///< CUDA version of the driver, 13000 for 13.0
  std::string library;  ///< "cuBLASLt 130100"

  friend bool operator==(const GemmOrigin&, const GemmOrigin&) = default;
};

/// The algorithm of one shape. An empty name is the library's first heuristic.
struct GemmChoice {
  std::string algorithm;
  double milliseconds = 0;        ///< of one product by it
  double first_milliseconds = 0;  ///< by the first heuristic

  /// How many times as fast as the first heuristic.
  double gain() const { return milliseconds > 0 ? first_milliseconds / milliseconds : 1; }
};

struct GemmTuning {
  GemmOrigin origin;
  std::map<GemmShape, GemmChoice> choices;

  std::string_view algorithm_of(const GemmShape& shape) const {
    const auto found = choices.find(shape);
    return found == choices.end() ? std::string_view() : found->second.algorithm;
  }
};

}  // namespace hone::gpu
