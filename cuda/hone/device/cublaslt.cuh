// The GEMM library of the driver table, over cuBLASLt. Matrices are row-major here and column-major there: a row-major
// matrix read by columns is its transpose, so the library forms c^T = op(b)^T op(a)^T with the factors exchanged.
// For every shape the first algorithm its heuristic offers is kept, or the one that the call names. All that it may
// offer repeat their bits: partial sums along k are added in the workspace, in a fixed order, or there are none.
#pragma once

#include <hone/device/driver_cuda.cuh>

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hone::gpu {

namespace detail {

/// The library's statuses stand behind CUDA's in one number.
inline constexpr int cublas_base = 100000;
inline int status_of(cublasStatus_t status) {
  if (status == CUBLAS_STATUS_SUCCESS) return 0;
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? not_supported : cublas_base + static_cast<int>(status);
}

inline cudaDataType_t data_type(DType type) { return type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

/// Closes a descriptor of the library.
template <auto Destroy>
struct Closer {
  template <class T>
  void operator()(T* descriptor) const {
    Destroy(descriptor);
  }
};
using OperationPtr = std::unique_ptr<cublasLtMatmulDescOpaque_t, Closer<&cublasLtMatmulDescDestroy>>;
using LayoutPtr = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Closer<&cublasLtMatrixLayoutDestroy>>;
using PreferencePtr = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Closer<&cublasLtMatmulPreferenceDestroy>>;

/// How the bytes of an operand lie, as far as an algorithm may depend on it.
inline std::uint32_t alignment_of(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(256, address & (~address + 1)));
}

/// How operands lie.
struct Alignments {
  std::uint32_t a, b, c;
  friend auto operator<=>(const Alignments&, const Alignments&) = default;
};
inline constexpr Alignments named_alignments{named_algorithm_alignment, named_algorithm_alignment,
                                             named_algorithm_alignment};

/// One shape's descriptors and the algorithm chosen for it.
struct ShapePlan {
  OperationPtr operation;
  LayoutPtr first, second, result;  // b, a, c: exchanged, see above
  cublasLtMatmulAlgo_t algorithm{};
  int status = 0;
};

class CublasLt {
 public:
  static CublasLt& instance() {
    static CublasLt library;
    return library;
  }

  /// Not 0 when the library could not be opened.
  int status() const { return opened_; }

  int matmul(const MatMulCall& call, void* stream) {
    const std::lock_guard lock(mutex_);
    if (opened_ != 0) return opened_;
    const Key key{call.shape, std::string(call.algorithm),
                  call.algorithm.empty() ? Alignments{alignment_of(call.a), alignment_of(call.b), alignment_of(call.c)}
                                         : named_alignments};
    auto found = plans_.find(key);
    if (found == plans_.end()) found = plans_.emplace(key, make_plan(key)).first;
    const ShapePlan& plan = found->second;
    if (plan.status != 0) return plan.status;
    const float beta = call.shape.accumulate ? 1.0f : 0.0f;
    return status_of(cublasLtMatmul(handle_, plan.operation.get(), &call.alpha, call.b, plan.first.get(), call.a,
                                    plan.second.get(), &beta, call.c, plan.result.get(), call.c, plan.result.get(),
                                    &plan.algorithm, call.workspace,
                                    static_cast<std::size_t>(call.shape.workspace_bytes), stream_from(stream)));
  }

  /// Names of what the heuristic offers for a shape, its first choice first.
  int algorithms(std::vector<std::string>& out, const GemmShape& shape) {
    const std::lock_guard lock(mutex_);
    if (opened_ != 0) return opened_;
    const ShapePlan plan = describe(shape);
    if (plan.status != 0) return plan.status;
    std::vector<Offer> offered;
    if (const int status = ask(offered, plan, shape, named_alignments, most_offered); status != 0) return status;
    for (const Offer& one : offered)
      if (std::string name = name_of(one.algorithm); std::ranges::find(out, name) == out.end())
        out.push_back(std::move(name));
    return 0;
  }

 private:
  struct Key {
    GemmShape shape;
    std::string algorithm;  ///< its name; empty: the first that is offered
    Alignments alignments;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  static constexpr int most_offered = 16;

  CublasLt() : opened_(status_of(cublasLtCreate(&handle_))) {}
  ~CublasLt() = default;  // at the end of the program the driver is gone before this is

  /// A row-major matrix of `rows` x `cols`, seen as the column-major one of `cols` x `rows`.
  static LayoutPtr layout(DType type, std::int64_t rows, std::int64_t cols, std::int64_t stride, int& status) {
    cublasLtMatrixLayout_t out = nullptr;
    const cublasStatus_t made = cublasLtMatrixLayoutCreate(&out, data_type(type), static_cast<std::uint64_t>(cols),
                                                           static_cast<std::uint64_t>(rows), stride);
    status = std::max(status, status_of(made));
    return LayoutPtr(out);
  }

  /// Products in fp32 (for float factors that is not TF32) with the transpositions of the exchanged factors.
  static OperationPtr operation(const GemmShape& shape, int& status) {
    cublasLtMatmulDesc_t out = nullptr;
    status = std::max(status, status_of(cublasLtMatmulDescCreate(&out, CUBLAS_COMPUTE_32F, CUDA_R_32F)));
    OperationPtr owner(out);
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, bool transpose) {
      const cublasOperation_t value = transpose ? CUBLAS_OP_T : CUBLAS_OP_N;
      status = std::max(status, status_of(cublasLtMatmulDescSetAttribute(out, attribute, &value, sizeof(value))));
    };
    if (status != 0) return owner;
    set(CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_b);
    set(CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_a);
    return owner;
  }

  static PreferencePtr preference(const GemmShape& shape, const Alignments& alignments, int& status) {
    cublasLtMatmulPreference_t out = nullptr;
    status = std::max(status, status_of(cublasLtMatmulPreferenceCreate(&out)));
    PreferencePtr owner(out);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      status = std::max(status, status_of(cublasLtMatmulPreferenceSetAttribute(out, attribute, &value, sizeof(value))));
    };
    if (status != 0) return owner;
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(shape.workspace_bytes));
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments.b);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments.a);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments.c);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments.c);
    return owner;
  }

  static ShapePlan describe(const GemmShape& shape) {
    ShapePlan plan;
    plan.operation = operation(shape, plan.status);
    plan.first = layout(shape.b_type, shape.transpose_b ? shape.n : shape.k, shape.transpose_b ? shape.k : shape.n,
                        shape.ldb, plan.status);
    plan.second = layout(shape.a_type, shape.transpose_a ? shape.k : shape.m, shape.transpose_a ? shape.m : shape.k,
                         shape.lda, plan.status);
    plan.result = layout(shape.c_type, shape.m, shape.n, shape.ldc, plan.status);
    return plan;
  }

  /// One that the heuristic offers. It has a name because the library's type has none, which nvcc's vectors stumble
  /// over.
  struct Offer {
    cublasLtMatmulAlgo_t algorithm;
  };

  /// At most `most` algorithms, as the heuristic ranks them. Whatever it dislikes about a shape, its strides or where
  /// it lies, there are none.
  int ask(std::vector<Offer>& out, const ShapePlan& plan, const GemmShape& shape, const Alignments& alignments,
          int most) const {
    int status = 0, count = 0;
    const PreferencePtr wanted = preference(shape, alignments, status);
    if (status != 0) return status;
    cublasLtMatmulHeuristicResult_t results[most_offered] = {};
    const cublasStatus_t found = cublasLtMatmulAlgoGetHeuristic(
        handle_, plan.operation.get(), plan.first.get(), plan.second.get(), plan.result.get(), plan.result.get(),
        wanted.get(), std::min(most, most_offered), results, &count);
    if (found != CUBLAS_STATUS_SUCCESS) count = 0;
    for (int i = 0; i < count; ++i)
      if (results[i].state == CUBLAS_STATUS_SUCCESS) out.push_back({results[i].algo});
    return 0;
  }

  /// "id 66, tile 20, ...": everything that tells one algorithm from another, so that a file can hold it.
  static std::string name_of(const cublasLtMatmulAlgo_t& algorithm) {
    struct Part {
      const char* name;
      cublasLtMatmulAlgoConfigAttributes_t attribute;
    };
    constexpr std::array parts = {Part{"id", CUBLASLT_ALGO_CONFIG_ID},
                                  Part{"tile", CUBLASLT_ALGO_CONFIG_TILE_ID},
                                  Part{"stages", CUBLASLT_ALGO_CONFIG_STAGES_ID},
                                  Part{"splits", CUBLASLT_ALGO_CONFIG_SPLITK_NUM},
                                  Part{"reduction", CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME},
                                  Part{"swizzle", CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING},
                                  Part{"custom", CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION},
                                  Part{"inner", CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID},
                                  Part{"cluster", CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID}};
    std::string out;
    for (const Part& part : parts) {
      std::array<std::byte, sizeof(std::uint32_t)> bytes{};  // some have 16 bits, which little endian puts in front
      std::size_t written = 0;
      if (cublasLtMatmulAlgoConfigGetAttribute(&algorithm, part.attribute, bytes.data(), bytes.size(), &written) !=
              CUBLAS_STATUS_SUCCESS &&
          cublasLtMatmulAlgoConfigGetAttribute(&algorithm, part.attribute, bytes.data(), sizeof(std::uint16_t),
                                               &written) != CUBLAS_STATUS_SUCCESS)
        continue;
      const auto value = std::bit_cast<std::uint32_t>(bytes);
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", part.name, value);
    }
    return out;
  }

  ShapePlan make_plan(const Key& key) const {
    const std::string& name = key.algorithm;
    ShapePlan plan = describe(key.shape);
    if (plan.status != 0) return plan;
    std::vector<Offer> offered;
    plan.status = ask(offered, plan, key.shape, key.alignments, name.empty() ? 1 : most_offered);
    if (plan.status != 0) return plan;
    for (const Offer& one : offered) {
      if (!name.empty() && name_of(one.algorithm) != name) continue;
      plan.algorithm = one.algorithm;
      return plan;
    }
    plan.status = not_supported;  // hone's own kernel takes it
    return plan;
  }

  cublasLtHandle_t handle_ = nullptr;
  int opened_ = 0;
  std::map<Key, ShapePlan> plans_;
  std::mutex mutex_;
};

/// What the library's algorithms and their speed depend on: the card at hand, its driver, the library.
inline int cublaslt_origin(GemmOrigin* out) {
  int card = 0;
  cudaDeviceProp properties{};
  cudaError_t status = cudaGetDevice(&card);
  if (status == cudaSuccess) status = cudaGetDeviceProperties(&properties, card);
  if (status == cudaSuccess) status = cudaDriverGetVersion(&out->driver);
  out->card = properties.name;
  out->sm = properties.major * 10 + properties.minor;
  out->library = fmt::format("cuBLASLt {}", cublasLtGetVersion());
  return status;
}

}  // namespace detail

/// The table of a real card with cuBLASLt as its GEMM library.
inline Driver& cuda_driver_with_cublaslt() {
  static Driver driver = [] {
    Driver out = cuda_driver();
    out.matmul = [](const MatMulCall& call, void* stream) { return detail::CublasLt::instance().matmul(call, stream); };
    out.matmul_algorithms = [](std::vector<std::string>* names, const GemmShape& shape) {
      return detail::CublasLt::instance().algorithms(*names, shape);
    };
    out.matmul_origin = &detail::cublaslt_origin;
    out.error_text = [](int status) {
      if (status < detail::cublas_base) return cudaGetErrorString(static_cast<cudaError_t>(status));
      return cublasLtGetStatusString(static_cast<cublasStatus_t>(status - detail::cublas_base));
    };
    return out;
  }();
  return driver;
}

}  // namespace hone::gpu
