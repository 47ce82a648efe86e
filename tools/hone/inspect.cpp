#include "commands.hpp"

#include <hone/core/human.hpp>
#include <hone/io/adapter_files.hpp>
#include <hone/io/tensor_files.hpp>
#include <hone/io/utf8.hpp>
#include <hone/models/llama.hpp>
#include <hone/models/llama_config_file.hpp>
#include <hone/peft/adapter_notes.hpp>

#include <cstdio>
#include <filesystem>

namespace hone::cli {
namespace {

struct InspectFlags {
  std::string path;
  bool json = false;
};

nlohmann::json tensors_json(const TensorFiles& files) {
  nlohmann::json tensors = nlohmann::json::array();
  std::int64_t elements = 0, bytes = 0;
  for (const std::string& name : files.names()) {
    const TensorEntry& entry = files.entry(name);  // also of types and ranks hone does not compute with
    tensors.push_back({{"name", name}, {"dtype", entry.type->name}, {"shape", entry.extents}});
    std::int64_t count = 1;
    for (const std::int64_t extent : entry.extents) count = checked_mul(count, extent, name);
    elements = checked_add(elements, count, name);
    bytes = checked_add(bytes, static_cast<std::int64_t>(files.bytes(name).size()), name);
  }
  return {{"tensors", tensors}, {"parameters", elements}, {"bytes", bytes}, {"files", files.shard_count()}};
}

/// What is quantised, and in how many bits.
nlohmann::json quantisation_json(const Quantisation& how, const LlamaConfig& config) {
  Llama<bf16, Meta> layout(config, Meta{});
  QuantisedShare share;
  visit_quantised(layout, [&](const std::string&, const auto& weight) { share.add(weight); });
  nlohmann::json out = {{"quant_type", name_of(how.type)},
                        {"parameters", share.elements},
                        {"bytes", share.bytes},
                        {"bits_per_parameter", share.elements > 0 ? share.bits() : 0.0}};
  if (how.type == QuantType::nf4) out["double_quant"] = how.double_quant;
  if (!how.skip_modules.empty()) out["skip_modules"] = how.skip_modules;
  return out;
}

nlohmann::json model_json(const std::filesystem::path& folder) {
  const auto config = read_llama_config(folder / "config.json");
  nlohmann::json out = {{"kind", "model"},
                        {"model_type", config.model_type},
                        {"hidden_size", config.hidden_size},
                        {"intermediate_size", config.intermediate_size},
                        {"num_hidden_layers", config.num_hidden_layers},
                        {"num_attention_heads", config.num_attention_heads},
                        {"num_key_value_heads", config.num_key_value_heads},
                        {"head_dim", config.head_dim},
                        {"vocab_size", config.vocab_size},
                        {"max_position_embeddings", config.max_position_embeddings},
                        {"tie_word_embeddings", config.tie_word_embeddings},
                        {"parameters", parameter_count(config)},
                        {"kv_cache_bytes_per_token_bf16",
                         2 * 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim}};
  if (config.sliding_window) out["sliding_window"] = *config.sliding_window;
  if (config.quantization) out["quantization"] = quantisation_json(*config.quantization, config);
  if (std::filesystem::exists(folder / "model.safetensors") ||
      std::filesystem::exists(folder / "model.safetensors.index.json"))
    out["weights"] = tensors_json(TensorFiles(folder));
  out["tokenizer"] = std::filesystem::exists(folder / "tokenizer.json");
  return out;
}

void add_base_hash(nlohmann::json& out, const std::filesystem::path& folder) {
  if (const auto base = read_base_hash(folder))
    out["base_hash"] = {{"projections", base->projections}, {"others", base->others}, {"quantised", base->quantised}};
}

/// An adapter of another method than LoRA: its config as it stands.
nlohmann::json method_json(const nlohmann::json& config, const std::filesystem::path& folder) {
  nlohmann::json out = {{"kind", "adapter"}};
  out.update(config);
  add_base_hash(out, folder);
  out["weights"] = tensors_json(TensorFiles(folder, config.contains("peft_type") ? "adapter_model" : "adapter"));
  return out;
}

nlohmann::json adapter_json(const std::filesystem::path& folder) {
  const auto raw = read_json_file(folder / "adapter_config.json");
  if (raw.is_object() && raw.value("peft_type", nlohmann::json("adapters")) != "LORA") return method_json(raw, folder);
  const auto config = read_adapter_config(folder);
  nlohmann::json out = {{"kind", "adapter"},
                        {"peft_type", config.peft_type},
                        {"r", config.r},
                        {"lora_alpha", config.lora_alpha},
                        {"lora_dropout", config.lora_dropout},
                        {"target_modules", config.target_pattern ? nlohmann::json(*config.target_pattern)
                                                                 : nlohmann::json(config.target_modules)}};
  if (config.base_model_name_or_path) out["base_model_name_or_path"] = *config.base_model_name_or_path;
  const auto unknown = hone::detail::unknown_keys(config.other, nlohmann::json::object());
  if (!unknown.names.empty()) out["unknown_keys"] = unknown.keys;
  add_base_hash(out, folder);
  out["weights"] = tensors_json(TensorFiles(folder, "adapter_model"));
  return out;
}

nlohmann::json describe(const std::filesystem::path& path) {
  check(std::filesystem::exists(path), "[{}] does not exist", path.string());
  if (std::filesystem::is_directory(path))
    return std::filesystem::exists(path / "adapter_config.json") ? adapter_json(path) : model_json(path);
  return {{"kind", "weights"}, {"weights", tensors_json(TensorFiles(path))}};
}

/// Text of a file with nothing in it that a terminal obeys, in full length.
std::string shown(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) out += hone::detail::shown_character(text, at);
  return out;
}

void print(const nlohmann::json& description) {
  for (const auto& [key, value] : description.items()) {
    if (key == "weights") continue;
    std::printf("%-30s %s\n", shown(key).c_str(),
                shown(value.is_string() ? value.get<std::string>() : value.dump()).c_str());
  }
  if (!description.contains("weights")) return;
  const auto& weights = description["weights"];
  for (const auto& tensor : weights["tensors"])
    std::printf("  %-60s %-9s %s\n", shown(tensor["name"].get<std::string>()).c_str(),
                tensor["dtype"].get<std::string>().c_str(), tensor["shape"].dump().c_str());
  std::printf("%zu tensors, %s parameters, %s\n", weights["tensors"].size(),
              with_commas(weights["parameters"].get<std::int64_t>()).c_str(),
              human_bytes(weights["bytes"].get<std::int64_t>()).c_str());
}

int inspect(const InspectFlags& flags) {
  check(!flags.path.empty(), "inspect needs a path: a model folder, an adapter folder or a .safetensors file");
  const auto description = describe(flags.path);
  if (flags.json)
    std::printf("%s\n", description.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  else
    print(description);
  return 0;
}

}  // namespace

Command add_inspect(CLI::App& app) {
  auto* command = app.add_subcommand("inspect", "what is in a model folder, an adapter folder or a weights file");
  auto flags = std::make_shared<InspectFlags>();
  command->add_option("path,--model", flags->path, "folder or file");
  command->add_flag("--json", flags->json, "print one JSON object");
  return {command, [flags] { return inspect(*flags); }};
}

}  // namespace hone::cli
