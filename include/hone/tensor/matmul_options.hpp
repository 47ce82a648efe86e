// MatMulOptions: how a matrix product is taken; shared by the op and by every device's kernel.
#pragma once

namespace hone {

namespace kernel {
struct MatMul;
}

/// c = alpha * op(a) * op(b), plus the old c if `accumulate`. op(x) is x, or its transpose where the flag says so.
struct MatMulOptions {
  bool transpose_a = false;  ///< a is stored (k, m)
  bool transpose_b = false;  ///< b is stored (n, k), as the weight of a linear layer is
  double alpha = 1;
  bool accumulate = false;
};

}  // namespace hone
