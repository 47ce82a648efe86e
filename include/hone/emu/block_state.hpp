// BlockState: what a running block keeps beside its threads: barrier objects and asynchronous work.
#pragma once

#include <hone/emu/async_proxy.hpp>
#include <hone/emu/mbarrier.hpp>
#include <hone/emu/named_barrier.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hone::emulator {

/// Accumulators of wgmma that are under way: their true values, while the registers hold poison.
struct Accumulators {
  std::vector<float> values;
  int products = 0;  ///< that have not landed
};

/// One thread's share of the asynchronous machinery.
struct AsyncState {
  AsyncGroups stores;    ///< bulk copies from shared to global memory
  AsyncGroups products;  ///< wgmma
  std::map<float*, Accumulators> accumulators;
  bool wgmma_fenced = false;
  std::int64_t wgmmas = 0;  ///< issued so far; the four warps of a group must agree
  bool arrived = false;     ///< at the cluster's barrier, and has not waited there yet
  std::uint64_t phase = 0;  ///< of that barrier when it arrived
  int registers = 0;        ///< that setmaxnreg left it; 0: not called
};

struct BlockState {
  NamedBarriers named;
  MBarriers mbarriers;
  ProxyLog proxy;
  std::vector<AsyncState> threads;

  void begin(int count, const std::byte* shared, std::size_t shared_bytes) {
    named.clear();
    mbarriers.clear();
    proxy.begin(shared, shared_bytes);
    threads.assign(static_cast<std::size_t>(count), {});
  }

  /// What a thread that ends leaves undone, in words; empty when nothing.
  std::string left_open(int thread) const {
    const AsyncState& own = threads[static_cast<std::size_t>(thread)];
    if (!own.stores.empty()) return "bulk stores that it did not wait for are under way";
    if (own.arrived) return "it has arrived at the cluster's barrier and not waited there";
    if (!own.products.empty()) return "wgmma that it did not wait for is under way";
    return {};
  }
  /// The same for the block.
  std::string left_open() const {
    if (const std::string open = named.left_open(); !open.empty()) return open;
    constexpr std::size_t warp = 32, group = 128;
    for (std::size_t i = 0; i < threads.size(); ++i)
      if (threads[i].wgmmas != threads[i / group * group].wgmmas)
        return fmt::format("warp {} of a warpgroup at {} wgmma and warp {} at {}: all four issue the same", i / warp,
                           threads[i].wgmmas, i / group * 4, threads[i / group * group].wgmmas);
    if (const std::string dealt = registers_left(); !dealt.empty()) return dealt;
    return mbarriers.left_open();
  }

 private:
  /// What is wrong with how setmaxnreg dealt the registers of a multiprocessor; empty when nothing.
  std::string registers_left() const {
    constexpr std::size_t group = 128;
    constexpr int most = 65536, step = 8, widest = 255;
    const auto count = static_cast<int>(threads.size());
    const int launched = std::min(widest, most / count) / step * step;  // what a launch bound of one block allows
    int total = 0;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      const int wanted = threads[i / group * group].registers;
      if (threads[i].registers != wanted)
        return fmt::format("threads of one warpgroup with {} and {} registers: all call with the same",
                           threads[i].registers, wanted);
      total += wanted == 0 ? launched : wanted;
    }
    if (total <= launched * count) return {};
    return fmt::format("{} registers dealt out, of the {} that {} threads have: a card would wait for ever", total,
                       launched * count, count);
  }
};

}  // namespace hone::emulator
