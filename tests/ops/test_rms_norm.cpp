#include <hone/ops/rms_norm.hpp>

#include "fused.hpp"

using namespace hone;
using namespace hone::test;

namespace {

constexpr double eps = 1e-5;
const auto plain_norm = [](const auto& x, const auto& w) { return rms_norm(x, w, eps); };
const auto both_outputs = [](const auto& x, const auto& delta, const auto& w) {
  auto out = add_rms_norm(x, delta, w, eps);
  return concat({out.sum, out.y}, 1);
};

}  // namespace

TEST_CASE("rms_norm: gradients, and the composed norm") {
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 7}, Shape{5, 1}, Shape{4, 9}, Shape{3, 17}}) {
    CAPTURE(to_string(shape));
    const auto x = random_tensor<double>(shape, 1), w = random_tensor<double>({shape[1]}, 2, 0.5, 1.5);
    CHECK(gradcheck(plain_norm, x, w));
    if (shape[1] == 1) continue;  // the norm of one number hardly depends on it: its gradient is all cancellation
    CHECK(agree(
        plain_norm, [](const T64& u, const T64& v) { return composed_rms_norm(u, v, eps); }, x, w));
  }
  CHECK(gradcheck(plain_norm, random_tensor<double>({4, 9}, 3).columns(2, 5), random_tensor<double>({5}, 4)));
}

TEST_CASE("add_rms_norm: gradients from both outputs and from each alone") {
  for (const Shape& shape : {Shape{1, 3}, Shape{4, 7}}) {
    const auto x = random_tensor<double>(shape, 1), delta = random_tensor<double>(shape, 2),
               w = random_tensor<double>({shape[1]}, 3, 0.5, 1.5);
    CHECK(gradcheck(
        [](const T64& u, const T64& d, const T64& v) {
          auto out = add_rms_norm(u, d, v, eps);
          return std::tuple{out.sum, out.y};
        },
        x, delta, w));
    CHECK(agree(
        both_outputs,
        [](const T64& u, const T64& d, const T64& v) {
          const auto sum = u + d;
          return concat({sum, composed_rms_norm(sum, v, eps)}, 1);
        },
        x, delta, w));
  }
}

TEST_CASE("add_rms_norm: x and delta may be the same tensor") {
  CHECK(gradcheck(
      [](const T64& x, const T64& w) {
        auto out = add_rms_norm(x, x, w, eps);
        return std::tuple{out.sum, out.y};
      },
      random_tensor<double>({3, 5}, 1), random_tensor<double>({5}, 2)));
}

TEST_CASE("rms_norm: float and bf16") {
  const auto x = random_tensor<double>({33, 65}, 1), delta = random_tensor<double>({33, 65}, 2),
             w = random_tensor<double>({65}, 3, 0.5, 1.5);
  check_precisions(plain_norm, x, w);
  check_precisions(both_outputs, x, delta, w);
}

TEST_CASE("rms_norm names what does not fit") {
  const auto x = random_tensor<float>({2, 3}, 1), w = random_tensor<float>({4}, 2);
  CHECK_THROWS_WITH(rms_norm(x, w, eps), "[rms_norm] weight (4,) must match the last dim of x (2, 3)");
  CHECK_THROWS_WITH(add_rms_norm(x, random_tensor<float>({3, 3}, 3), random_tensor<float>({3}, 2), eps),
                    "[add_rms_norm] delta (3, 3) must have the shape of x (2, 3)");
}
