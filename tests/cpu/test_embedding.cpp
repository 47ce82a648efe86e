#include <hone/cpu/embedding.hpp>

#include "cpu/kernel_test.hpp"

using namespace hone;
using namespace hone::test;

namespace {

struct Ids {
  std::vector<std::int32_t> ids;
  View<const std::int32_t, 1> view() const { return {ids.data(), {static_cast<std::int64_t>(ids.size())}, 1}; }
};

Ids random_ids(std::int64_t count, std::int64_t vocabulary) {
  Ids out;
  for (std::int64_t n = 0; n < count; ++n)
    out.ids.push_back(static_cast<std::int32_t>(philox_word(3, 0, static_cast<std::uint64_t>(n)) %
                                                static_cast<std::uint64_t>(vocabulary)));
  return out;
}

template <class T, class G>
Matrix<double> backward_reference(const Ids& ids, const Matrix<T>& dy, const Matrix<G>& before, bool accumulate) {
  Matrix<double> out(before.rows, before.cols);
  for (std::int64_t r = 0; r < out.rows; ++r)
    for (std::int64_t c = 0; c < out.cols; ++c) out(r, c) = accumulate ? value(before(r, c)) : 0.0;
  for (std::size_t n = 0; n < ids.ids.size(); ++n)
    for (std::int64_t c = 0; c < out.cols; ++c) out(ids.ids[n], c) += value(dy(static_cast<std::int64_t>(n), c));
  return out;
}

template <class T, class G>
void check_backward(std::int64_t count, std::int64_t vocabulary, std::int64_t cols, double allowed) {
  on_every_path([&](const Cpu& cpu) {
    const Ids ids = random_ids(count, vocabulary);
    auto dy = random_matrix<T>(count, cols, 5, 1, 3);
    for (const bool accumulate : {false, true}) {
      Matrix<G> dtable = accumulate ? random_matrix<G>(vocabulary, cols, 6, 1, 2) : Matrix<G>(vocabulary, cols, 2);
      const auto wanted = backward_reference(ids, dy, dtable, accumulate);
      run_kernel<kernel::EmbeddingBackward>(cpu, ids.view(), View<const T, 2>(dy.view()), dtable.view(), accumulate);
      check_close("dtable", dtable, wanted, allowed);
    }
  });
}

}  // namespace

TEST_CASE_TEMPLATE("embedding: forward copies rows", T, double, float, bf16) {
  auto table = random_matrix<T>(11, 37, 1, 1, 4);
  const Ids ids = random_ids(100, 11);
  Matrix<T> y(100, 37, 3);
  run_kernel<kernel::EmbeddingForward>(device(best_isa()), ids.view(), table.view(), y.view());
  for (std::int64_t n = 0; n < 100; ++n)
    for (std::int64_t c = 0; c < 37; ++c)
      REQUIRE(value(y(n, c)) == value(table(ids.ids[static_cast<std::size_t>(n)], c)));
}

TEST_CASE("embedding: backward sums the rows of each id, over what is there or over nothing") {
  check_backward<double, double>(40, 11, 300, 1e-12);
  check_backward<float, float>(3000, 7, 129, 1e-4);
  check_backward<bf16, float>(3000, 7, 129, 1e-4);
  check_backward<bf16, bf16>(1, 5, 1, 1e-2);
  check_backward<bf16, bf16>(3000, 7, 130, 0.1);  // three roundings of partial sums around 20
}

TEST_CASE("embedding: a frequent id keeps its small gradients in a bf16 table") {
  Ids ids{std::vector<std::int32_t>(4096, 1)};
  Matrix<bf16> dy(4096, 1), dtable(2, 1);
  for (bf16& x : dy.data) x = bf16(1.0f);
  run_kernel<kernel::EmbeddingBackward>(device(best_isa()), ids.view(), View<const bf16, 2>(dy.view()), dtable.view(),
                                        false);
  CHECK(dtable(1, 0) == 4096.0f);  // added one by one, bf16 stands still at 256
  CHECK(dtable(0, 0) == 0.0f);
}

TEST_CASE("embedding: an id outside the table is an error that names it") {
  Matrix<float> table = random_matrix<float>(4, 3, 1), y(2, 3);
  const Ids high{{1, 4}}, negative{{-1, 0}};
  const Cpu cpu = device(best_isa());
  CHECK_THROWS_WITH_AS(run_kernel<kernel::EmbeddingForward>(cpu, high.view(), table.view(), y.view()),
                       "[embedding] id 4 at position 1 is outside the table of 4 rows", Error);
  CHECK_THROWS_AS(
      run_kernel<kernel::EmbeddingBackward>(cpu, negative.view(), View<const float, 2>(y.view()), table.view(), true),
      Error);
}

TEST_CASE("embedding: the same bits for any number of threads") {
  check_threads_agree([](const Cpu& cpu) {
    auto dy = random_matrix<bf16>(2000, 300, 5);
    Matrix<bf16> dtable(50, 300);
    run_kernel<kernel::EmbeddingBackward>(cpu, random_ids(2000, 50).view(), View<const bf16, 2>(dy.view()),
                                          dtable.view(), false);
    return dtable;
  });
}
