// Runs the same work from both objects on every path of this machine. The output must not depend on who was compiled
// how or linked first.
#include <hone/core/isa.hpp>

#include <cinttypes>
#include <cstdint>
#include <cstdio>

std::uint64_t narrow_work(hone::Isa isa);
std::uint64_t wide_work(hone::Isa isa);

int main() {
  bool equal = true;
  for (const hone::Isa isa : {hone::Isa::portable, hone::Isa::avx2, hone::Isa::avx512}) {
    if (isa > hone::best_isa()) continue;
    const std::uint64_t narrow = narrow_work(isa), wide = wide_work(isa);
    std::printf("path %d: %016" PRIx64 " %016" PRIx64 "\n", static_cast<int>(isa), narrow, wide);
    equal = equal && narrow == wide;
  }
  return equal ? 0 : 1;
}
