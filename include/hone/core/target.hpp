// Target: what a plan must know about the device it stands for. Plain data, so that a laptop plans for another machine.
#pragma once

#include <hone/core/isa.hpp>

#include <cstdint>
#include <string_view>

namespace hone {

enum class DeviceKind : std::uint8_t { cpu, cuda, emu };

constexpr std::string_view name_of(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::cpu:
      return "cpu";
    case DeviceKind::cuda:
      return "cuda";
    case DeviceKind::emu:
      return "emu";
  }
  return "?";
}

struct Target {
  DeviceKind kind = DeviceKind::cpu;
  std::int64_t alignment = 64;      ///< bytes; every allocation is rounded up to it
  int threads = 1;                  ///< CPU workers; workspaces scale with it
  Isa isa = Isa::portable;          ///< CPU path
  int sm = 0;                       ///< CUDA compute capability, 90 for sm_90
  std::int64_t gemm_workspace = 0;  ///< bytes the GEMM library is given
  std::int64_t redzone = 0;         ///< bytes after each allocation that nobody may touch
};

/// Whether the device is a card, or stands for one: its memory is apart from the host's.
constexpr bool is_card(const Target& target) { return target.kind != DeviceKind::cpu; }

}  // namespace hone
