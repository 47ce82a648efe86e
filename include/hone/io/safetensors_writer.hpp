// Writes safetensors, one file or shards with an index, streaming: the tensors are asked for one after the other, so
// that saving never holds a second copy of the model.
#pragma once

#include <hone/core/checked.hpp>
#include <hone/core/dtype.hpp>
#include <hone/core/shape.hpp>
#include <hone/io/atomic_file.hpp>
#include <hone/io/elements.hpp>
#include <hone/io/json.hpp>
#include <hone/io/safetensors.hpp>
#include <hone/io/utf8.hpp>
#include <hone/tensor/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace hone {

/// A tensor that is going to be written.
struct TensorDeclaration {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;

  std::int64_t bytes() const { return checked_mul(shape.elements(), size_of(dtype), name); }
};

struct SaveOptions {
  std::int64_t max_shard_size = 5'000'000'000;  // bytes of data; transformers' default
  std::string stem = "model";                   // "adapter_model" for PEFT
  // transformers refuses files that do not say which framework's layout they hold.
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
};

/// Takes the data of one tensor, in any number of pieces, and checks that exactly the declared bytes arrive.
class TensorSink {
 public:
  TensorSink(AtomicFile& file, const TensorDeclaration& tensor) : file_(file), tensor_(tensor), left_(tensor.bytes()) {}

  /// Bytes that are in the tensor's type already.
  void write(std::span<const std::byte> bytes) {
    if (std::cmp_greater(bytes.size(), left_))
      fail("{}: {} bytes were offered, {} are missing", what(), bytes.size(), left_);
    file_.write(bytes);
    left_ -= static_cast<std::int64_t>(bytes.size());
  }

  /// Elements of any floating type, converted to the declared one through a small buffer.
  template <class T>
  void write(const T* data, std::int64_t count) {
    if (dtype_of<T> == tensor_.dtype) return write(std::as_bytes(std::span(data, static_cast<std::size_t>(count))));
    if constexpr (is_floating<T>) {
      with_floating_type(tensor_.dtype, what(), [&]<class To>(To) { write_converted<To>(data, count); });
    } else {
      fail("{} is declared as {}; {} was offered", what(), name_of(tensor_.dtype), name_of(dtype_of<T>));
    }
  }

  /// A view, row by row where it is strided.
  template <class T, int Rank>
  void write(View<T, Rank> view) {
    if (view.packed()) return write(view.data, view.elements());
    for (std::int64_t row = 0; row < view.rows(); ++row) write(view.row(row), view.row_elements());
  }

  /// Bytes not offered yet.
  std::int64_t left() const { return left_; }

  void finish() const {
    if (left_ != 0) fail("{}: {} of {} bytes were not offered", what(), left_, tensor_.bytes());
  }

 private:
  template <class To, class T>
  void write_converted(const T* data, std::int64_t count) {
    std::array<To, 4096> buffer;
    while (count > 0) {
      const auto piece = std::min(count, std::int64_t{buffer.size()});
      std::transform(data, data + piece, buffer.begin(), [](T value) { return convert_element<To>(value); });
      write(std::as_bytes(std::span(buffer).first(static_cast<std::size_t>(piece))));
      data += piece;
      count -= piece;
    }
  }
  std::string what() const { return fmt::format("[{}] tensor '{}'", file_.path().string(), printable(tensor_.name)); }

  AtomicFile& file_;
  const TensorDeclaration& tensor_;
  std::int64_t left_;
};

namespace detail {

inline void check_declarations(const std::vector<TensorDeclaration>& tensors, const std::string& origin) {
  std::unordered_set<std::string_view> names;
  for (const auto& tensor : tensors) {
    const auto shown = printable(tensor.name);
    check(tensor.name != "__metadata__", "[{}] a tensor cannot be called __metadata__", origin);
    check(valid_utf8_prefix(tensor.name) == tensor.name.size(), "[{}] tensor name '{}' is not UTF-8", origin, shown);
    check(names.insert(tensor.name).second, "[{}] tensor '{}' is declared twice", origin, shown);
  }
}

/// Length, JSON and padding. Every tensor starts at a multiple of its element size: the header ends on a multiple of 8
/// and wider types come first.
inline std::string safetensors_header(const std::vector<const TensorDeclaration*>& tensors, const SaveOptions& options,
                                      const std::string& origin) {
  auto header = nlohmann::json::object();
  if (!options.metadata.empty()) header["__metadata__"] = options.metadata;
  std::int64_t offset = 0;
  for (const auto* tensor : tensors) {
    const auto end = checked_add(offset, tensor->bytes(), origin);
    header[tensor->name] = {{"dtype", safetensors_name(tensor->dtype)},
                            {"shape", std::vector<std::int64_t>(tensor->shape.begin(), tensor->shape.end())},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  auto text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  check(text.size() <= safetensors_max_header, "[{}] {} tensors need a header of {} bytes; at most {} are allowed",
        origin, tensors.size(), text.size(), safetensors_max_header);
  std::string out;
  for (unsigned byte = 0; byte < 8; ++byte) out += static_cast<char>(text.size() >> (8 * byte) & 0xff);
  return out + text;
}

template <class Content>
void write_safetensors_file(const std::filesystem::path& path, std::vector<const TensorDeclaration*> tensors,
                            Content& content, const SaveOptions& options) {
  std::ranges::stable_sort(tensors, std::greater<>{}, [](const auto* tensor) { return size_of(tensor->dtype); });
  AtomicFile file(path);
  file.write(safetensors_header(tensors, options, path.string()));
  for (const auto* tensor : tensors) {
    TensorSink sink(file, *tensor);
    content(*tensor, sink);
    sink.finish();
  }
  file.commit();
}

/// Greedy, in declared order; a tensor larger than the limit has a shard of its own.
inline std::vector<std::vector<const TensorDeclaration*>> plan_shards(const std::vector<TensorDeclaration>& tensors,
                                                                      std::int64_t max_shard_size) {
  std::vector<std::vector<const TensorDeclaration*>> shards(1);
  std::int64_t filled = 0;
  for (const auto& tensor : tensors) {
    const auto bytes = tensor.bytes();
    if (!shards.back().empty() && bytes > max_shard_size - filled) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(&tensor);
    filled = checked_add(filled, bytes, tensor.name);
  }
  return shards;
}

}  // namespace detail

/// Writes one file. `content(declaration, sink)` is called once per tensor and hands its data to `sink`.
template <class Content>
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorDeclaration>& tensors,
                       Content&& content, const SaveOptions& options = {}) {
  detail::check_declarations(tensors, path.string());
  std::vector<const TensorDeclaration*> all;
  for (const auto& tensor : tensors) all.push_back(&tensor);
  detail::write_safetensors_file(path, std::move(all), content, options);
}

/// Writes `<stem>.safetensors` into `folder`, or, above max_shard_size, `<stem>-00001-of-0000K.safetensors` and the
/// index. Each file is atomic; for a folder that must change as a whole, pass AtomicFolder::path(). The index comes
/// last, so that it never names a shard that is not there. Returns the names of the files written.
template <class Content>
std::vector<std::string> save_tensors(const std::filesystem::path& folder,
                                      const std::vector<TensorDeclaration>& tensors, Content&& content,
                                      const SaveOptions& options = {}) {
  check(options.max_shard_size > 0, "[{}] max_shard_size is {}; it must be positive", folder.string(),
        options.max_shard_size);
  detail::check_declarations(tensors, folder.string());
  const auto shards = detail::plan_shards(tensors, options.max_shard_size);
  if (shards.size() == 1) {
    const auto name = options.stem + ".safetensors";
    detail::write_safetensors_file(folder / name, shards[0], content, options);
    return {name};
  }
  std::vector<std::string> files;
  auto weight_map = nlohmann::json::object();
  std::int64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    files.push_back(fmt::format("{}-{:05}-of-{:05}.safetensors", options.stem, i + 1, shards.size()));
    detail::write_safetensors_file(folder / files.back(), shards[i], content, options);
    for (const auto* tensor : shards[i]) {
      weight_map[tensor->name] = files.back();
      total = checked_add(total, tensor->bytes(), tensor->name);
    }
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  files.push_back(options.stem + ".safetensors.index.json");
  write_file(folder / files.back(), index.dump(2) + "\n");
  return files;
}

}  // namespace hone
