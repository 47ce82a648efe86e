// hone tune: which algorithm of a card's GEMM library is the fastest for each matrix product of a training run.
#include "commands.hpp"
#include "engine.hpp"
#include "plan.hpp"

#include <hone/io/gemm_tuning_file.hpp>
#include <hone/io/utf8.hpp>
#include <hone/plan/products.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

namespace hone::cli {
namespace {

struct TuneFlags : TrainFlags {
  std::string output;
};

/// Everything that can be refused before a card is busy for minutes.
void check_flags(const TuneFlags& flags) {
  check(!flags.config.model.empty() && !flags.output.empty(), "tune needs --model FOLDER and --output FILE");
  check(flags.device == "auto" || flags.device == "cuda",
        "device: tune times the GEMM library of a card; '{}' has none, choose cuda", flags.device);
  check(flags.config.batch_size > 0,
        "batch_size: auto depends on what is free on the card when training begins; tune needs the number that hone "
        "train printed");
  check(
      !flags.config.data.empty() || flags.config.packing,
      "data: batches are as long as the rows in them, and so are their products; tune needs the --data of the run, or "
      "--packing, whose batches are all of one size");
  const auto folder = std::filesystem::absolute(flags.output).parent_path();
  std::error_code unreadable;
  check(std::filesystem::is_directory(folder, unreadable), "output: [{}] is not a folder that could hold {}",
        folder.string(), flags.output);
  check(!std::filesystem::is_directory(flags.output, unreadable),
        "output: [{}] is a folder; tune writes a file (--output tune.json)", flags.output);
}

Card card_to_tune() {
  try {
    return local_card();
  } catch (const Error& error) {
    fail("tune times the GEMM library of this machine's card, and there is none to ask: {}", error.what());
  }
}

/// "bfloat16 8192 x 896 x 4864 NT": c = op(a) op(b), (m, k) x (k, n), each factor as it is stored or transposed.
std::string words_of(const gpu::GemmShape& shape) {
  return fmt::format("{}{} {} x {} x {} {}{}{}", name_of(shape.a_type),
                     shape.c_type == shape.a_type ? "" : fmt::format(" to {}", name_of(shape.c_type)), shape.m, shape.n,
                     shape.k, shape.transpose_a ? "T" : "N", shape.transpose_b ? "T" : "N",
                     shape.accumulate ? ", added" : "");
}

std::string words_of(const gpu::GemmChoice& choice, std::size_t candidates) {
  if (candidates == 0) return "left out, the card has no memory for its operands";
  if (choice.algorithm.empty())
    return fmt::format("{:.4f} ms, first of {} stays", choice.first_milliseconds, candidates - 1);
  return fmt::format("{:.4f} ms -> {:.4f} ms, {:.2f} x, best of {}: {}", choice.first_milliseconds, choice.milliseconds,
                     choice.gain(), candidates - 1, choice.algorithm);
}

void print_line(const std::string& text) {
  std::printf("%s\n", printable(text).c_str());
  std::fflush(stdout);  // a card takes minutes for all of them
}

int tune(TuneFlags& flags) {
  settle(flags);
  check_flags(flags);
  flags.device = "cuda";
  const Card card = card_to_tune();
  const PlanRequest request = make_request(flags, nullptr);
  const auto shapes = training_products(request.config, request.target);
  check(!shapes.empty(), "tune: no matrix product of this run is large enough for the GEMM library");
  if (!flags.quiet) print_line(fmt::format("{}: {} matrix products", card.name, shapes.size()));
  std::size_t done = 0, changed = 0;
  const auto tuning =
      tune_local_card(shapes, [&](const gpu::GemmShape& shape, const gpu::GemmChoice& choice, std::size_t candidates) {
        ++done;
        if (!choice.algorithm.empty()) ++changed;
        if (!flags.quiet) print_line(fmt::format("{:>4}  {}: {}", done, words_of(shape), words_of(choice, candidates)));
      });
  check(!tuning.choices.empty(), "tune: none of {} matrix products could be timed on {}; nothing was written",
        shapes.size(), card.name);
  write_gemm_tuning(tuning, flags.output);
  if (!flags.quiet)
    print_line(fmt::format("{} of {} products by another algorithm than the library's first; written to {} (hash {})",
                           changed, tuning.choices.size(), flags.output, hash_of(tuning)));
  return 0;
}

}  // namespace

Command add_tune(CLI::App& app) {
  auto* command = app.add_subcommand(
      "tune",
      "time a card's GEMM algorithms for the products of a training run on --data, for hone train --gemm_tuning");
  auto flags = std::make_shared<TuneFlags>();
  command->add_option("--output", flags->output, "file to write");
  add_train_flags(*command, *flags);
  return {command, [flags] { return tune(*flags); }};
}

}  // namespace hone::cli
