// Which base an adapter was trained on: a hash of samples of its weights, and hone's own file beside PEFT's that keeps
// it. An adapter fits every base of the same shapes; only the weights tell whether it is the one it was trained on.
#pragma once

#include <hone/io/atomic_file.hpp>
#include <hone/io/hash.hpp>
#include <hone/io/json.hpp>
#include <hone/io/tensor_files.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// What is known of a base. The same weights in other files, in other shards or widened to another floating type have
/// the same hashes: samples are hashed as bf16.
struct BaseHash {
  std::string projections;  ///< the weights of the blocks' linears, as they are stored
  std::string others;       ///< embeddings, norms and biases, which no quantisation touches
  bool quantised = false;   ///< whether any projection is stored in codes

  friend bool operator==(const BaseHash&, const BaseHash&) = default;
};

namespace detail {

inline constexpr std::string_view base_hash_file = "hone_adapter.json";

/// Adds a few elements from the beginning, the middle and the end of a tensor. Returns whether they are numbers.
inline bool add_samples(const TensorFiles& files, const std::string& name, Hash& hash) {
  constexpr std::size_t most = 64;
  const auto bytes = files.bytes(name);
  const DType type = files.dtype(name);
  const auto element = static_cast<std::size_t>(size_of(type));
  const std::size_t elements = bytes.size() / element, count = std::min(most, elements);
  const bool numbers = type == DType::f32 || type == DType::f64 || type == DType::f16 || type == DType::bf16;
  for (const std::size_t begin : {std::size_t{0}, (elements - count) / 2, elements - count}) {
    const auto piece = bytes.subspan(begin * element, count * element);
    std::array<bf16, most> values{};
    if (numbers) convert_elements(piece, type, values.data(), static_cast<std::int64_t>(count), name);
    numbers ? hash.add(values.data(), count * sizeof(bf16)) : hash.add(piece.data(), piece.size());
  }
  return numbers;
}

}  // namespace detail

/// Hashes names, shapes and some 192 elements of every tensor: a few pages of each, however large the base is.
inline BaseHash hash_of_base(const TensorFiles& files) {
  BaseHash out;
  Hash projections, others;
  for (const std::string& name : files.names()) {
    // What some checkpoints carry and others derive.
    if (name.ends_with("rotary_emb.inv_freq") || name == "lm_head.weight") continue;
    const bool projection = name.find("_proj.") != name.npos && !name.ends_with(".bias");
    Hash& hash = projection ? projections : others;
    hash.add(fmt::format("{}{};", name, files.shape(name)));
    const bool numbers = detail::add_samples(files, name, hash);
    out.quantised = out.quantised || (projection && !numbers);
    files.release();  // the kernel maps far more of a file than the page that is read
  }
  out.projections = projections.hex();
  out.others = others.hex();
  return out;
}

/// The same for a model's folder; nothing where none can be made, as of a base that is only a name.
inline std::optional<BaseHash> find_hash_of_base(const std::filesystem::path& folder) {
  std::error_code none;
  if (folder.empty() || !std::filesystem::is_directory(folder, none)) return std::nullopt;
  try {
    return hash_of_base(TensorFiles(folder));
  } catch (const Error&) {
    return std::nullopt;  // an adapter is not worth less for it
  }
}

/// Writes what is known of the base into an adapter's folder, as hone_adapter.json: PEFT looks at its own files only.
/// `stacked_on`: the names of the adapters below it while it trained.
inline void write_base_hash(const std::filesystem::path& folder, const BaseHash& base,
                            const std::vector<std::string>& stacked_on = {}) {
  nlohmann::json json = {
      {"base", {{"projections", base.projections}, {"others", base.others}, {"quantised", base.quantised}}}};
  if (!stacked_on.empty()) json["stacked_on"] = stacked_on;
  write_file(folder / detail::base_hash_file, json.dump(2) + "\n");
}

/// What an adapter's folder says of its base; nothing where it was not written by hone.
inline std::optional<BaseHash> read_base_hash(const std::filesystem::path& folder) {
  const auto path = folder / detail::base_hash_file;
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto json = read_json_file(path);
  const std::string origin = path.string();
  const auto& base = get_object(json, "base", origin);
  return BaseHash{get_string(base, "projections", origin), get_string(base, "others", origin),
                  find_bool(base, "quantised", origin).value_or(false)};
}

/// The names of the adapters that an adapter was trained on top of.
inline std::vector<std::string> read_stacked_on(const std::filesystem::path& folder) {
  const auto path = folder / detail::base_hash_file;
  std::vector<std::string> out;
  if (!std::filesystem::exists(path)) return out;
  const auto json = read_json_file(path);
  if (find_key(json, "stacked_on", path.string()) == nullptr) return out;
  for (const auto& name : get_array(json, "stacked_on", path.string()))
    out.push_back(json_string(name, "stacked_on", path.string()));
  return out;
}

/// In what a base differs from the one that was written down; empty where it is the same. Projections are compared only
/// where both are stored in the same way.
inline std::string base_difference(const BaseHash& written, const BaseHash& here) {
  const bool others = written.others != here.others;
  const bool projections = written.quantised == here.quantised && written.projections != here.projections;
  if (others && projections) return "its weights differ";
  if (others) return "its embeddings, norms or biases differ";
  return projections ? "the weights of its projections differ" : "";
}

}  // namespace hone
