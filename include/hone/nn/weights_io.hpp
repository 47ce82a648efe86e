// Weights of a model to and from Hugging Face folders, by name.
#pragma once

#include <hone/io/safetensors_writer.hpp>
#include <hone/io/tensor_files.hpp>
#include <hone/nn/linear.hpp>
#include <hone/nn/parameter.hpp>
#include <hone/nn/quantised_io.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

namespace detail {

/// Reads a tensor of a file into a device's memory, piece by piece: the host never holds it whole.
template <class T, Device D>
void read_staged(const TensorFiles& files, const std::string& name, const Tensor<T, D>& out) {
  const auto source = files.bytes(name);
  const DType type = files.dtype(name);
  const auto element = static_cast<std::size_t>(size_of(type));
  const std::string what = fmt::format("[{}] tensor '{}'", files.origin(name), name);
  const auto all = out.viewed_as({out.elements()});
  std::vector<T> staging(static_cast<std::size_t>(std::min(staging_elements, all.elements())));
  for (std::int64_t begin = 0; begin < all.elements(); begin += staging_elements) {
    const std::int64_t count = std::min(staging_elements, all.elements() - begin);
    const auto piece =
        source.subspan(static_cast<std::size_t>(begin) * element, static_cast<std::size_t>(count) * element);
    convert_elements(piece, type, staging.data(), count, what);
    all.rows(begin, count).copy_from(std::span<const T>(staging.data(), static_cast<std::size_t>(count)));
  }
}

/// Hands a device's tensor to `sink` in the same way.
template <class T, Device D>
void write_staged(const Tensor<T, D>& tensor, TensorSink& sink) {
  const auto all = tensor.viewed_as({tensor.elements()});
  std::vector<T> staging(static_cast<std::size_t>(std::min(staging_elements, all.elements())));
  for (std::int64_t begin = 0; begin < all.elements(); begin += staging_elements) {
    const std::int64_t count = std::min(staging_elements, all.elements() - begin);
    copy_to_host(all.device(), staging.data(), all.rows(begin, count).data(),
                 static_cast<std::size_t>(count) * sizeof(T));
    sink.write(staging.data(), count);
  }
}

/// Throws unless the file has the tensor, in this shape.
inline void check_shape(const TensorFiles& files, const std::string& name, const Shape& shape) {
  check(files.contains(name), "[{}] has no tensor '{}', shape {}", files.path().string(), name, shape);
  check(files.shape(name) == shape, "[{}] tensor '{}' has shape {}; {} was expected", files.origin(name), name,
        files.shape(name), shape);
}

/// Reads one tensor of a file into memory of the same shape; on Meta only the shape is checked.
template <class T, Device D>
void read_tensor(const TensorFiles& files, const std::string& name, const Tensor<T, D>& out) {
  check_shape(files, name, out.shape());
  if (out.data() == nullptr) return;
  if constexpr (Copying<D>)
    read_staged(files, name, out);
  else
    files.read_into(name, out.flat().data, out.elements());
}

/// Reads a weight that the file has quantised into a dense tensor: codes and scales go through the host.
template <class T, Device D>
void read_dequantised(const TensorFiles& files, const std::string& module, const Tensor<T, D>& out) {
  check(out.rank() == 2, "[{}] tensor '{}.weight' is quantised, shape {} was expected",
        files.origin(module + ".weight"), module, out.shape());
  if (out.data() == nullptr) return;
  const bool int8 = stored_form(files, module) == StoredForm::int8;
  const Quantisation how{.type = int8 ? QuantType::int8 : QuantType::nf4,
                         .double_quant = files.contains(module + ".weight.nested_absmax")};
  const Cpu host = host_of(out.device());
  const QuantisedWeight<Cpu> weight(host, out.shape(), how, "staging");
  read_quantised(files, module, weight);
  if constexpr (std::is_same_v<D, Cpu>) return dequantise(weight, out);
  const auto dense = Tensor<T, Cpu>::empty(host, out.shape(), {Category::host, "staging"});
  dequantise(weight, dense);
  out.copy_from({dense.data(), static_cast<std::size_t>(dense.elements())});
}

/// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight"; empty for other names.
inline std::string module_of_weight(const std::string& name) {
  constexpr std::string_view suffix = ".weight";
  return name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : std::string();
}

/// Tensors that files carry although a model derives them: rotary tables of old checkpoints, and the head where it is
/// tied.
inline bool is_derived(const std::string& name, bool tied) {
  return name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight");
}

}  // namespace detail

/// Reads every weight of `model` from `files`, shard by shard, giving each shard's pages back when it is done. Linears
/// that are stored quantised are quantised on the way, and a file's quantised weights become dense where the model's
/// are. A missing tensor, one of another shape and one the model has no place for are Errors that name it.
template <class Model>
void read_weights(Model& model, const TensorFiles& files, bool tied) {
  std::set<std::string> used;
  std::size_t shard = 0;
  const auto read_shard = [&](const std::string& name, auto& weight) {
    if (files.contains(name) && files.shard_of(name) != shard) return;
    if (!used.insert(name).second) return;
    const std::string module = detail::module_of_weight(name);
    if (module.empty() || detail::stored_form(files, module) == detail::StoredForm::dense)
      return detail::read_tensor(files, name, weight);
    for (std::string& one : quantised_names(module)) used.insert(std::move(one));
    detail::read_dequantised(files, module, weight);
  };
  const auto quantise_shard = [&](const std::string& module, const auto& weight) {
    if (files.contains(module + ".weight") && files.shard_of(module + ".weight") != shard) return;
    if (!used.insert(module + ".weight").second) return;
    for (std::string& one : quantised_names(module)) used.insert(std::move(one));
    read_quantised(files, module, weight);
  };
  for (shard = 0; shard < files.shard_count(); ++shard) {
    model.visit(read_shard);
    visit_quantised(model, quantise_shard);
    files.release(shard);
  }
  for (const std::string& name : files.names())
    check(used.contains(name) || detail::is_derived(name, tied), "[{}] tensor '{}' has no place in this model",
          files.origin(name), name);
}

/// A tensor under its name, to be written: a weight, or codes of 8 bits.
template <Device D>
struct NamedTensor {
  std::string name;
  std::variant<Tensor<float, D>, Tensor<bf16, D>, Tensor<double, D>, Tensor<std::uint8_t, D>> value;

  DType dtype() const {
    return std::visit([](const auto& tensor) { return dtype_of<typename std::decay_t<decltype(tensor)>::Element>; },
                      value);
  }
  const Shape& shape() const {
    return std::visit([](const auto& tensor) -> const Shape& { return tensor.shape(); }, value);
  }
};
/// Any number of them, of one device.
template <Device D>
using NamedTensors = std::vector<NamedTensor<D>>;

/// The same as sources of a file's tensors, each in its own element type.
template <Device D>
std::vector<TensorSource> sources_of(const NamedTensors<D>& tensors) {
  std::vector<TensorSource> out;
  for (const auto& tensor : tensors)
    out.push_back({{tensor.name, tensor.dtype(), tensor.shape()}, [value = tensor.value](TensorSink& sink) {
                     std::visit(
                         [&](const auto& one) {
                           if constexpr (Copying<D>)
                             detail::write_staged(one, sink);
                           else
                             sink.write(one.flat().data, one.elements());
                         },
                         value);
                   }});
  return out;
}

/// Writes tensors as safetensors into `folder`, in one file or in shards.
inline void write_weights(const std::vector<TensorSource>& sources, const std::filesystem::path& folder,
                          const SaveOptions& options = {}) {
  std::vector<TensorDeclaration> declarations;
  std::map<std::string, const TensorSource*> by_name;
  for (const auto& source : sources) {
    declarations.push_back(source.declaration);
    by_name[source.declaration.name] = &source;
  }
  save_tensors(
      folder, declarations,
      [&](const TensorDeclaration& declaration, TensorSink& sink) { by_name.at(declaration.name)->write(sink); },
      options);
}
template <Device D>
void write_weights(const NamedTensors<D>& tensors, const std::filesystem::path& folder,
                   const SaveOptions& options = {}) {
  write_weights(sources_of(tensors), folder, options);
}

/// The dense base weights of a model under their names.
template <class Model>
NamedTensors<typename Model::DeviceType> base_weights(Model& model) {
  NamedTensors<typename Model::DeviceType> out;
  model.visit([&](const std::string& name, auto& weight) { out.push_back({name, weight.detached()}); });
  return out;
}

/// All base weights of a model, quantised ones in bitsandbytes' form.
template <class Model>
std::vector<TensorSource> base_sources(Model& model) {
  auto out = sources_of(base_weights(model));
  visit_quantised(model, [&](const std::string& module, const auto& weight) {
    add_quantised(module, weight, dtype_of<typename Model::Element>, out);
  });
  return out;
}

}  // namespace hone
