// Requests: which addresses the lanes of a warp ask for together, and what that costs in sectors and bank conflicts.
#pragma once

#include <hone/emu/settings.hpp>
#include <hone/emu/where.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <vector>

namespace hone::emulator {

enum class Access : std::uint8_t { global_load, global_store, shared_load, shared_store };

struct LaneAccess {
  int lane = 0;
  std::uintptr_t address = 0;
  std::uint32_t bytes = 0;
};

/// 32-byte sectors touched by one request.
inline std::int64_t sectors_of(const std::vector<LaneAccess>& request) {
  constexpr std::uintptr_t sector = 32;
  std::set<std::uintptr_t> touched;
  for (const auto& access : request)
    for (auto s = access.address / sector; s * sector < access.address + access.bytes; ++s) touched.insert(s);
  return static_cast<std::int64_t>(touched.size());
}

/// Extra passes over shared memory's 32 banks of 4 bytes. A pass moves 128 bytes, so accesses of 8 and 16 bytes go in
/// two and four groups of lanes; within a group, lanes that want the same word share it.
inline std::int64_t bank_conflicts_of(const std::vector<LaneAccess>& request) {
  constexpr std::uintptr_t banks = 32, word = 4;
  if (request.empty()) return 0;
  const int lanes_per_pass =
      static_cast<int>(std::clamp<std::uint32_t>(128 / std::max(4u, request.front().bytes), 1, 32));
  std::int64_t conflicts = 0;
  for (int first = 0; first < 32; first += lanes_per_pass) {
    std::array<std::set<std::uintptr_t>, banks> wanted;
    for (const auto& access : request) {
      if (access.lane < first || access.lane >= first + lanes_per_pass) continue;
      for (auto w = access.address / word; w * word < access.address + access.bytes; ++w) wanted[w % banks].insert(w);
    }
    std::size_t passes = 1;
    for (const auto& words : wanted) passes = std::max(passes, words.size());
    conflicts += static_cast<std::int64_t>(passes) - 1;
  }
  return conflicts;
}

/// Collects the accesses of a block. Lanes do not run in step here: the n-th time each lane of a warp comes past one
/// source line is taken to be one request, which is what a warp that does not diverge would issue.
class RequestLog {
 public:
  void add(Access kind, int thread, const void* address, std::size_t bytes, const Where& where) {
    const Site site{kind, where.file, where.line};
    const int visit = visits_[{thread, site}]++;
    requests_[{thread / 32, site, visit}].push_back(
        {thread % 32, reinterpret_cast<std::uintptr_t>(address), static_cast<std::uint32_t>(bytes)});
  }

  /// Adds the block's requests to `counters` and forgets them.
  void close(Counters& counters) {
    for (const auto& [key, request] : requests_) book(std::get<0>(std::get<1>(key)), request, counters);
    requests_.clear();
    visits_.clear();
  }

  static void book(Access kind, const std::vector<LaneAccess>& request, Counters& counters) {
    if (kind == Access::global_load) {
      ++counters.global_load_requests;
      counters.global_load_sectors += sectors_of(request);
    } else if (kind == Access::global_store) {
      ++counters.global_store_requests;
      counters.global_store_sectors += sectors_of(request);
    } else {
      ++counters.shared_requests;
      counters.shared_bank_conflicts += bank_conflicts_of(request);
    }
  }

 private:
  using Site = std::tuple<Access, const char*, int>;
  std::map<std::tuple<int, Site>, int> visits_;                             // (thread, site) -> times seen
  std::map<std::tuple<int, Site, int>, std::vector<LaneAccess>> requests_;  // (warp, site, visit)
};

}  // namespace hone::emulator
