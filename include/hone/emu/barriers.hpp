// Named barriers, barrier objects in shared memory and fences of the async proxy, as PTX has them and stricter.
#pragma once

#include <hone/emu/memory_access.hpp>

#include <cstdint>

namespace hone::emulator {

namespace detail {

/// Counts the caller into the meeting; true when it is complete.
inline bool arrive_at(Block& block, const char* name, int id, int count, const Where& where) {
  if (id < 1 || id >= most_named_barriers)
    block.fail_here("{} {}: barrier {} must be 1 to {} (0 is __syncthreads)", name, to_string(where), id,
                    most_named_barriers - 1);
  if (count < warp_size || count % warp_size != 0 || count > block.thread_count())
    block.fail_here("{} {}: {} threads must be whole warps of a block of {}", name, to_string(where), count,
                    block.thread_count());
  NamedBarrier& barrier = block.state().named.at(id);
  if (barrier.arrived > 0 && barrier.wanted != count)
    block.fail_here("{} {}: barrier {} is called for {} threads, others called it for {}", name, to_string(where), id,
                    count, barrier.wanted);
  barrier.wanted = count;
  if (++barrier.arrived < count) return false;
  barrier.arrived = 0;
  block.note_meeting();
  block.signal(barrier);
  return true;
}

/// The barrier object at `at`. A thread that did not initialise it must have met the one that did.
inline MBarrier& mbarrier_at(Block& block, const char* name, const void* at, const Where& where) {
  MBarrier* barrier = block.state().mbarriers.find(at);
  if (barrier == nullptr) block.fail_here("{} {}: there is no initialised mbarrier", name, to_string(where));
  if (barrier->thread() != block.thread_number() && barrier->meetings() == block.meetings())
    block.fail_here("{} {}: thread {} initialised the mbarrier, and no barrier stands between that and this", name,
                    to_string(where), block.name_of_thread(barrier->thread()));
  return *barrier;
}

}  // namespace detail

/// bar.sync id, count: waits until `count` threads have come to barrier `id`, by sync or arrive.
inline void named_barrier_sync(int id, int count, Where where = Where::here()) {
  Block& block = this_block(where);
  if (!detail::arrive_at(block, "named barrier", id, count, where)) block.wait_for(block.state().named.at(id), where);
}

/// bar.arrive id, count: counts, and goes on.
inline void named_barrier_arrive(int id, int count, Where where = Where::here()) {
  detail::arrive_at(this_block(where), "named barrier", id, count, where);
}

/// mbarrier.init: a phase ends after `count` arrivals and all announced bytes.
inline void mbarrier_init(std::uint64_t* at, int count, Where where = Where::here()) {
  constexpr int most = (1 << 20) - 1;
  Block& block = this_block(where);
  check_aligned(at, 8, "mbarrier_init", where);
  if (!block.is_shared(at)) block.fail_here("mbarrier_init {}: the mbarrier is not in shared memory", to_string(where));
  if (count < 1 || count > most)
    block.fail_here("mbarrier_init {}: {} arrivals, wanted 1 to {}", to_string(where), count, most);
  block.state().mbarriers.initialise(at, MBarrier(count, block.thread_number(), block.meetings()));
}

/// fence.mbarrier_init: bulk copies see the barrier objects that this thread initialised.
inline void mbarrier_init_fence(Where where = Where::here()) {
  Block& block = this_block(where);
  block.state().mbarriers.fence(block.thread_number());
}

/// mbarrier.arrive.expect_tx: announces `bytes` of bulk copies to this phase (0: none), then arrives.
inline void mbarrier_arrive(std::uint64_t* at, std::int64_t bytes, Where where = Where::here()) {
  Block& block = this_block(where);
  MBarrier& barrier = detail::mbarrier_at(block, "mbarrier_arrive", at, where);
  barrier.expect(bytes);
  if (!barrier.arrive()) return;
  block.note_meeting();
  block.signal(barrier);
}

/// mbarrier.try_wait.parity, repeated: waits until the phase of this parity is over; its bulk copies then stand in
/// memory.
inline void mbarrier_wait(std::uint64_t* at, unsigned parity, Where where = Where::here()) {
  Block& block = this_block(where);
  MBarrier& barrier = detail::mbarrier_at(block, "mbarrier_wait", at, where);
  if (parity > 1) block.fail_here("mbarrier_wait {}: parity {} must be 0 or 1", to_string(where), parity);
  while (!barrier.complete(parity)) block.wait_for(barrier, where);
  barrier.land();
}

/// mbarrier.try_wait.parity once: whether the phase is over.
inline bool mbarrier_try_wait(std::uint64_t* at, unsigned parity, Where where = Where::here()) {
  Block& block = this_block(where);
  MBarrier& barrier = detail::mbarrier_at(block, "mbarrier_try_wait", at, where);
  if (parity > 1) block.fail_here("mbarrier_try_wait {}: parity {} must be 0 or 1", to_string(where), parity);
  if (barrier.complete(parity)) {
    barrier.land();
    return true;
  }
  block.spin_check("mbarrier_try_wait", where);
  return barrier.complete(parity) && (barrier.land(), true);
}

/// fence.proxy.async: bulk stores and wgmma see what this thread has written to shared memory.
inline void async_proxy_fence(Where where = Where::here()) {
  Block& block = this_block(where);
  block.state().proxy.fence(block.thread_number());
}

/// barrier.cluster.arrive: counts, and goes on.
inline void cluster_arrive(Where where = Where::here()) {
  Block& block = this_block(where);
  AsyncState& self = block.async();
  if (self.arrived) block.fail_here("cluster_arrive {}: arrives again without having waited", to_string(where));
  self.arrived = true;
  self.phase = block.cluster()->barrier().phase();
  block.cluster()->arrive(block);
}

/// barrier.cluster.wait: until all threads of the cluster have arrived.
inline void cluster_wait(Where where = Where::here()) {
  Block& block = this_block(where);
  AsyncState& self = block.async();
  if (!self.arrived) block.fail_here("cluster_wait {}: waits without having arrived", to_string(where));
  const ClusterBarrier& barrier = block.cluster()->barrier();
  while (barrier.phase() == self.phase) block.wait_for(barrier, where);
  self.arrived = false;
}

/// mapa: where the object at `at` of this block's shared memory lies in block `rank` of the cluster.
template <class T>
T* map_shared(T* at, int rank, Where where = Where::here()) {
  Block& block = this_block(where);
  Cluster& cluster = *block.cluster();
  if (rank < 0 || rank >= cluster.size())
    block.fail_here("map_shared {}: block {} of a cluster of {}", to_string(where), rank, cluster.size());
  if (!block.is_shared(at)) block.fail_here("map_shared {}: not in shared memory", to_string(where));
  if (rank != block.rank() && cluster.barrier().phase() == 0)
    block.fail_here("map_shared {}: before the cluster's first barrier nobody knows that block {} has begun",
                    to_string(where), rank);
  const auto offset = reinterpret_cast<const std::byte*>(at) - block.shared_begin();
  return reinterpret_cast<T*>(cluster.block(rank).shared_begin() + offset);
}

/// mbarrier.arrive at the same barrier object of block `rank` of the cluster.
inline void mbarrier_arrive_at(std::uint64_t* at, int rank, Where where = Where::here()) {
  Block& block = this_block(where);
  const std::uint64_t* there = map_shared(at, rank, where);
  Block& peer = block.cluster()->block(rank);
  if (peer.ended())
    block.fail_here("mbarrier_arrive {}: block {} has ended", to_string(where), to_string(peer.index()));
  MBarrier* barrier = peer.state().mbarriers.find(there);
  if (barrier == nullptr)
    block.fail_here("mbarrier_arrive {}: there is no initialised mbarrier in block {}", to_string(where),
                    to_string(peer.index()));
  if (!barrier->arrive()) return;
  peer.note_meeting();
  peer.wake(*barrier);
}

/// For what reads shared memory by the async proxy.
inline void check_fenced(Block& block, const char* name, const void* at, std::size_t bytes, const Where& where) {
  const int writer = block.state().proxy.unfenced(at, bytes);
  if (writer >= 0)
    block.fail_here("{} {}: thread {} wrote what this reads and has not called async_proxy_fence() since", name,
                    to_string(where), block.name_of_thread(writer));
}

}  // namespace hone::emulator
