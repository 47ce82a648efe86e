// The weights of a Hugging Face folder: model.safetensors, or the shards model.safetensors.index.json lists.
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/error.hpp>
#include <hone/core/shape.hpp>
#include <hone/io/elements.hpp>
#include <hone/io/json.hpp>
#include <hone/io/safetensors.hpp>
#include <hone/io/utf8.hpp>
#include <hone/tensor/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace hone {

namespace detail {

/// A shard's name comes from a file: it must name a file in the same folder and nothing else.
inline void check_shard_name(std::string_view name, std::string_view origin) {
  const bool plain =
      !name.empty() && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos && name != "." && name != "..";
  check(plain, "[{}] weight_map names the shard '{}', which is not a plain file name", origin, printable(name));
}

/// Refuses weights in Python's pickle format, which runs code when it is read, and says what to do instead.
[[noreturn]] inline void refuse_pickle(const std::filesystem::path& file, std::string_view stem) {
  const bool adapter = stem == "adapter_model";
  fail(
      "[{}] is a Python pickle, which can run code when it is read; hone reads safetensors only. Convert it where you "
      "trust it: python -c \"from {} import {} as M; M.from_pretrained('{}').save_pretrained('converted', "
      "safe_serialization=True)\"",
      file.string(), adapter ? "peft" : "transformers", adapter ? "AutoPeftModelForCausalLM" : "AutoModelForCausalLM",
      file.parent_path().string());
}

inline bool is_pickle(const std::filesystem::path& path) {
  const auto extension = path.extension();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".pkl";
}

/// "model.safetensors is missing", or the reason why another file of the folder does not serve.
[[noreturn]] inline void refuse_folder(const std::filesystem::path& folder, std::string_view stem) {
  std::vector<std::filesystem::path> pickles;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (is_pickle(entry.path())) pickles.push_back(entry.path());
  check(!error, "[{}] cannot be listed: {}", folder.string(), error.message());
  if (!pickles.empty()) refuse_pickle(*std::ranges::min_element(pickles), stem);
  fail("[{}] has neither {}.safetensors nor {}.safetensors.index.json", folder.string(), stem, stem);
}

}  // namespace detail

/// Opens every weights file of a folder (or one .safetensors file), validates all headers, and reads tensors by name.
/// Everything it throws is an Error that names the file and, where there is one, the tensor.
class TensorFiles {
 public:
  /// `stem` is "model" for models, "adapter_model" for PEFT adapters.
  explicit TensorFiles(std::filesystem::path where, std::string_view stem = "model") : where_(std::move(where)) {
    std::error_code error;
    const auto status = std::filesystem::status(where_, error);
    check(std::filesystem::exists(status), "[{}] does not exist", where_.string());
    if (!std::filesystem::is_directory(status)) {
      if (detail::is_pickle(where_)) detail::refuse_pickle(where_, stem);
      shards_.emplace_back(where_);
    } else {
      open_folder(stem);
    }
    collect();
  }

  std::size_t shard_count() const { return shards_.size(); }
  const SafetensorsFile& shard(std::size_t index) const { return shards_.at(index); }
  const std::filesystem::path& path() const { return where_; }

  /// All names, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& [name, place] : places_) out.emplace_back(name);
    return out;
  }
  bool contains(std::string_view name) const { return places_.contains(name); }

  const TensorEntry& entry(std::string_view name) const { return *place(name).entry; }
  /// The file the tensor lies in; it opens every message about the tensor.
  std::string origin(std::string_view name) const { return shards_[place(name).shard].path().string(); }
  std::size_t shard_of(std::string_view name) const { return place(name).shard; }
  DType dtype(std::string_view name) const { return entry(name).dtype(origin(name)); }
  Shape shape(std::string_view name) const { return entry(name).shape(origin(name)); }
  std::span<const std::byte> bytes(std::string_view name) const {
    const auto& found = place(name);
    return shards_[found.shard].bytes(*found.entry);
  }

  /// Copies a tensor of `count` elements into packed memory, converting between floating types.
  template <class T>
  void read_into(std::string_view name, T* out, std::int64_t count) const {
    const auto got = shape(name).elements();
    check(got == count, "{} has {} elements; {} were expected", what(name), got, count);
    convert_elements(bytes(name), dtype(name), out, count, what(name));
  }

  /// Copies a tensor into a view of exactly its shape; rows of the view may be strided.
  template <class T, int Rank>
  void read_into(std::string_view name, View<T, Rank> out) const {
    Shape wanted;
    for (const auto extent : out.extents) wanted.push_back(extent);
    check(shape(name) == wanted, "{} has shape {}; {} was expected", what(name), to_string(shape(name)),
          to_string(wanted));
    if (out.packed()) return read_into(name, out.data, out.elements());
    const auto source = bytes(name);
    const auto type = dtype(name);
    const auto origin_text = what(name);
    const auto row_bytes = static_cast<std::size_t>(out.row_elements() * size_of(type));
    for (std::int64_t row = 0; row < out.rows(); ++row) {
      const auto from = source.subspan(static_cast<std::size_t>(row) * row_bytes, row_bytes);
      convert_elements(from, type, out.row(row), out.row_elements(), origin_text);
    }
  }

  /// Throws an Error that names the tensor and its first element that is NaN or infinite. Integers pass.
  void check_finite(std::string_view name) const {
    const auto type = dtype(name);
    if (type != DType::f32 && type != DType::f64 && type != DType::bf16 && type != DType::f16) return;
    const auto source = bytes(name);
    with_floating_type(type, what(name), [&]<class From>(From) {
      for (std::size_t i = 0; i < source.size() / sizeof(From); ++i) {
        const auto value = static_cast<Accumulator<From>>(element_at<From>(source, i));
        if (!std::isfinite(value)) fail("{}: element {} is {}", what(name), i, value);
      }
    });
  }

  /// Gives the memory of one shard's pages back once its tensors have been read; reading on is possible but slow.
  void release(std::size_t index) const { shards_.at(index).release(); }
  void release() const {
    for (const auto& file : shards_) file.release();
  }

 private:
  struct Place {
    std::size_t shard;
    const TensorEntry* entry;
  };

  const Place& place(std::string_view name) const {
    const auto found = places_.find(name);
    check(found != places_.end(), "[{}] has no tensor '{}' ({} others)", where_.string(), printable(name),
          places_.size());
    return found->second;
  }
  std::string what(std::string_view name) const {
    return fmt::format("[{}] tensor '{}'", origin(name), printable(name));
  }

  void open_folder(std::string_view stem) {
    const auto single = where_ / fmt::format("{}.safetensors", stem);
    const auto index = where_ / fmt::format("{}.safetensors.index.json", stem);
    std::error_code error;
    if (std::filesystem::exists(single, error))
      shards_.emplace_back(single);
    else if (std::filesystem::exists(index, error))
      open_shards(index);
    else
      detail::refuse_folder(where_, stem);
  }

  void open_shards(const std::filesystem::path& index) {
    const auto origin = index.string();
    const auto json = read_json_file(index);
    const auto& weight_map = get_object(json, "weight_map", origin);
    std::map<std::string, std::vector<std::string>> tensors_of;
    for (const auto& [name, shard] : weight_map.items()) {
      const auto& file = json_string(shard, printable(name), origin);
      detail::check_shard_name(file, origin);
      tensors_of[file].push_back(name);
    }
    check(!tensors_of.empty(), "[{}] weight_map lists no tensors", origin);
    shards_.reserve(tensors_of.size());
    std::error_code error;
    for (const auto& [file, names] : tensors_of) {
      const auto path = where_ / file;
      check(std::filesystem::exists(path, error), "[{}] is missing; {} names it for {} tensors", path.string(),
            index.filename().string(), names.size());
      const auto& shard = shards_.emplace_back(path);
      for (const auto& name : names)
        check(shard.find(name) != nullptr, "[{}] lacks tensor '{}', which {} places there", path.string(),
              printable(name), index.filename().string());
    }
  }

  void collect() {
    for (std::size_t shard = 0; shard < shards_.size(); ++shard) {
      for (const auto& entry : shards_[shard].entries()) {
        const auto [at, fresh] = places_.emplace(entry.name, Place{shard, &entry});
        check(fresh, "[{}] tensor '{}' is in {} as well", shards_[shard].path().string(), printable(entry.name),
              shards_[at->second.shard].path().filename().string());
      }
    }
  }

  std::filesystem::path where_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string_view, Place, std::less<>> places_;  // names and entries live in shards_
};

}  // namespace hone
