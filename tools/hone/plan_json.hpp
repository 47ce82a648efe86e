// A plan for programs.
#pragma once

#include <hone/io/json.hpp>
#include <hone/plan/plan_words.hpp>

#include <optional>
#include <string>

namespace hone::cli {

/// One object. Bytes are integers, after rounding to the target's alignment; the members of "categories" sum
/// to the "peak_bytes" they stand beside.
///   model, parameters (the base, tied weights once), adapter_parameters, trainable_parameters
///   peak_bytes, peak_phase, categories   of the training run, at its peak
///   highest                              each category's own highest in it, whenever that is
///   host_bytes                           beside the device
///   phases        {load, train, evaluate, save, generate: {peak_bytes, categories, highest}}; generate is a run apart
///   buffers       the ten largest at that peak, as the text shows them, {category, name, bytes}; other_buffers {count,
///   bytes}: the rest reserved_bytes                       all slabs; packing_overhead: of the temporaries' slab over
///   its live peak flops_per_step, kernels_per_step, bytes_moved_per_step = bytes_read_per_step +
///   bytes_written_per_step target        {device, alignment, threads, isa} or {device, alignment, sm, gemm_workspace}
///   settings      the run's, by the canonical keys of training
///   graphs        {bytes, count, launches, words} of what CUDA keeps for graphs, or null where there is no card
///   driver        {bytes, words}, or null where nothing is taken beside the run
nlohmann::json to_json(const Plan& plan, const PlanConfig& config, const std::string& model_name, const Target& target,
                       const std::optional<Driver>& driver);

}  // namespace hone::cli
