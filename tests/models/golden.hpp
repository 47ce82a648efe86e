// Reading tests/golden/<family>: batches, tensors and numbers that transformers and PEFT computed.
#pragma once

#include <hone/io/json.hpp>
#include <hone/io/tensor_files.hpp>
#include <hone/nn/batch.hpp>

#include <array>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace hone::test {

inline constexpr std::array golden_families = {"llama2",  "llama3.1", "llama3.2", "mistral",
                                               "smollm2", "qwen2",    "qwen3"};

class Golden {
 public:
  explicit Golden(const std::string& family)
      : folder_(std::filesystem::path(HONE_SOURCE_DIR) / "tests" / "golden" / family),
        tensors_(folder_ / "golden.safetensors"),
        json_(read_json_file(folder_ / "golden.json")) {}

  const std::filesystem::path& folder() const { return folder_; }
  const nlohmann::json& json() const { return json_; }
  const TensorFiles& tensors() const { return tensors_; }

  template <class T>
  std::vector<T> values(const std::string& name) const {
    std::vector<T> out(static_cast<std::size_t>(tensors_.shape(name).elements()));
    tensors_.read_into(name, out.data(), static_cast<std::int64_t>(out.size()));
    return out;
  }

  /// Batch k as it was run; `multiple` pads it as training does.
  Batch batch(int k, std::int64_t multiple = token_multiple) const {
    const std::string prefix = "batch" + std::to_string(k) + ".";
    const auto ids = values<std::int32_t>(prefix + "input_ids"), targets = values<std::int32_t>(prefix + "targets");
    Batch out;
    out.ids = ids;
    out.documents = values<std::int32_t>(prefix + "cu_seqlens");
    for (std::size_t document = 0; document + 1 < out.documents.size(); ++document)
      for (std::int32_t i = out.documents[document]; i < out.documents[document + 1]; ++i)
        out.positions.push_back(i - out.documents[document]);
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (targets[i] < 0) continue;
      out.rows.push_back(static_cast<std::int32_t>(i));
      out.targets.push_back(targets[i]);
    }
    out.pad_to_multiple(multiple);
    return out;
  }

 private:
  std::filesystem::path folder_;
  TensorFiles tensors_;
  nlohmann::json json_;
};

/// ||got - wanted|| / ||wanted||.
template <class Got, class Wanted>
double relative_error(const std::vector<Got>& got, const std::vector<Wanted>& wanted) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    difference += std::pow(static_cast<double>(got[i]) - static_cast<double>(wanted[i]), 2);
    norm += std::pow(static_cast<double>(wanted[i]), 2);
  }
  return std::sqrt(difference / std::max(norm, 1e-300));
}

template <class Got, class Wanted>
double largest_difference(const std::vector<Got>& got, const std::vector<Wanted>& wanted) {
  double largest = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(got[i]) - static_cast<double>(wanted[i])));
  return largest;
}

}  // namespace hone::test
