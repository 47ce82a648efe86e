// Quantised weights in bitsandbytes' safetensors form: "<module>.weight" holds the codes, and beside it lie
//   nf4:  .weight.absmax, .weight.quant_map, .weight.quant_state.bitsandbytes__nf4 (bytes of a JSON object), and with
//         double quantisation .weight.nested_absmax and .weight.nested_quant_map
//   int8: .SCB and .weight_format (0: row-major)
#pragma once

#include <hone/io/json.hpp>
#include <hone/io/safetensors_writer.hpp>
#include <hone/io/tensor_files.hpp>
#include <hone/nn/quantise.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// A tensor to be written, and what hands its data over.
struct TensorSource {
  TensorDeclaration declaration;
  std::function<void(TensorSink&)> write;
};

namespace detail {

inline constexpr std::string_view nf4_state_name = ".weight.quant_state.bitsandbytes__nf4";

/// Copies a tensor of a file, whatever its shape, into one of as many elements; the types must be equal.
template <class T, Device D>
void read_exactly(const TensorFiles& files, const std::string& name, const Tensor<T, D>& out) {
  check(files.contains(name), "[{}] has no tensor '{}'", files.path().string(), name);
  check(files.dtype(name) == dtype_of<T> && files.shape(name).elements() == out.elements(),
        "[{}] tensor '{}' is {} {}; {} elements of {} were expected", files.origin(name), name,
        name_of(files.dtype(name)), files.shape(name), out.elements(), name_of(dtype_of<T>));
  std::vector<T> values(static_cast<std::size_t>(std::min(staging_elements, out.elements())));
  const auto all = out.viewed_as({out.elements()});
  const auto source = files.bytes(name);
  for (std::int64_t begin = 0; begin < out.elements(); begin += staging_elements) {
    const std::int64_t count = std::min(staging_elements, out.elements() - begin);
    copy_elements(
        source.subspan(static_cast<std::size_t>(begin) * sizeof(T), static_cast<std::size_t>(count) * sizeof(T)),
        values.data(), count, name);
    all.rows(begin, count).copy_from({values.data(), static_cast<std::size_t>(count)});
  }
}

/// The table in a file must be hone's: codes of another one would mean other values.
inline void check_nf4_table(const TensorFiles& files, const std::string& name) {
  std::vector<float> table(nf4_table.size());
  files.read_into(name, table.data(), static_cast<std::int64_t>(table.size()));
  check(std::ranges::equal(table, nf4_table), "[{}] tensor '{}' is not the table of nf4", files.origin(name), name);
}

/// The quant_state of a module, held to the weight it is for. Returns the offset of double quantisation.
inline float read_nf4_state(const TensorFiles& files, const std::string& module, const Shape& shape, bool nested) {
  const std::string name = module + std::string(nf4_state_name), origin = files.origin(name) + ", " + name;
  const auto bytes = files.bytes(name);
  const auto state = parse_json(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), origin);
  const auto type = get_string(state, "quant_type", origin);
  check(type == "nf4", "[{}] quant_type \"{}\" where nf4 was expected", origin, printable(type));
  check(get_int(state, "blocksize", origin, 1, 1 << 20) == nf4_block, "[{}] blocksize other than {} is not supported",
        origin, nf4_block);
  Shape stored;
  for (const auto& extent : get_array(state, "shape", origin)) {
    check(stored.rank() < 2, "[{}] shape has more than two extents", origin);
    stored.push_back(json_int(extent, "shape", origin, 0));
  }
  check(stored == shape, "[{}] shape {} where {} was expected", origin, stored, shape);
  const bool has_nested = find_key(state, "nested_blocksize", origin) != nullptr;
  check(has_nested == nested, "[{}] the scales are {}quantised, the config says otherwise", origin,
        has_nested ? "" : "not ");
  if (!nested) return 0;
  check(get_int(state, "nested_blocksize", origin, 1, 1 << 20) == nested_block,
        "[{}] nested_blocksize other than {} is not supported", origin, nested_block);
  const double offset = get_double(state, "nested_offset", origin);
  check(std::isfinite(static_cast<float>(offset)), "[{}] nested_offset {} is not a finite float", origin, offset);
  return static_cast<float>(offset);
}

template <Device D>
void read_nf4(const TensorFiles& files, const std::string& module, const QuantisedWeight<D>& out) {
  const Nf4Weight<D>& nf4 = *out.nf4();
  const float offset = read_nf4_state(files, module, out.shape(), nf4.nested());
  check_nf4_table(files, module + ".weight.quant_map");
  read_exactly(files, module + ".weight", nf4.codes);
  if (!nf4.nested()) {
    files.check_finite(module + ".weight.absmax");
    return read_exactly(files, module + ".weight.absmax", nf4.absmax);
  }
  for (const char* scales : {".weight.nested_absmax", ".weight.nested_quant_map"}) files.check_finite(module + scales);
  read_exactly(files, module + ".weight.absmax", nf4.absmax_codes);
  read_exactly(files, module + ".weight.nested_absmax", nf4.nested_absmax);
  read_exactly(files, module + ".weight.nested_quant_map", nf4.nested_map);
  nf4.nested_offset.copy_from({&offset, 1});
}

template <Device D>
void read_int8(const TensorFiles& files, const std::string& module, const QuantisedWeight<D>& out) {
  const std::string name = module + ".weight", format = module + ".weight_format";
  check(files.shape(name) == out.shape(), "[{}] tensor '{}' has shape {}; {} was expected", files.origin(name), name,
        files.shape(name), out.shape());
  if (files.contains(format))
    for (const std::byte byte : files.bytes(format))
      check(byte == std::byte{0}, "[{}] tensor '{}': only format 0 (row-major) is supported", files.origin(format),
            format);
  files.check_finite(module + ".SCB");
  read_exactly(files, name, out.int8()->codes);
  read_exactly(files, module + ".SCB", out.int8()->absmax);
}

/// What a file holds of a module's weight.
enum class StoredForm { dense, nf4, int8 };

inline StoredForm stored_form(const TensorFiles& files, const std::string& module) {
  if (files.contains(module + std::string(nf4_state_name))) return StoredForm::nf4;
  if (files.contains(module + ".SCB")) return StoredForm::int8;
  const std::string name = module + ".weight";
  const bool packed = files.contains(name) && files.dtype(name) == DType::u8;
  check(!packed, "[{}] tensor '{}' is quantised in a form hone does not read: nf4 and int8 of bitsandbytes are",
        packed ? files.origin(name) : "", name);
  return StoredForm::dense;
}

/// Reads elements of a dense tensor of a file as float.
template <class F>
void with_dense_reader(const TensorFiles& files, const std::string& name, F&& use) {
  const DType type = files.dtype(name);
  const auto source = files.bytes(name);
  const auto element = static_cast<std::size_t>(size_of(type));
  const std::string what = fmt::format("[{}] tensor '{}'", files.origin(name), name);
  const auto read = [&](std::int64_t begin, std::int64_t count, float* out) {
    convert_elements(
        source.subspan(static_cast<std::size_t>(begin) * element, static_cast<std::size_t>(count) * element), type, out,
        count, what);
  };
  use(ElementReader(read), what);
}

}  // namespace detail

/// The names under which a file may hold the weight of `module`.
inline std::vector<std::string> quantised_names(const std::string& module) {
  std::vector<std::string> out;
  for (const std::string_view suffix :
       {std::string_view(".weight"), std::string_view(".weight.absmax"), std::string_view(".weight.quant_map"),
        std::string_view(".weight.nested_absmax"), std::string_view(".weight.nested_quant_map"), detail::nf4_state_name,
        std::string_view(".SCB"), std::string_view(".weight_format")})
    out.push_back(fmt::format("{}{}", module, suffix));
  return out;
}

/// Reads the weight of `module`: as it is where the file has it in this form, quantised on the way where it is dense.
/// A missing tensor, another shape and values that are not finite are Errors that name file and tensor.
template <Device D>
void read_quantised(const TensorFiles& files, const std::string& module, const QuantisedWeight<D>& out) {
  const std::string name = module + ".weight";
  check(files.contains(name), "[{}] has no tensor '{}', shape {}", files.path().string(), name, out.shape());
  const detail::StoredForm form = detail::stored_form(files, module);
  if (form == detail::StoredForm::dense) {
    check(files.shape(name) == out.shape(), "[{}] tensor '{}' has shape {}; {} was expected", files.origin(name), name,
          files.shape(name), out.shape());
    detail::with_dense_reader(files, name,
                              [&](ElementReader read, const std::string& what) { quantise(read, out, what); });
    return files.release(files.shard_of(name));  // the dense pages would add up to the whole shard
  }
  const bool wanted_int8 = out.type() == QuantType::int8;
  check((form == detail::StoredForm::int8) == wanted_int8, "[{}] tensor '{}' is stored as {}, {} was expected",
        files.origin(name), name, form == detail::StoredForm::int8 ? "int8" : "nf4", name_of(out.type()));
  if constexpr (!std::is_same_v<D, Meta>)
    wanted_int8 ? detail::read_int8(files, module, out) : detail::read_nf4(files, module, out);
}

namespace detail {

template <class T, Device D>
TensorSource device_source(std::string name, const Shape& shape, const Tensor<T, D>& tensor) {
  return {{std::move(name), dtype_of<T>, shape}, [tensor](TensorSink& sink) {
            const auto all = tensor.viewed_as({tensor.elements()});
            std::vector<T> staging;
            for (std::int64_t begin = 0; begin < all.elements(); begin += staging_elements) {
              const std::int64_t count = std::min(staging_elements, all.elements() - begin);
              staging.resize(static_cast<std::size_t>(count));
              copy_to_host(all.device(), staging.data(), all.rows(begin, count).data(), staging.size() * sizeof(T));
              sink.write(std::as_bytes(std::span(staging)));
            }
          }};
}

template <class T>
TensorSource host_source(std::string name, const Shape& shape, std::vector<T> values) {
  return {{std::move(name), dtype_of<T>, shape},
          [values = std::move(values)](TensorSink& sink) { sink.write(std::as_bytes(std::span(values))); }};
}

/// The bytes of quant_state. `dtype` is what bitsandbytes makes of the codes again.
template <Device D>
std::vector<std::uint8_t> nf4_state(const QuantisedWeight<D>& weight, DType dtype) {
  nlohmann::json state = {{"quant_type", "nf4"},
                          {"blocksize", nf4_block},
                          {"dtype", name_of(dtype)},
                          {"shape", {weight.shape()[0], weight.shape()[1]}}};
  if (weight.nf4()->nested()) {
    state["nested_blocksize"] = nested_block;
    state["nested_dtype"] = "float32";
    state["nested_offset"] = static_cast<double>(weight.nf4()->nested_offset.item());
  }
  const std::string text = state.dump();
  return {text.begin(), text.end()};
}

}  // namespace detail

/// Adds the tensors of one quantised weight to those of a file. `dtype` is the element type of the model around it.
template <Device D>
void add_quantised(const std::string& module, const QuantisedWeight<D>& weight, DType dtype,
                   std::vector<TensorSource>& out) {
  const auto named = [&](std::string_view suffix) { return fmt::format("{}{}", module, suffix); };
  if (const auto* int8 = weight.int8()) {
    out.push_back(detail::device_source(named(".weight"), weight.shape(), int8->codes));
    out.push_back(detail::device_source(named(".SCB"), int8->absmax.shape(), int8->absmax));
    out.push_back(detail::host_source<std::uint8_t>(named(".weight_format"), {}, {0}));
    return;
  }
  const auto& nf4 = *weight.nf4();
  out.push_back(detail::device_source(named(".weight"), {nf4.codes.elements(), 1}, nf4.codes));
  out.push_back(detail::host_source<float>(named(".weight.quant_map"), {16}, {nf4_table.begin(), nf4_table.end()}));
  if (nf4.nested()) {
    out.push_back(detail::device_source(named(".weight.absmax"), nf4.absmax_codes.shape(), nf4.absmax_codes));
    out.push_back(detail::device_source(named(".weight.nested_absmax"), nf4.nested_absmax.shape(), nf4.nested_absmax));
    out.push_back(detail::device_source(named(".weight.nested_quant_map"), nf4.nested_map.shape(), nf4.nested_map));
  } else {
    out.push_back(detail::device_source(named(".weight.absmax"), nf4.absmax.shape(), nf4.absmax));
  }
  auto state = detail::nf4_state(weight, dtype);
  const Shape length{static_cast<std::int64_t>(state.size())};
  out.push_back(detail::host_source(named(detail::nf4_state_name), length, std::move(state)));
}

}  // namespace hone
