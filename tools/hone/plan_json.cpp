#include "plan_json.hpp"

#include <hone/io/utf8.hpp>

namespace hone::cli {
namespace {

constexpr std::size_t buffers_shown = 10;

nlohmann::json bytes_by_category(const CategoryBytes& bytes) {
  auto out = nlohmann::json::object();
  for (const Category category : all_categories)
    if (category != Category::host) out[std::string(name_of(category))] = bytes[index_of(category)];
  return out;
}

nlohmann::json phases_json(const Plan& plan) {
  auto out = nlohmann::json::object();
  for (const Phase* phase : shown_phases(plan))
    out[phase->name] = {{"peak_bytes", phase->peak_bytes},
                        {"categories", bytes_by_category(phase->at_peak)},
                        {"highest", bytes_by_category(phase->highest)}};
  return out;
}

nlohmann::json target_json(const Target& target) {
  nlohmann::json out = {{"device", name_of(target.kind)}, {"alignment", target.alignment}};
  if (target.kind == DeviceKind::cpu) {
    out["threads"] = target.threads;
    out["isa"] = name_of(target.isa);
  } else {
    out["sm"] = target.sm;
    out["gemm_workspace"] = target.gemm_workspace;
  }
  return out;
}

nlohmann::json settings_json(const PlanConfig& config) {
  auto out = nlohmann::json::object();
  for (const RunSetting& setting : run_settings(config))
    out[std::string(setting.key)] = std::visit([](const auto& value) { return nlohmann::json(value); }, setting.value);
  return out;
}

}  // namespace

nlohmann::json to_json(const Plan& plan, const PlanConfig& config, const std::string& model_name, const Target& target,
                       const std::optional<Driver>& driver) {
  const Phase& peak = peak_phase(plan);
  const LargestBuffers named = largest_buffers(peak, buffers_shown);
  auto buffers = nlohmann::json::array();
  for (const Buffer& buffer : named.largest)
    buffers.push_back({{"category", name_of(buffer.category)}, {"name", buffer.name}, {"bytes", buffer.bytes}});
  const bool utf8 = valid_utf8_prefix(model_name) == model_name.size();
  nlohmann::json out = {
      {"model", utf8 ? model_name : printable(model_name)},  // a path may hold any bytes, JSON may not
      {"parameters", plan.parameters},
      {"adapter_parameters", plan.adapter_parameters},
      {"trainable_parameters", plan.trainable_parameters},
      {"peak_bytes", plan.peak_bytes},
      {"peak_phase", peak.name},
      {"categories", bytes_by_category(peak.at_peak)},
      {"highest", bytes_by_category(plan.highest)},
      {"host_bytes", plan.highest[index_of(Category::host)]},
      {"phases", phases_json(plan)},
      {"buffers", std::move(buffers)},
      {"other_buffers", {{"count", named.others}, {"bytes", named.other_bytes}}},
      {"reserved_bytes", plan.reserved_bytes()},
      {"packing_overhead", packing_overhead(plan)},
      {"flops_per_step", plan.step.flops},
      {"bytes_moved_per_step", plan.step.bytes_read + plan.step.bytes_written},
      {"bytes_read_per_step", plan.step.bytes_read},
      {"bytes_written_per_step", plan.step.bytes_written},
      {"kernels_per_step", plan.step.kernels},
      {"offload_copies_per_step", plan.step.copies},
      {"offload_bytes_per_step", plan.step.bytes_copied},
      {"target", target_json(target)},
      {"settings", settings_json(config)},
      {"graphs", nullptr},
      {"driver", nullptr}};
  if (plan.graphs.count > 0)
    out["graphs"] = {{"bytes", plan.graphs.bytes()},
                     {"count", plan.graphs.count},
                     {"nodes", plan.graphs.nodes},
                     {"words", "assumed, not measured: what CUDA keeps for executable graphs"}};
  if (driver) out["driver"] = {{"bytes", driver->bytes}, {"words", driver->words}};
  return out;
}

}  // namespace hone::cli
