// Element types do not mix: a cast is written where one is meant.
// expect: conflicting types
#include <hone/core/half.hpp>
#include <hone/ops/rms_norm.hpp>

void mixed_dtype(const hone::Tensor<float>& x, const hone::Tensor<hone::bf16>& narrow,
                 const hone::Tensor<float>& wide) {
#ifdef FIXED
  (void)narrow;
  hone::rms_norm(x, wide, 1e-5);
#else
  (void)wide;
  hone::rms_norm(x, narrow, 1e-5);
#endif
}
