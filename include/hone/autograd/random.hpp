// The random numbers that ops draw: a seed and how many were taken, per thread. The numbers themselves come from
// Philox, so a draw is repeated by going back to where the generator stood.
#pragma once

#include <hone/core/draw_seed.hpp>

#include <cstdint>

namespace hone {

/// Where an op's numbers come from: no other draw of the same seed has this offset, which serves as Philox stream.
struct RandomDraw {
  DrawSeed seed;
  std::uint64_t offset = 0;
};

struct Generator {
  DrawSeed seed;
  std::uint64_t offset = 0;

  /// Takes `count` numbers.
  RandomDraw next(std::int64_t count) {
    const RandomDraw draw{seed, offset};
    offset += static_cast<std::uint64_t>(count);
    return draw;
  }
};

/// The calling thread's generator.
inline Generator& default_generator() {
  thread_local Generator generator;
  return generator;
}

/// Starts the calling thread's generator anew.
inline void set_seed(DrawSeed seed) { default_generator() = {seed, 0}; }

/// While one lives, the thread's generator goes on from `state`; afterwards from where it stood before.
class [[nodiscard]] RestoreGenerator {
 public:
  explicit RestoreGenerator(const Generator& state) : before_(default_generator()) { default_generator() = state; }
  ~RestoreGenerator() { default_generator() = before_; }
  RestoreGenerator(const RestoreGenerator&) = delete;
  RestoreGenerator& operator=(const RestoreGenerator&) = delete;

 private:
  Generator before_;
};

}  // namespace hone
