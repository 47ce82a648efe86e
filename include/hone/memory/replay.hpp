// RAII for the two modes in which temporaries are numbered: recording on Meta, replaying on a device.
#pragma once

#include <hone/memory/memory.hpp>

#include <utility>

namespace hone {

/// While one lives, temporaries of `memory` are recorded; finish() gives the trace.
class [[nodiscard]] Recording {
 public:
  explicit Recording(Memory& memory) : memory_(memory) { memory_.start_recording(); }
  ~Recording() {
    if (!finished_) memory_.stop_recording();
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  Trace finish() {
    finished_ = true;
    return memory_.stop_recording();
  }

 private:
  Memory& memory_;
  bool finished_ = false;
};

/// While one lives, temporaries of `memory` sit where `packing` says, which must outlive it. They must all be gone when
/// it ends.
class [[nodiscard]] Replay {
 public:
  Replay(Memory& memory, const Packing& packing) : memory_(memory) { memory_.start_replay(packing); }
  ~Replay() { memory_.stop_replay(); }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

 private:
  Memory& memory_;
};

}  // namespace hone
