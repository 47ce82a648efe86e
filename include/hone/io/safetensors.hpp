// safetensors: u64 header length, JSON header, data. Everything is checked before a byte of data is touched.
// Format and the names of the error kinds: the reference implementation, https://github.com/huggingface/safetensors
#pragma once

#include <hone/core/dtype.hpp>
#include <hone/core/shape.hpp>
#include <hone/io/byte_reader.hpp>
#include <hone/io/json.hpp>
#include <hone/io/mapped_file.hpp>
#include <hone/io/utf8.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// A safetensors file that is not one. `kind` is the reference implementation's name of the fault ("InvalidOffset").
struct SafetensorsError : Error {
  SafetensorsError(std::string_view fault, std::string_view origin, std::string_view text)
      : Error(fmt::format("[{}] {}: {}", origin, fault, text)), kind(fault) {}
  std::string kind;
};

/// An element type the format knows, and hone's type for it where there is one.
struct SafetensorsType {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};

inline constexpr std::array<SafetensorsType, 22> safetensors_types{{
    {"F64", 64, DType::f64},          {"F32", 32, DType::f32},      {"F16", 16, DType::f16},
    {"BF16", 16, DType::bf16},        {"I64", 64, DType::i64},      {"I32", 32, DType::i32},
    {"I16", 16, DType::i16},          {"I8", 8, DType::i8},         {"U8", 8, DType::u8},
    {"BOOL", 8, DType::boolean},      {"U64", 64, std::nullopt},    {"U32", 32, std::nullopt},
    {"U16", 16, std::nullopt},        {"C64", 64, std::nullopt},    {"F8_E4M3", 8, std::nullopt},
    {"F8_E5M2", 8, std::nullopt},     {"F8_E8M0", 8, std::nullopt}, {"F8_E4M3FNUZ", 8, std::nullopt},
    {"F8_E5M2FNUZ", 8, std::nullopt}, {"F6_E2M3", 6, std::nullopt}, {"F6_E3M2", 6, std::nullopt},
    {"F4", 4, std::nullopt},
}};

/// The format's name of one of hone's types.
constexpr std::string_view safetensors_name(DType dtype) {
  for (const auto& type : safetensors_types)
    if (type.dtype == dtype) return type.name;
  return "?";
}

/// What the header says of one tensor. dtype() and shape() refuse what hone cannot hold, so that a file with an exotic
/// tensor can be listed and its other tensors read.
struct TensorEntry {
  std::string name;
  const SafetensorsType* type = nullptr;
  std::vector<std::int64_t> extents;
  std::int64_t begin = 0;  // from the start of the data
  std::int64_t bytes = 0;
  std::int64_t header_at = 0;  // where in the file the entry ends, for messages

  DType dtype(std::string_view origin) const {
    check(type->dtype.has_value(), "[{}] tensor '{}' has element type {}, which hone does not compute with", origin,
          printable(name), type->name);
    return *type->dtype;
  }
  Shape shape(std::string_view origin) const {
    check(std::cmp_less_equal(extents.size(), max_rank), "[{}] tensor '{}' has rank {}; hone's tensors have at most {}",
          origin, printable(name), extents.size(), max_rank);
    Shape out;
    for (const auto extent : extents) out.push_back(extent);
    return out;
  }
};

struct SafetensorsHeader {
  std::vector<TensorEntry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
  std::int64_t data_start = 0;
};

inline constexpr std::uint64_t safetensors_max_header = 100'000'000;
inline constexpr std::size_t safetensors_max_rank = 64;  // more is a bomb: PyTorch and NumPy stop at 64 as well

namespace detail {

/// Turns header JSON into entries while it is read: no tree of values is ever built, so memory stays near the text's.
class SafetensorsEvents : public JsonEvents {
 public:
  SafetensorsEvents(std::string_view origin, std::int64_t base) : JsonEvents(origin), base_(base) {}

  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> metadata;

  bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception& reason) {
    malformed(position, describe(token, reason));
  }
  [[noreturn]] void malformed(std::size_t position, const std::string& reason) const {
    throw SafetensorsError(malformed_kind, origin(),
                           fmt::format("byte {}: not valid JSON{}", base_ + std::int64_t(position), reason));
  }

  bool null() { return ignored() || at_metadata_value() || unexpected("null"); }
  bool boolean(bool) { return ignored() || unexpected("a boolean"); }
  bool number_integer(std::int64_t) { return ignored() || unexpected("a negative number"); }
  bool number_float(double, const std::string&) { return ignored() || unexpected("a fraction"); }
  bool number_unsigned(std::uint64_t value) {
    if (ignored()) return true;
    if (in_list(Field::shape)) return add_extent(value);
    if (in_list(Field::offsets)) return add_offset(value);
    return unexpected("a number");
  }
  bool string(std::string& value) {
    if (ignored()) return true;
    if (depth() == 2 && in_metadata_) {
      refuse_unless(metadata.emplace(metadata_key_, std::move(value)).second, "a metadata key is given twice");
      return true;
    }
    if (depth() != 2 || field_ != Field::dtype) return unexpected("a string");
    const auto found = std::ranges::find(safetensors_types, value, &SafetensorsType::name);
    if (found == safetensors_types.end())
      refuse(malformed_kind, fmt::format("element type '{}' is unknown", printable(value)));
    entries.back().type = &*found;
    return true;
  }
  bool start_object(std::size_t) {
    if (!ignored() && depth() > 1) return unexpected("an object");
    enter();
    return true;
  }
  bool start_array(std::size_t) {
    const bool list = depth() == 2 && !in_metadata_ && (field_ == Field::shape || field_ == Field::offsets);
    if (!ignored() && !list) return unexpected("an array");
    enter();
    return true;
  }
  bool end_array() {
    leave();
    return true;
  }
  bool end_object() {
    if (depth() == 2 && !in_metadata_) finish_entry();
    leave();
    return true;
  }
  bool key(std::string& name) {
    if (depth() == 1) {
      start_entry(name);
    } else if (depth() == 2 && in_metadata_) {
      metadata_key_ = std::move(name);
    } else if (depth() == 2) {
      start_field(name);
    }
    return true;
  }

 private:
  static constexpr std::string_view malformed_kind = "InvalidHeaderDeserialization";
  enum class Field : std::uint8_t { dtype, shape, offsets, other };

  /// Inside a member the format does not define; the reference implementation skips those as well.
  bool ignored() const { return depth() >= 2 && !in_metadata_ && field_ == Field::other && field_open_; }
  bool at_metadata_value() const { return depth() == 1 && in_metadata_; }
  bool in_list(Field field) const { return depth() == 3 && field_ == field; }

  void start_entry(std::string& name) {
    in_metadata_ = name == "__metadata__";
    field_open_ = false;
    if (in_metadata_) {
      refuse_unless(!std::exchange(metadata_seen_, true), "__metadata__ is given twice");
    } else {
      entries.emplace_back().name = std::move(name);
      seen_ = {};
      offsets_ = 0;
    }
  }
  void start_field(const std::string& name) {
    field_ = name == "dtype"          ? Field::dtype
             : name == "shape"        ? Field::shape
             : name == "data_offsets" ? Field::offsets
                                      : Field::other;
    field_open_ = true;
    if (field_ == Field::other) return;
    if (std::exchange(seen_[static_cast<std::size_t>(field_)], true)) refuse(malformed_kind, name + " is given twice");
  }
  bool add_extent(std::uint64_t value) {
    auto& extents = entries.back().extents;
    if (extents.size() == safetensors_max_rank)
      refuse(malformed_kind, fmt::format("the shape has more than {} extents", safetensors_max_rank));
    if (!std::in_range<std::int64_t>(value)) refuse("ValidationOverflow", fmt::format("extent {} is too large", value));
    extents.push_back(static_cast<std::int64_t>(value));
    return true;
  }
  bool add_offset(std::uint64_t value) {
    if (!std::in_range<std::int64_t>(value)) refuse("InvalidOffset", fmt::format("offset {} is too large", value));
    refuse_unless(offsets_ < 2, "data_offsets has more than two numbers");
    const auto number = static_cast<std::int64_t>(value);
    auto& entry = entries.back();
    if (offsets_++ == 0)
      entry.begin = number;
    else if (number < entry.begin)
      refuse("InvalidOffset", fmt::format("data ends at {} before it begins at {}", number, entry.begin));
    else
      entry.bytes = number - entry.begin;
    return true;
  }
  void finish_entry() {
    constexpr std::array<std::string_view, 3> names{"dtype", "shape", "data_offsets"};
    for (std::size_t i = 0; i < names.size(); ++i)
      if (!seen_[i]) refuse(malformed_kind, fmt::format("{} is missing", names[i]));
    refuse_unless(entries.back().type != nullptr, "dtype is null");
    if (offsets_ != 2) refuse(malformed_kind, fmt::format("data_offsets has {} numbers instead of 2", offsets_));
    entries.back().header_at = base_ + static_cast<std::int64_t>(position());
  }
  [[noreturn]] void refuse(std::string_view kind, const std::string& text) const {
    const bool in_tensor = depth() >= 1 && !in_metadata_ && !entries.empty();
    const auto where = in_tensor ? fmt::format("tensor '{}', ", printable(entries.back().name)) : std::string();
    throw SafetensorsError(kind, origin(),
                           fmt::format("{}header byte {}: {}", where, base_ + std::int64_t(position()), text));
  }
  void refuse_unless(bool ok, std::string_view text) const {
    if (!ok) refuse(malformed_kind, std::string(text));
  }
  bool unexpected(std::string_view what) const {
    refuse(malformed_kind, fmt::format("{} stands where the format has none", what));
  }

  std::int64_t base_;  // the JSON's position in the file
  std::string metadata_key_;
  std::array<bool, 3> seen_{};
  int offsets_ = 0;
  Field field_ = Field::other;
  bool field_open_ = false;  // a member's key has been read in this entry
  bool in_metadata_ = false;
  bool metadata_seen_ = false;
};

[[noreturn]] inline void refuse_tensor(const TensorEntry& entry, std::string_view kind, std::string_view origin,
                                       const std::string& text) {
  throw SafetensorsError(kind, origin,
                         fmt::format("tensor '{}', header byte {}: {}", printable(entry.name), entry.header_at, text));
}

/// shape x element size, in bytes, against the span data_offsets gives.
inline void check_entry_size(const TensorEntry& entry, std::string_view origin) {
  // All extents count, also beside a 0: whether a shape is sound must not depend on their order.
  std::int64_t bits = entry.type->bits;
  bool overflow = false;
  bool empty = false;
  for (const auto extent : entry.extents) {
    if (extent == 0)
      empty = true;
    else
      overflow = overflow || __builtin_mul_overflow(bits, extent, &bits);
  }
  const auto shape = fmt::format("{} ({})", entry.type->name, fmt::join(entry.extents, ", "));
  if (overflow) refuse_tensor(entry, "ValidationOverflow", origin, shape + " has more bits than 64-bit numbers count");
  if (empty) bits = 0;
  if (bits % 8 != 0) refuse_tensor(entry, "MisalignedSlice", origin, shape + " does not end on a whole byte");
  if (bits / 8 != entry.bytes)
    refuse_tensor(entry, "TensorInvalidInfo", origin,
                  fmt::format("{} takes {} bytes, data_offsets [{}, {}] give {}", shape, bits / 8, entry.begin,
                              entry.begin + entry.bytes, entry.bytes));
}

/// Sorts the entries by data and checks that they tile `data_bytes` without hole, overlap or rest.
inline void check_layout(std::vector<TensorEntry>& entries, std::int64_t data_bytes, std::string_view origin) {
  std::ranges::stable_sort(entries, {}, [](const TensorEntry& e) { return std::pair(e.begin, e.bytes); });
  std::int64_t expected = 0;
  for (const auto& entry : entries) {
    if (entry.begin != expected)
      refuse_tensor(entry, "InvalidOffset", origin,
                    fmt::format("data begins at offset {} where {} was expected", entry.begin, expected));
    check_entry_size(entry, origin);
    expected += entry.bytes;  // begin + bytes was read from the file as one number that fits
  }
  if (expected != data_bytes)
    throw SafetensorsError(
        "MetadataIncompleteBuffer", origin,
        fmt::format("the header describes {} bytes of data, the file holds {}", expected, data_bytes));
}

inline void check_unique_names(const std::vector<TensorEntry>& entries, std::string_view origin) {
  std::vector<const TensorEntry*> by_name(entries.size());
  std::ranges::transform(entries, by_name.begin(), [](const TensorEntry& entry) { return &entry; });
  std::ranges::sort(by_name, {},
                    [](const TensorEntry* e) { return std::pair(std::string_view(e->name), e->header_at); });
  const auto twice =
      std::ranges::adjacent_find(by_name, {}, [](const TensorEntry* e) { return std::string_view(e->name); });
  if (twice != by_name.end())
    refuse_tensor(**std::next(twice), "InvalidHeaderDeserialization", origin, "the name is given twice");
}

}  // namespace detail

/// Parses and validates a whole file. Touches the header only; throws SafetensorsError naming file, tensor and byte.
inline SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view origin) {
  constexpr std::size_t prefix = 8;
  const auto refuse = [&](std::string_view kind, std::string text) { throw SafetensorsError(kind, origin, text); };
  if (file.size() < prefix) refuse("HeaderTooSmall", fmt::format("{} bytes; a header length takes 8", file.size()));
  ByteReader reader(file, std::string(origin));
  const auto length = reader.read<std::uint64_t>("header length");
  if (length > safetensors_max_header)
    refuse("HeaderTooLarge",
           fmt::format("byte 0: header of {} bytes; at most {} are allowed", length, safetensors_max_header));
  if (length > reader.remaining())
    refuse("InvalidHeaderLength", fmt::format("byte 0: header of {} bytes; {} are left", length, reader.remaining()));

  const auto json = reader.text(length, "header");
  if (const auto valid = valid_utf8_prefix(json); valid != json.size())
    refuse("InvalidHeader", fmt::format("byte {}: the header is not UTF-8", prefix + valid));
  if (const auto start = json.find_first_not_of(" \t\r\n"); start == json.npos || json[start] != '{')
    refuse("InvalidHeaderStart", "byte 8: the header does not start with '{'");

  detail::SafetensorsEvents events(origin, prefix);
  detail::parse_events(json, events);
  detail::check_unique_names(events.entries, origin);
  detail::check_layout(events.entries, static_cast<std::int64_t>(reader.remaining()), origin);
  return {std::move(events.entries), std::move(events.metadata), reader.position()};
}

/// A mapped safetensors file: validated entries, and the bytes of each.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path)
      : map_(path), header_(parse_safetensors(map_.bytes(), path.string())), by_name_(header_.entries.size()) {
    std::iota(by_name_.begin(), by_name_.end(), std::size_t{0});
    std::ranges::sort(by_name_, {}, [this](std::size_t i) { return std::string_view(header_.entries[i].name); });
  }

  const std::vector<TensorEntry>& entries() const { return header_.entries; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
  const std::filesystem::path& path() const { return map_.path(); }
  std::int64_t size() const { return map_.size(); }

  /// The entry of that name, or null.
  const TensorEntry* find(std::string_view name) const {
    const auto key = [this](std::size_t i) { return std::string_view(header_.entries[i].name); };
    const auto at = std::ranges::lower_bound(by_name_, name, {}, key);
    return at != by_name_.end() && key(*at) == name ? &header_.entries[*at] : nullptr;
  }
  /// The data of one of entries(); not aligned to its element size in general.
  std::span<const std::byte> bytes(const TensorEntry& entry) const {
    return map_.bytes().subspan(static_cast<std::size_t>(header_.data_start + entry.begin),
                                static_cast<std::size_t>(entry.bytes));
  }
  /// See MappedFile::release.
  void release() const { map_.release(); }

 private:
  MappedFile map_;
  SafetensorsHeader header_;
  std::vector<std::size_t> by_name_;
};

}  // namespace hone
