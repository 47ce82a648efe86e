// An op without a kernel for its device says which file to write.
// expect: this device has no kernel for the op
// expect: include/hone/cpu/NAME.hpp
#include <hone/tensor/device.hpp>
#include <hone/tensor/kernel.hpp>

namespace hone {
namespace kernel {
struct Unwritten;
}
#ifdef FIXED
inline void run(Tag<kernel::Unwritten>, Cpu&, View<float, 1>) {}
#endif
}  // namespace hone

void missing_kernel(hone::View<float, 1> y) { hone::run_kernel<hone::kernel::Unwritten>(hone::Cpu{}, y); }
