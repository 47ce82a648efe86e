// Batches on their way to a card: written into pinned memory, copied while the host goes on.
#pragma once

#include <hone/nn/device_batch.hpp>
#include <hone/tensor/graph.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace hone {

/// A ring of pinned buffers, as large as the largest batch so far. The host waits only when it is a whole ring ahead of
/// the card.
class BatchStaging {
 public:
  template <Device D>
  DeviceBatch<D> upload(const Batch& batch, const D& device, std::uint64_t seed) {
    Slot& slot = slots_[next_++ % slots_.size()];
    const auto bytes = static_cast<std::size_t>(BatchLayout{batch.tokens()}.words()) * sizeof(std::int32_t);
    if (slot.bytes < bytes) {
      slot.memory.reset();
      slot.memory = std::make_unique<gpu::Pinned>(device, bytes);
      slot.bytes = bytes;
    }
    slot.memory->wait();
    return hone::upload(batch, device, [&](void* to, std::size_t size) {
      write_padded(batch, seed, slot.memory->template as<std::int32_t>());
      slot.memory->send(device, to, size);
    });
  }

 private:
  struct Slot {
    std::unique_ptr<gpu::Pinned> memory;
    std::size_t bytes = 0;
  };
  std::array<Slot, 4> slots_;
  std::size_t next_ = 0;
};

}  // namespace hone
