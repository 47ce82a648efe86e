// The table of `hone tune` that a run's matrix products go by, and what a resumed run is held to: another algorithm
// adds in another order, and rounds otherwise.
#pragma once

#include <hone/io/gemm_tuning_file.hpp>
#include <hone/tensor/tune_gemms.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <string>

namespace hone {

/// While one lives, a device multiplies as a file says; without a file, as it did before.
template <Device D>
class GemmTuningScope {
 public:
  GemmTuningScope(const D& device, const std::string& file) : device_(device) {
    if constexpr (Copying<D>) {
      before_ = device.gemm_tuning();
      if (!file.empty()) gpu::use_gemm_tuning(device, read_gemm_tuning(file), file);
      if (device.gemm_tuning() != nullptr) hash_ = hash_of(*device.gemm_tuning());
    } else {
      check(file.empty(), "gemm_tuning: [{}] chooses algorithms of a card's GEMM library, and this run's device is {}",
            file, name_of(device.target().kind));
    }
  }
  ~GemmTuningScope() {
    if constexpr (Copying<D>) device_.set_gemm_tuning(before_);
  }
  GemmTuningScope(const GemmTuningScope&) = delete;
  GemmTuningScope& operator=(const GemmTuningScope&) = delete;

  /// Of the table in use; empty where there is none.
  const std::string& hash() const { return hash_; }

 private:
  D device_;
  std::shared_ptr<const gpu::GemmTuning> before_;
  std::string hash_;
};

/// How many of the products of a run its table knows: the library's first choice multiplies the others.
inline std::string gemm_tuning_words(const gpu::GemmTuning& tuning, const std::set<gpu::GemmShape>& products) {
  const auto known = std::ranges::count_if(products, [&](const auto& shape) { return tuning.choices.contains(shape); });
  return fmt::format("GEMM tuning {}: {} of {} products are in the table", hash_of(tuning), known, products.size());
}

/// Throws where a run that began with one table (its hash, empty for none) would go on with another.
inline void check_same_gemm_tuning(const std::string& began, const std::string& goes_on,
                                   const std::string& checkpoint) {
  if (began == goes_on) return;
  const auto words = [](const std::string& hash) {
    return hash.empty() ? std::string("without a GEMM tuning") : fmt::format("with the GEMM tuning {}", hash);
  };
  fail("resume: [{}] belongs to a run {}, and this one is {}: its bits would not be the same; {}", checkpoint,
       words(began), words(goes_on),
       began.empty() ? "leave --gemm_tuning away" : "give --gemm_tuning the file that the run began with");
}

}  // namespace hone
