#include "compare.hpp"
#include "compare_rows.hpp"
#include "stop_signal.hpp"

#include <hone/core/error.hpp>
#include <hone/io/atomic_file.hpp>
#include <hone/io/hash.hpp>
#include <hone/io/json.hpp>
#include <hone/models/quantise_folder.hpp>
#include <hone/train/fingerprint.hpp>
#include <hone/train/run_layout.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>

namespace hone::cli {
namespace {

namespace fs = std::filesystem;

/// A contender's folder: its name, with the code of every character that a path could stumble over. Different names
/// stay different.
std::string folder_name(const Contender& contender) {
  std::string out;
  for (const char c : contender.name)
    out += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.'
               ? std::string(1, c)
               : fmt::format("%{:02x}", static_cast<unsigned char>(c));
  return out;
}

/// What all share with a contender's own keys on top; an unknown key is an Error.
TrainFlags flags_of(const CompareFlags& shared, const Contender& contender) {
  TrainFlags out = shared.train;
  if (contender.trains()) out.config.method = contender.method;
  CLI::App app;
  add_train_flags(app, out);
  std::vector<std::string> arguments;
  for (const auto& [key, value] : contender.keys) {
    if (key == "shots" && contender.method == "few_shot") continue;
    check(app.get_option_no_throw("--" + key) != nullptr,
          "contenders: '{}' has a key '{}' that hone train does not know", contender.name, key);
    arguments.push_back(fmt::format("--{}={}", key, value));
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    fail("contenders: '{}': {}", contender.name, error.what());
  }
  settle(out);
  return out;
}

/// Rows shown before each prompt: 4 unless few_shot says otherwise.
std::int64_t shots_of(const Contender& contender) {
  if (contender.method != "few_shot") return 0;
  std::int64_t shots = 4;
  for (const auto& [key, value] : contender.keys) {
    if (key != "shots") continue;
    const auto end = value.data() + value.size();
    check(std::from_chars(value.data(), end, shots).ptr == end && shots >= 1 && shots <= 4096,
          "contenders: '{}': shots must lie between 1 and 4096", contender.name);
  }
  return shots;
}

double size_of_weights(const fs::path& folder) {
  double bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") bytes += static_cast<double>(entry.file_size());
  return bytes;
}

/// What has been measured before with the same settings, if anything.
std::optional<Measurements> measured_before(const fs::path& file, const std::string& settings) {
  if (!fs::exists(file)) return std::nullopt;
  const auto json = read_json_file(file);
  if (get_string(json, "settings", file.string()) != settings) return std::nullopt;
  Measurements out;
  for (const auto& [key, value] : get_object(json, "measured", file.string()).items())
    if (!value.is_null()) out[key] = json_double(value, key, file.string());  // null: what was measured is no number
  return out;
}

class Comparison {
 public:
  Comparison(const CompareFlags& flags, const std::string& settings)
      : flags_(flags),
        settings_(settings),
        output_(flags.train.config.output_dir),
        files_(split_rows(flags.train.config, output_.string())),
        yardstick_(flags, files_) {
    settings_ += fmt::format("contents={}\n", hash_of_files());
  }

  Compared measure(const Contender& contender) {
    Compared out{contender, {}, {}};
    const std::int64_t seeds = contender.method == "base" ? 1 : flags_.seeds;  // nothing there that one could change
    try {
      for (std::int64_t i = 0; i < seeds && !stop_on_signals(); ++i)
        out.seeds.push_back(measure(contender, flags_.train.config.seed + static_cast<std::uint64_t>(i)));
    } catch (const std::exception& error) {
      out.error = error.what();
      std::fprintf(stderr, "%s: %s\n", contender.name.c_str(), printable_message(out.error).c_str());
    }
    return out;
  }

 private:
  /// Of the base and of all that models are trained and scored on: paths may name other contents the next time.
  std::string hash_of_files() const {
    Hash hash;
    hash.add(base_fingerprint(flags_.train.config)).add(read_file(files_.train)).add(read_file(files_.valid));
    if (!flags_.general_text.empty()) hash.add(read_file(flags_.general_text));
    return hash.hex();
  }

  Measurements measure(const Contender& contender, std::uint64_t seed) {
    const fs::path folder = output_ / folder_name(contender) / fmt::format("seed-{}", seed);
    const fs::path file = folder / "measured.json";
    const std::string settings = fmt::format("{}\n{}", contender.name, settings_);
    if (const auto known = measured_before(file, settings)) return *known;
    fs::create_directories(folder);
    std::fprintf(stderr, "measuring %s, seed %llu\n", contender.name.c_str(), static_cast<unsigned long long>(seed));
    const Measurements out = contender.trains() ? trained(contender, seed, folder) : untrained(contender, seed);
    write_file(file, nlohmann::json({{"settings", settings}, {"measured", out}}).dump(2) + "\n");
    return out;
  }

  Measurements untrained(const Contender& contender, std::uint64_t seed) {
    const TrainFlags run = settled_run(contender);
    const std::int64_t shots = shots_of(contender);
    const auto model = engine_of(run)->load(run.config.model, {});
    Measurements out = yardstick_.score(*model, shots, seed);
    out["trainable"] = 0;
    out["file_bytes"] = 0;
    if (flags_.latency_tokens > 0) out["latency_ms"] = yardstick_.latencies({model.get()}, shots, seed).front();
    return out;
  }

  Measurements trained(const Contender& contender, std::uint64_t seed, const fs::path& folder) {
    TrainFlags run = settled_run(contender);
    run.config.seed = seed;
    run.config.output_dir = folder.string();
    run.config.resume = run.config.overwrite_output_dir ? "false" : "true";
    const auto engine = engine_of(run);
    const TrainSummary summary =
        engine->train(run.config, policy_named(run.config.dtype), Console::quiet(), stop_on_signals());
    check(!summary.interrupted, "interrupted; the same command goes on from here");
    const fs::path best = fs::exists(folder / "best") ? folder / "best" : folder / "last";
    Measurements out = score_folder(*engine, run, best, folder / "merged", seed);
    out["trainable"] = static_cast<double>(summary.trainable);
    out["file_bytes"] = size_of_weights(best);
    out["planned_bytes"] = static_cast<double>(summary.planned_bytes);
    if (summary.step_seconds > 0) {  // else it had been trained before, and is only measured anew
      out["actual_bytes"] = static_cast<double>(summary.actual_bytes);
      out["tokens_per_second"] = static_cast<double>(summary.batch_tokens) / summary.step_seconds;
    }
    if (summary.best_seconds) out["seconds_to_best"] = *summary.best_seconds;
    return out;
  }

  /// Scores what a run has saved: a model of its own, or an adapter on the base.
  Measurements score_folder(const Engine& engine, const TrainFlags& run, const fs::path& best, const fs::path& merged,
                            std::uint64_t seed) {
    const bool adapter = fs::exists(best / "adapter_config.json");
    const auto model = adapter ? engine.load(run.config.model, best) : engine.load(best, {});
    Measurements out = yardstick_.score(*model, 0, seed);
    if (flags_.latency_tokens == 0) return out;
    const auto folded = adapter ? merged_model(engine, run, best, merged) : nullptr;
    std::vector<const Model*> models = {model.get()};
    if (folded) models.push_back(folded.get());
    const auto times = yardstick_.latencies(models, 0, seed);
    out["latency_ms"] = times.front();
    if (folded) out["merged_latency_ms"] = times.back();
    return out;
  }

  /// The adapter folded into the base, as a folder that is read again; null where algebra has no such thing.
  static std::unique_ptr<Model> merged_model(const Engine& engine, const TrainFlags& run, const fs::path& adapter,
                                             const fs::path& folder) {
    MergeRequest request{.base = run.config.model, .adapter = adapter, .output = folder, .options = {}, .text = {}};
    const bool quantised = read_llama_config(request.base / "config.json").quantization.has_value();
    request.options.onto = quantised ? MergeOnto::dequantised : MergeOnto::base;
    try {
      engine.merge(request);
    } catch (const Error& error) {
      std::fprintf(stderr, "not merged: %s\n", printable_message(error.what()).c_str());
      return nullptr;
    }
    auto out = engine.load(folder, {});
    fs::remove_all(folder);
    return out;
  }

  /// A contender's run on the rows of the comparison. A base that is to be quantised is a folder of its own, so that
  /// what is trained on and what is scored are the same bits.
  TrainFlags settled_run(const Contender& contender) const {
    TrainFlags run = flags_of(flags_, contender);
    run.config.data = files_.train;
    run.config.eval_data = files_.valid;
    const auto model = read_llama_config(fs::path(run.config.model) / "config.json");
    const auto how = with_quantisation(model, run.config).quantization;
    if (!how || model.quantization) return run;
    Hash hash;  // two contenders may quantise alike or not
    hash.add(base_fingerprint(run.config)).add(how->double_quant ? "double" : "single");
    for (const std::string& module : how->skip_modules) hash.add(module).add(";");
    const fs::path folder = output_ / fmt::format("base-{}-{}", name_of(how->type), hash.hex());
    if (!fs::exists(folder)) quantise_folder(run.config.model, folder, *how, Cpu({.threads = run.threads}));
    run.config.model = folder.string();
    run.config.load_in_4bit = run.config.load_in_8bit = false;
    return run;
  }

  static std::unique_ptr<Engine> engine_of(const TrainFlags& run) {
    return make_engine(run.device, run.config.dtype, {.threads = run.threads});
  }

  const CompareFlags& flags_;
  std::string settings_;
  fs::path output_;
  SplitRows files_;
  Yardstick yardstick_;
};

/// The columns that are differences from the base, for every seed that has both sides.
void add_gains(Compared& row, const Measurements& base) {
  const auto difference = [&](Measurements& of, const char* column, const char* from, double sign) {
    const auto here = of.find(from);
    const auto there = base.find(from);
    if (here != of.end() && there != base.end()) of[column] = sign * (here->second - there->second);
  };
  for (Measurements& seed : row.seeds) {
    difference(seed, "loss_gain", "validation_loss", -1);
    difference(seed, "bleu_gain", "bleu", 1);
    difference(seed, "forgetting", "general_loss", 1);
  }
}

}  // namespace

std::vector<Compared> compare_all(const CompareFlags& flags, const std::vector<Contender>& contenders,
                                  const std::string& settings) {
  for (const Contender& contender : contenders) {  // hours may lie before the last one's turn
    const TrainConfig config = flags_of(flags, contender).config;
    validate(config);
    check(config.stack_on.empty(), "contenders: '{}': what trains with stack_on cannot be scored on the base alone",
          contender.name);
    shots_of(contender);
  }
  Comparison comparison(flags, settings);
  std::vector<Compared> out;
  for (const Contender& contender : contenders) {
    if (stop_on_signals()) break;
    out.push_back(comparison.measure(contender));
    if (out.front().seeds.empty()) fail("the base could not be measured: {}", out.front().error);
    if (out.size() > 1) add_gains(out.back(), out.front().seeds.front());
  }
  return out;
}

}  // namespace hone::cli
