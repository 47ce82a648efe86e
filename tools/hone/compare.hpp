// hone compare: several ways to adapt one model to the user's rows, all measured alike.
#pragma once

#include "train_flags.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone::cli {

/// One way to adapt the model, as the user wrote it: "lora", "lora:lora_r=64", "few_shot:shots=8", "base".
struct Contender {
  std::string name;
  std::string method;
  std::vector<std::pair<std::string, std::string>> keys;

  /// Whether it trains; "base" and "few_shot" leave the model as it is.
  bool trains() const { return method != "base" && method != "few_shot"; }
};

/// The contenders of a list "a,b:key=value:key=value,c". The base stands first, asked for or not: gains are over it.
std::vector<Contender> parse_contenders(const std::string& list);

struct CompareFlags {
  TrainFlags train;  ///< what all contenders share
  std::string contenders = "few_shot,lora,full";
  std::string general_text, html;
  std::int64_t seeds = 1, limit = 64, max_new_tokens = 128, latency_tokens = 32;
  bool json = false;
};

/// What one run of one contender came to, by column; a column it has no value for is not in it.
using Measurements = std::map<std::string, double>;

struct Compared {
  Contender contender;
  std::vector<Measurements> seeds;
  std::string error;  ///< why it could not be measured, else empty
};

struct Spread {
  std::size_t count = 0;
  double mean = 0;
  double deviation = 0;  ///< of the sample, 0 for one value
};

/// One column over the seeds that have it.
Spread spread_of(const Compared& row, std::string_view column);

/// A column of the table. A gain or a loss over the base is a column of its own. Groups are tables of their own
/// where the width of a terminal counts.
struct Column {
  enum class Kind { count, bytes, number, seconds, milliseconds };
  enum class Group { training, result, request };
  Group group = Group::training;
  std::string_view key, heading, meaning;
  Kind kind = Kind::number;
};
/// All columns, in the order they are shown.
std::span<const Column> compare_columns();

/// "1,024", "1.50 MiB", "0.5132 +- 0.0021"; "-" where no seed has it.
std::string cell(const Compared& row, const Column& column);

std::string comparison_text(const std::vector<Compared>& rows);
std::string comparison_json(const std::vector<Compared>& rows);
std::string comparison_page(const std::vector<Compared>& rows, const CompareFlags& flags);

/// Measures all contenders; what an earlier run into the same folder has measured with the same settings, base and rows
/// is read back.
std::vector<Compared> compare_all(const CompareFlags& flags, const std::vector<Contender>& contenders,
                                  const std::string& settings);

}  // namespace hone::cli
