// Tensors of different devices do not meet in one op.
// expect: conflicting types
#include <hone/ops/rms_norm.hpp>

void mixed_device(const hone::Tensor<float, hone::Cpu>& x, const hone::Tensor<float, hone::Meta>& elsewhere,
                  const hone::Tensor<float, hone::Cpu>& here) {
#ifdef FIXED
  (void)elsewhere;
  hone::rms_norm(x, here, 1e-5);
#else
  (void)here;
  hone::rms_norm(x, elsewhere, 1e-5);
#endif
}
