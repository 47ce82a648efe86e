// What a person may choose about the emulator, and what it counts. Both belong to the host thread that launches.
#pragma once

#include <cstdint>

namespace hone::emulator {

/// In which order blocks, and the threads of a block, run between two points where they wait. A kernel without races
/// gives the same bits in every order.
enum class Order : std::uint8_t { forward, reversed, seeded };

struct Settings {
  Order order = Order::forward;
  std::uint64_t seed = 0;       ///< of Order::seeded
  bool count_requests = false;  ///< sectors and bank conflicts: slow, so asked for
};

/// What kernels did since the counters were last cleared. Requests are counted where accesses go through prim/ helpers.
struct Counters {
  std::int64_t launches = 0;
  std::int64_t blocks = 0;
  std::int64_t threads = 0;
  std::int64_t barriers = 0;     ///< block-wide, once per block
  std::int64_t collectives = 0;  ///< shuffles, votes, matrix instructions: once per warp
  std::int64_t mma_flops = 0;    ///< of tensor core instructions
  std::int64_t global_load_bytes = 0;
  std::int64_t global_store_bytes = 0;
  std::int64_t async_copy_bytes = 0;  ///< global to shared, past the registers
  // With Settings::count_requests. A request is what one instruction of one warp asks for; memory answers in sectors of
  // 32 bytes, so sectors * 32 / bytes says how much of the traffic was wanted.
  std::int64_t global_load_requests = 0;
  std::int64_t global_load_sectors = 0;
  std::int64_t global_store_requests = 0;
  std::int64_t global_store_sectors = 0;
  std::int64_t shared_requests = 0;
  std::int64_t shared_bank_conflicts = 0;  ///< extra passes because lanes wanted different words of one bank
};

inline Settings& settings() {
  static thread_local Settings current;
  return current;
}

inline Counters& counters() {
  static thread_local Counters current;
  return current;
}

/// Settings for one scope.
class WithSettings {
 public:
  explicit WithSettings(const Settings& wanted) : before_(settings()) { settings() = wanted; }
  ~WithSettings() { settings() = before_; }
  WithSettings(const WithSettings&) = delete;
  WithSettings& operator=(const WithSettings&) = delete;

 private:
  Settings before_;
};

/// splitmix64 (Steele, Lea, Flood 2014): enough randomness to shuffle threads.
inline std::uint64_t next_random(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace hone::emulator
