// hone's matrix product beside OpenBLAS's, in one process, run by turns so that both meet the same noise.
//
//   cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build --target bench_matmul
//   build/bench/bench_matmul [--threads 1,2] [--seconds 0.5] [--filter 1024] [--cpu-time] [--markdown]
// or, without CMake:
//   g++ -std=c++20 -O3 -Iinclude -DHONE_BENCH_OPENBLAS bench/op/matmul.cpp -o bench_matmul -lopenblas -pthread
//
// OpenBLAS chooses its kernel by processor name and does not know every new one; OPENBLAS_CORETYPE=SkylakeX forces its
// AVX-512 kernel. The header line names the one in use.
//
// On a machine that others use, --cpu-time (one thread) counts the seconds this thread ran and not the ones it waited.
//
// A line: shape and types, GFLOP/s of both from the median time, and the median over pairs of runs of
// (OpenBLAS time / hone time): above 1, hone is faster. OpenBLAS has fp32 only here: lines with bf16 have no peer and
// are set against its fp32 product of the same shape.
#include <hone/cpu/matmul.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include <time.h>

#if defined(HONE_BENCH_OPENBLAS)
#include <cblas.h>
#endif

namespace {

using hone::bf16;
using hone::View;

struct Options {
  std::vector<int> threads;
  double seconds = 0.5;  // of measuring for each line and side
  std::string filter;
  bool markdown = false;
  bool cpu_time = false;  // of this thread, not of the clock on the wall
};

struct Shape {
  std::string_view name;
  std::int64_t m, n, k;
  bool transpose_a, transpose_b;
};

// Squares, then what training meets: a linear layer of 2048 -> 5632 over 1024 tokens forward (nt), its input gradient
// (nn) and weight gradient (tn); a small model's; LoRA of rank 8 down, up and its gradient; decoding one token.
constexpr Shape shapes[] = {
    {"512^3", 512, 512, 512, false, false},          {"1024^3", 1024, 1024, 1024, false, false},
    {"2048^3", 2048, 2048, 2048, false, false},      {"4096^3", 4096, 4096, 4096, false, false},
    {"linear nt", 1024, 5632, 2048, false, true},    {"linear dx nn", 1024, 2048, 5632, false, false},
    {"linear dw tn", 5632, 2048, 1024, true, false}, {"small nt", 512, 512, 192, false, true},
    {"lora down nt", 1024, 8, 2048, false, true},    {"lora up nt", 1024, 2048, 8, false, true},
    {"lora dw tn", 8, 2048, 1024, true, false},      {"lora r32 nt", 1024, 32, 2048, false, true},
    {"decode nt", 1, 2048, 2048, false, true},       {"decode 4 nt", 4, 2048, 2048, false, true},
};

double now(bool cpu_time) {
  timespec time{};
  clock_gettime(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(bool cpu_time, auto&& call) {
  const double start = now(cpu_time);
  call();
  return now(cpu_time) - start;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

template <class T>
std::vector<T> numbers(std::int64_t count) {
  std::vector<T> out(static_cast<std::size_t>(count));
  std::uint32_t state = 12345;
  for (T& value : out) {
    state = state * 1664525u + 1013904223u;
    value = T(static_cast<float>(state >> 8) / 8388608.0f - 1.0f);
  }
  return out;
}

#if defined(HONE_BENCH_OPENBLAS)
std::string peer_name() { return fmt::format("{}, kernel {}", openblas_get_config(), openblas_get_corename()); }

void peer_product(const Shape& s, const std::vector<float>& a, const std::vector<float>& b, std::vector<float>& c) {
  const auto narrow = [](std::int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, s.transpose_a ? CblasTrans : CblasNoTrans, s.transpose_b ? CblasTrans : CblasNoTrans,
              narrow(s.m), narrow(s.n), narrow(s.k), 1.0f, a.data(), narrow(s.transpose_a ? s.m : s.k), b.data(),
              narrow(s.transpose_b ? s.k : s.n), 0.0f, c.data(), narrow(s.n));
}
#endif

// Times for one shape; the peer's are empty where there is none.
struct Times {
  std::vector<double> ours, peers;
};

template <class T>
Times measure(const Shape& s, hone::ThreadPool& pool, const Options& options) {
  const auto a = numbers<T>(s.m * s.k), b = numbers<T>(s.k * s.n);
  std::vector<T> c(static_cast<std::size_t>(s.m * s.n));
  const View<const T, 2> va{a.data(), s.transpose_a ? std::array{s.k, s.m} : std::array{s.m, s.k},
                            s.transpose_a ? s.m : s.k};
  const View<const T, 2> vb{b.data(), s.transpose_b ? std::array{s.n, s.k} : std::array{s.k, s.n},
                            s.transpose_b ? s.k : s.n};
  const View<T, 2> vc{c.data(), {s.m, s.n}, s.n};
  const hone::Target target{.threads = pool.threads(), .isa = hone::best_isa()};
  const std::int64_t bytes = hone::matmul_workspace_bytes(target, s.m, s.n, s.k);
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> scratch(static_cast<std::size_t>((bytes + 63) / 64));
  const View<std::byte, 1> workspace{scratch.data()->bytes, {bytes}, 1};
  const hone::MatMulOptions how{.transpose_a = s.transpose_a, .transpose_b = s.transpose_b};
  const auto ours = [&] { hone::cpu::gemm(pool, target.isa, how, va, vb, vc, workspace); };

  const double once = seconds_of(false, ours);
  const int repeats = std::max(1, static_cast<int>(0.002 / std::max(once, 1e-7)));  // a sample lasts two milliseconds
  Times times;
#if defined(HONE_BENCH_OPENBLAS)
  openblas_set_num_threads(pool.threads());
  const auto fa = numbers<float>(s.m * s.k), fb = numbers<float>(s.k * s.n);
  std::vector<float> fc(static_cast<std::size_t>(s.m * s.n));
  const auto peers = [&] { peer_product(s, fa, fb, fc); };
  peers();
  if constexpr (std::is_same_v<T, float>) {  // a fast wrong answer is void
    double largest = 0;
    for (std::size_t i = 0; i < c.size(); ++i)
      largest = std::max(largest, std::abs(static_cast<double>(c[i]) - static_cast<double>(fc[i])));
    if (!(largest <= 1e-4 * std::sqrt(static_cast<double>(s.k)))) {
      fmt::print(stderr, "bench_matmul: {}: results differ by {}\n", s.name, largest);
      std::exit(1);
    }
  }
#endif
  const double start = now(false);
  const auto sample = [&](auto&& call) {
    return seconds_of(options.cpu_time,
                      [&] {
                        for (int r = 0; r < repeats; ++r) call();
                      }) /
           repeats;
  };
  do {
    times.ours.push_back(sample(ours));
#if defined(HONE_BENCH_OPENBLAS)
    times.peers.push_back(sample(peers));
#endif
  } while (times.ours.size() < 5 || now(false) - start < 2 * options.seconds);
  return times;
}

void print_line(const Options& options, const Shape& s, std::string_view types, int threads, const Times& times) {
  const double flops = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  const double ours = flops / median(times.ours) * 1e-9;
  std::string peer = "-", ratio = "-";
  if (!times.peers.empty()) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < times.ours.size(); ++i) ratios.push_back(times.peers[i] / times.ours[i]);
    peer = fmt::format("{:.1f}", flops / median(times.peers) * 1e-9);
    ratio = fmt::format("{:.2f}", median(ratios));
  }
  const auto size = fmt::format("{}x{}x{}", s.m, s.n, s.k);
  const char* format =
      options.markdown ? "| {} | {} | {} | {} | {:.1f} | {} | {} | {} |\n"
                       : "{:<14} {:<16} {:<5} {:>2} threads  hone {:>7.1f}  OpenBLAS {:>7}  ratio {:>5}  ({} pairs)\n";
  fmt::print(fmt::runtime(format), s.name, size, types, threads, ours, peer, ratio, times.ours.size());
  std::fflush(stdout);
}

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  std::string line, name = "?", family, model;
  while (std::getline(info, line) && !line.empty()) {
    const auto value = line.substr(std::min(line.size(), line.find(':') + 2));
    if (line.starts_with("model name"))
      name = value;
    else if (line.starts_with("cpu family"))
      family = value;
    else if (line.starts_with("model\t"))
      model = value;
  }
  return fmt::format("{} (family {}, model {}), {} cores", name, family, model, std::thread::hardware_concurrency());
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--markdown" || flag == "--cpu-time") {
      (flag == "--markdown" ? options.markdown : options.cpu_time) = true;
      continue;
    }
    hone::check(i + 1 < argc, "bench_matmul: {} wants a value", flag);
    const std::string value = argv[++i];
    if (flag == "--threads")
      for (std::size_t at = 0; at < value.size(); at = std::min(value.size(), value.find(',', at)) + 1)
        options.threads.push_back(std::stoi(value.substr(at)));
    else if (flag == "--seconds")
      options.seconds = std::stod(value);
    else if (flag == "--filter")
      options.filter = value;
    else
      hone::fail("bench_matmul: unknown flag {}", flag);
  }
  if (options.cpu_time) {
    hone::check(options.threads.empty() || options.threads == std::vector<int>{1},
                "bench_matmul: --cpu-time is for --threads 1");
    options.threads = {1};
  }
  if (options.threads.empty())
    for (int t = 1; t <= static_cast<int>(std::thread::hardware_concurrency()); t *= 2) options.threads.push_back(t);
  return options;
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  fmt::print("{}; hone path {}", processor(), hone::name_of(hone::best_isa()));
#if defined(HONE_BENCH_OPENBLAS)
  fmt::print("; {}\n", peer_name());
#else
  fmt::print("; built without OpenBLAS\n");
#endif
  if (options.markdown)
    fmt::print(
        "\n| shape | m x n x k | type | threads | hone GFLOP/s | OpenBLAS GFLOP/s | ratio | pairs "
        "|\n|---|---|---|---|---|---|---|---|\n");
  for (const int threads : options.threads) {
    hone::ThreadPool pool(threads);
    for (const Shape& s : shapes) {
      if (std::string(s.name).find(options.filter) == std::string::npos) continue;
      print_line(options, s, "fp32", threads, measure<float>(s, pool, options));
      print_line(options, s, "bf16", threads, measure<bf16>(s, pool, options));
    }
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "{}\n", error.what());
  return 1;
}
