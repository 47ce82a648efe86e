// A model's folder to the same model with quantised linears, without the model: its tensors go from file to file.
#pragma once

#include <hone/models/llama_folder.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace hone {

/// What became of a folder.
struct QuantisedFolder {
  QuantisedShare linears;        ///< what was quantised
  std::int64_t dense_bytes = 0;  ///< everything else, as it was
  std::int64_t parameters = 0;   ///< of the whole model
  double bits() const {
    return 8.0 * static_cast<double>(linears.bytes + dense_bytes) / static_cast<double>(parameters);
  }
};

namespace detail {

/// The bytes of a file's tensor as they are.
inline TensorSource copied_source(const TensorFiles& files, const std::string& name) {
  return {{name, files.dtype(name), files.shape(name)}, [&files, name](TensorSink& sink) {
            constexpr std::size_t piece = std::size_t{16} << 20;
            const auto all = files.bytes(name);
            for (std::size_t begin = 0; begin < all.size(); begin += piece)
              sink.write(all.subspan(begin, std::min(piece, all.size() - begin)));
            files.release(files.shard_of(name));
          }};
}

/// The names of `files` that the model of `config` has a place for, each once.
class PlacedNames {
 public:
  bool add(const std::string& name) { return names_.insert(name).second; }
  void check_all(const TensorFiles& files, bool tied) const {
    for (const std::string& name : files.names())
      check(names_.contains(name) || is_derived(name, tied), "[{}] tensor '{}' has no place in this model",
            files.origin(name), name);
  }

 private:
  std::set<std::string> names_;
};

}  // namespace detail

/// Writes the model of folder `from` to folder `to` with its linears stored as `how` says, in bitsandbytes' form, which
/// transformers loads. Everything else keeps its element type. The host holds the quantised weights and no dense one.
/// Throws an Error where the model is quantised already, and where a weight is not finite.
inline QuantisedFolder quantise_folder(const std::filesystem::path& from, const std::filesystem::path& to,
                                       const Quantisation& how, const Cpu& device = {},
                                       const SaveOptions& options = {}) {
  auto config = read_llama_config(from / "config.json");
  check(!config.quantization, "[{}] is quantised already", from.string());
  config.quantization = how;
  const TensorFiles files(from);
  Llama<bf16, Meta> layout(config, Meta{});
  QuantisedFolder out;
  std::vector<TensorSource> sources;
  detail::PlacedNames placed;
  layout.visit([&](const std::string& name, const auto& weight) {
    detail::read_tensor(files, name, weight);  // on Meta: its name and shape are checked
    if (!placed.add(name)) return;
    sources.push_back(detail::copied_source(files, name));
    out.dense_bytes += sources.back().declaration.bytes();
    out.parameters += weight.elements();
  });
  visit_quantised(layout, [&](const std::string& module, const auto& weight) {
    const QuantisedWeight<Cpu> stored(device, weight.shape(), how, module);
    read_quantised(files, module, stored);
    placed.add(module + ".weight");
    out.linears.add(stored);
    add_quantised(module, stored, files.dtype(module + ".weight"), sources);
  });
  out.parameters += out.linears.elements;
  placed.check_all(files, config.tie_word_embeddings);
  check_replaceable(to);
  AtomicFolder target(to);
  write_file(target.path() / "config.json", llama_config_to_json(config).dump(2) + "\n");
  write_weights(sources, target.path(), options);
  copy_companions(from, target.path());
  target.commit();
  return out;
}

}  // namespace hone
