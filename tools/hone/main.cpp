// hone: fine-tunes, evaluates and runs Llama-family models from the command line. One file a subcommand.
#include "command_line.hpp"
#include "commands.hpp"

#include <hone/core/error.hpp>

#include <csignal>
#include <cstdio>
#include <exception>

namespace {

int run(int argc, char** argv) {
  using namespace hone::cli;
  try {
    CLI::App app{"hone " HONE_VERSION ": trains Llama-family models and tells beforehand what memory that takes",
                 "hone"};
    app.set_version_flag("--version", HONE_VERSION);
    const std::vector<Command> commands = {add_plan(app),    add_train(app),    add_tune(app),     add_eval(app),
                                           add_compare(app), add_generate(app), add_merge(app),    add_quantize(app),
                                           add_inspect(app), add_peft(app),     add_tokenize(app), add_bench(app)};
    return run_commands(app, commands, prepare_arguments(argc, argv));
  } catch (const std::exception& error) {
    return report_error(error.what(), 1);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error to report, not a reason to die
  std::signal(SIGPIPE, SIG_IGN);
  const int code = run(argc, argv);
  // What is lost on the way out, on a full disk or in a closed pipe, is seen only once the buffer is empty.
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  return written || code != 0 ? code : hone::cli::report_error("standard output could not be written", 1);
}
