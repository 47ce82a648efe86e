// One test the whole emulator is for: the address sanitizer points at the kernel's own line. It runs where the tests
// are built with it; the reading child process dies, so it is a child.
#include "lambda_kernel.hpp"
#include "support/data.hpp"

#include <hone/emu/collectives.hpp>

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>

using namespace hone::emulator;

namespace {

constexpr unsigned count = 64;

/// Thread i reads element i + 1; the last one reads past the end.
__attribute__((noinline)) void read_past_the_end_kernel(const float* from, float* to) {
  block_barrier();
  to[threadIdx.x] = from[threadIdx.x + 1];  // ASAN-LINE
}
constexpr int bad_line = __LINE__ - 2;

[[noreturn]] void child(int report) {
  dup2(report, STDERR_FILENO);
  const auto from = std::make_unique<float[]>(count);
  const auto to = std::make_unique<float[]>(count);
  hone::test::emulate({.grid = {1}, .block = {count}}, [&] { read_past_the_end_kernel(from.get(), to.get()); });
  _exit(0);
}

}  // namespace

TEST_CASE("a read one past the end is reported at the kernel's line") {
  if constexpr (!address_sanitizer) {
    hone::test::skip("emu sanitizer report", "built without -fsanitize=address");
    return;
  }
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) child(ends[1]);
  close(ends[1]);
  std::string report;
  std::array<char, 4096> piece{};
  for (ssize_t got = 0; (got = read(ends[0], piece.data(), piece.size())) > 0;)
    report.append(piece.data(), static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(hone::test::contains(report, "heap-buffer-overflow"));
  CHECK(hone::test::contains(report, "read_past_the_end_kernel"));
  // Without debug information the report has addresses in place of lines.
  const std::string line = "test_sanitizer.cpp:" + std::to_string(bad_line);
  if (hone::test::contains(report, "test_sanitizer.cpp:")) CHECK_MESSAGE(hone::test::contains(report, line), report);
}
