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
  bool keep_launches = false;   ///< a LaunchRecord for every launch
};

/// What kernels did since the counters were last cleared, or during one launch. Accesses are counted where they go
/// through prim/ helpers; what plain C++ reads and writes, the emulator does not see.
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
  std::int64_t shared_load_bytes = 0;
  std::int64_t shared_store_bytes = 0;  ///< with what async copies write
  std::int64_t atomics = 0;
  std::int64_t peer_bytes = 0;  ///< to and from the shared memory of another block of the cluster
  // With Settings::count_requests. A request is what one instruction of one warp asks for; memory answers in sectors of
  // 32 bytes, so sectors * 32 / bytes says how much of the traffic was wanted.
  std::int64_t global_load_requests = 0;
  std::int64_t global_load_sectors = 0;
  std::int64_t global_store_requests = 0;
  std::int64_t global_store_sectors = 0;
  std::int64_t shared_requests = 0;
  std::int64_t shared_bank_conflicts = 0;  ///< extra passes because lanes wanted different words of one bank

  Counters& operator+=(const Counters& other);
};

inline constexpr std::int64_t Counters::*every_counter[] = {
    &Counters::launches,
    &Counters::blocks,
    &Counters::threads,
    &Counters::barriers,
    &Counters::collectives,
    &Counters::mma_flops,
    &Counters::global_load_bytes,
    &Counters::global_store_bytes,
    &Counters::async_copy_bytes,
    &Counters::shared_load_bytes,
    &Counters::shared_store_bytes,
    &Counters::atomics,
    &Counters::peer_bytes,
    &Counters::global_load_requests,
    &Counters::global_load_sectors,
    &Counters::global_store_requests,
    &Counters::global_store_sectors,
    &Counters::shared_requests,
    &Counters::shared_bank_conflicts,
};
static_assert(sizeof(every_counter) / sizeof(*every_counter) * sizeof(std::int64_t) == sizeof(Counters),
              "a counter is missing in every_counter");

inline Counters& Counters::operator+=(const Counters& other) {
  for (const auto counter : every_counter) this->*counter += other.*counter;
  return *this;
}

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
