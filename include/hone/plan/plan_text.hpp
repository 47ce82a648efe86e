// A plan for a terminal: what is planned, memory by phase and category, what is alive at the peak, work of a step.
#pragma once

#include <hone/io/utf8.hpp>
#include <hone/plan/plan_words.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hone {

struct PlanTextOptions {
  std::string model_name = "model";
  bool utf8 = false;  ///< bars of block characters, for a terminal that shows them
  std::optional<Driver> driver = {};
  std::size_t buffers = 10;  ///< named at the run's peak
};

namespace detail {

inline constexpr std::size_t plan_text_width = 100;

/// `name` in at most `columns` bytes: its end, which tells more of a path.
inline std::string fitted(std::string_view name, std::size_t columns) {
  const auto end_of = [&](std::string_view text) {
    if (text.size() <= columns) return std::string(text);
    std::size_t begin = text.size() - columns + 3;
    while (begin < text.size() && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) ++begin;
    return "..." + std::string(text.substr(begin));
  };
  return end_of(printable(end_of(name)));  // what is escaped grows
}

/// A bar of `share` of `columns`; with block characters it ends at eighths of a column.
inline std::string bar(double share, std::size_t columns, bool utf8) {
  constexpr std::array<const char*, 8> eighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double length = std::clamp(share, 0.0, 1.0) * static_cast<double>(columns);
  std::string out;
  if (!utf8) return std::string(static_cast<std::size_t>(std::lround(length)), '#');
  const auto units = static_cast<std::size_t>(std::lround(length * 8));
  for (std::size_t i = 0; i < units / 8; ++i) out += "█";
  return out + eighths[units % 8];
}

/// Words in lines of the page's width, the first line behind `label`.
inline std::string wrapped(std::string_view label, std::string_view words) {
  constexpr std::size_t indent = 15;
  std::string out, line = fmt::format("  {:<{}}", label, indent - 2);
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t end = std::min(words.find(' ', at), words.size());
    const std::string word = fitted(words.substr(at, end - at), plan_text_width - indent);
    if (line.size() > indent && line.size() + 1 + word.size() > plan_text_width) {
      out += line + "\n";
      line = std::string(indent, ' ');
    }
    line += (line.size() > indent ? " " : "") + word;
    at = end + 1;
  }
  return out + line + "\n";
}

class PlanText {
 public:
  PlanText(const Plan& plan, const PlanConfig& config, const Target& target, const PlanTextOptions& options)
      : plan_(plan), config_(config), target_(target), options_(options) {
    for (const Phase* phase : shown_phases(plan)) full_bar_ = std::max(full_bar_, phase->peak_bytes);
  }

  std::string text() const { return header() + "\n" + phases() + "\n" + taken() + buffers() + work(); }

 private:
  std::string header() const {
    const std::string adapters =
        plan_.adapter_parameters == 0 ? "" : fmt::format(" + {} in adapters", with_commas(plan_.adapter_parameters));
    const std::string offloaded = offload_words(config_.step.offload, target_);
    return fitted(options_.model_name, plan_text_width) + "\n" +
           wrapped("parameters", with_commas(plan_.parameters) + adapters) + "  " +
           trainable_line(plan_.trainable_parameters, plan_.parameters + plan_.adapter_parameters) + "\n" +
           wrapped("method", method_words(config_.step)) + wrapped("dtype", dtype_words(config_.step.policy)) +
           wrapped("batch", batch_words(config_)) + wrapped("recompute", std::string(name_of(config_.step.recompute))) +
           (offloaded.empty() ? "" : wrapped("offload", offloaded)) + wrapped("target", target_words(target_));
  }

  std::string phases() const {
    std::string out = fmt::format("{:<14}{:>12}{:>24}{:>10}  full bar: {}\n", "live memory", "", "bytes", "share",
                                  human_bytes(full_bar_));
    for (const Phase* phase : shown_phases(plan_)) out += block(*phase);
    return out;
  }
  std::string block(const Phase& phase) const {
    const bool peak = &phase == &peak_phase(plan_);
    const std::string_view mark = peak ? "  <- peak of the run" : phase.name == "generate" ? "  a run of its own" : "";
    std::string out = fmt::format("{:<14}{:>12}{:>24}{:>10}{}\n", phase.name, human_bytes(phase.peak_bytes),
                                  with_commas(phase.peak_bytes), percent(phase.peak_bytes, phase.peak_bytes), mark);
    for (const Category category : all_categories) {
      const std::int64_t bytes = phase.at_peak[index_of(category)];
      if (bytes == 0) continue;
      const bool host = category == Category::host;  // beside the device's bytes, so without a share of them
      const std::string drawn = host ? "" : bar(share_of(bytes, full_bar_), bar_columns, options_.utf8);
      out += fmt::format("  {:<12}{:>12}{:>24}{:>10}{}{}\n", name_of(category), human_bytes(bytes), with_commas(bytes),
                         host ? "beside" : percent(bytes, phase.peak_bytes), drawn.empty() ? "" : "  ", drawn);
    }
    return out;
  }

  /// What the run takes of the device, and what takes of it beside.
  std::string taken() const {
    const auto line = [](std::string_view label, std::int64_t bytes) {
      return fmt::format("{:<14}{:>12}{:>24}", label, human_bytes(bytes), with_commas(bytes));
    };
    std::string out = line("peak", plan_.peak_bytes) + fmt::format("  of live bytes, in {}\n", peak_phase(plan_).name) +
                      line("reserved", plan_.reserved_bytes()) +
                      fmt::format("  in slabs; temporaries packed {:.2f} % over live\n", 100 * packing_overhead(plan_));
    if (plan_.graphs.count > 0)
      out += line("graphs", plan_.graphs.bytes()) +
             fmt::format("  beside the run: CUDA's for {} graphs, assumed ({} nodes of {} B)\n", plan_.graphs.count,
                         with_commas(plan_.graphs.nodes), with_commas(PlannedGraphs::node_bytes));
    if (options_.driver)
      out += line("driver", options_.driver->bytes) + "  beside the run:\n" + wrapped("", options_.driver->words);
    return out + "\n";
  }

  std::string buffers() const {
    const Phase& peak = peak_phase(plan_);
    const LargestBuffers buffers = largest_buffers(peak, options_.buffers);
    std::string out = fmt::format("largest buffers at the run's peak, in {}\n", peak.name);
    const auto line = [&](std::string_view category, std::string_view name, std::int64_t bytes) {
      out += fmt::format("  {:<13}{:<37}{:>12}{:>24}{:>10}\n", category, fitted(name, 36), human_bytes(bytes),
                         with_commas(bytes), percent(bytes, peak.peak_bytes));
    };
    for (const Buffer& buffer : buffers.largest) line(name_of(buffer.category), buffer.name, buffer.bytes);
    if (buffers.others > 0) line("others", fmt::format("{} names", buffers.others), buffers.other_bytes);
    return out + "\n";
  }

  std::string work() const {
    const Meta::Work& step = plan_.step;
    std::string out = fmt::format("one optimizer step: {} ({:.4e}) in {} kernels\n", human_flops(step.flops),
                                  step.flops, with_commas(step.kernels)) +
                      fmt::format("  moves {} (reads {}, writes {}): {:.1f} FLOP per byte\n",
                                  human_bytes(step.bytes_read + step.bytes_written), human_bytes(step.bytes_read),
                                  human_bytes(step.bytes_written), flops_per_byte(step));
    if (step.copies > 0)
      out += fmt::format("  copies {} to the host's memory and back, in {} copies beside the kernels\n",
                         human_bytes(step.bytes_copied), with_commas(step.copies));
    return out;
  }

  static constexpr std::size_t bar_columns = 36;
  static std::string percent(std::int64_t part, std::int64_t whole) {
    return fmt::format("{:.1f} %", 100 * share_of(part, whole));
  }

  const Plan& plan_;
  const PlanConfig& config_;
  const Target& target_;
  const PlanTextOptions& options_;
  std::int64_t full_bar_ = 0;  // the highest of all phases
};

}  // namespace detail

/// The plan for people: lines of at most 100 columns, plain ASCII but for names and, with options.utf8, the bars.
inline std::string to_text(const Plan& plan, const PlanConfig& config, const Target& target,
                           const PlanTextOptions& options) {
  return detail::PlanText(plan, config, target, options).text();
}

}  // namespace hone
