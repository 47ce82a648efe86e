// The ladders of RMSNorm and cross-entropy: every rung is right, and does what its head comment predicts.
#include "every_device.hpp"

#include <hone/study/cross_entropy.cuh>
#include <hone/study/rms_norm.cuh>

#include <doctest/doctest.h>

using namespace hone;
using namespace hone::test;

namespace {

/// One rung on (rows, cols) random values; what it wrote and what it was counted to do.
template <class T>
struct Climb {
  Climb(StudyRung<StudyRmsNorm<T>> rung, std::int64_t rows, std::int64_t cols) {
    auto device = poisoned_device<Emu>();
    const auto x = random_tensor<T, Emu>({rows, cols}, 1, -2, 2, device);
    const auto weight = random_tensor<T, Emu>({cols}, 2, -1, 1, device);
    const auto y = Tensor<T, Emu>::empty(device, {rows, cols});
    const emulator::WithSettings settings({.count_requests = true});
    emulator::counters() = {};
    rung(device,
         {rows_of(x.template in<2>()), weight.template in<1>().data, 1e-5f, rows_of(y.template view<2>()), rows, cols});
    counted = emulator::counters();
    const auto xs = x.to_vector(), ws = weight.to_vector(), ys = y.to_vector();
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto at = [&](std::int64_t col) {
        return static_cast<double>(xs[static_cast<std::size_t>(row * cols + col)]);
      };
      double squares = 0;
      for (std::int64_t col = 0; col < cols; ++col) squares += at(col) * at(col);
      const double r = 1 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
      for (std::int64_t col = 0; col < cols; ++col)
        wanted.push_back(at(col) * r * static_cast<double>(ws[static_cast<std::size_t>(col)]));
    }
    got.assign(ys.begin(), ys.end());
  }
  std::vector<double> got, wanted;
  emulator::Counters counted;

  double wanted_share() const {
    return static_cast<double>(counted.global_load_bytes) / (32.0 * static_cast<double>(counted.global_load_sectors));
  }
};

/// One rung of cross-entropy on logits in [-8, 8].
struct LossClimb {
  LossClimb(StudyRung<StudyCrossEntropy<float>> rung, std::int64_t rows, std::int64_t vocab) {
    auto device = poisoned_device<Emu>();
    const auto logits = random_tensor<float, Emu>({rows, vocab}, 1, -8, 8, device);
    std::vector<std::int32_t> targets;
    for (std::int64_t row = 0; row < rows; ++row) targets.push_back(static_cast<std::int32_t>(row * 37 % vocab));
    const auto ids = Tensor<std::int32_t, Emu>::from(device, {rows}, targets);
    const auto losses = Tensor<float, Emu>::empty(device, {rows});
    const auto z = logits.to_vector();
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto at = [&](std::int64_t col) {
        return static_cast<double>(z[static_cast<std::size_t>(row * vocab + col)]);
      };
      const std::int64_t target = targets[static_cast<std::size_t>(row)];
      double sum = 0;
      for (std::int64_t col = 0; col < vocab; ++col) sum += std::exp(at(col));
      wanted_losses.push_back(std::log(sum) - at(target));
      for (std::int64_t col = 0; col < vocab; ++col)
        wanted.push_back(std::exp(at(col)) / sum - (col == target ? 1 : 0));
    }
    const emulator::WithSettings settings({.order = emulator::settings().order, .count_requests = true});
    emulator::counters() = {};
    rung(device, {rows_of(logits.view<2>()), ids.in<1>().data, losses.view<1>().data, rows, vocab});
    counted = emulator::counters();
    const auto gradient = logits.to_vector(), each = losses.to_vector();
    got.assign(gradient.begin(), gradient.end());
    got_losses.assign(each.begin(), each.end());
  }
  std::vector<double> got, wanted, got_losses, wanted_losses;
  emulator::Counters counted;
};

}  // namespace

TEST_CASE("study: every rung of cross-entropy is right, in every order of threads") {
  for (const auto rung : cross_entropy_rungs<float>)
    for (const auto order : {emulator::Order::forward, emulator::Order::reversed, emulator::Order::seeded}) {
      const emulator::WithSettings settings({.order = order});
      const LossClimb climb(rung, 3, 1000);
      CHECK(near<float>(climb.got, climb.wanted, "gradient"));
      CHECK(near<float>(climb.got_losses, climb.wanted_losses, "loss"));
    }
}

TEST_CASE("study: cross-entropy's rungs do what their comments predict") {
  constexpr std::int64_t rows = 4, vocab = 2048, row_bytes = 4 * vocab;
  const LossClimb three(&cross_entropy_01<float>, rows, vocab), online(&cross_entropy_02<float>, rows, vocab),
      vectors(&cross_entropy_03<float>, rows, vocab);
  const std::int64_t few = 2048;  // targets, and the logit of the target
  CHECK(three.counted.global_load_bytes - 3 * rows * row_bytes < few * rows);
  CHECK(three.counted.global_load_bytes >= 3 * rows * row_bytes);
  CHECK(online.counted.global_load_bytes - 2 * rows * row_bytes < few * rows);
  CHECK(vectors.counted.global_load_bytes == online.counted.global_load_bytes);
  CHECK(online.counted.global_store_requests - rows == 4 * (vectors.counted.global_store_requests - rows));
}

TEST_CASE_TEMPLATE("study: every rung of RMSNorm is right, in every order of threads", T, float, bf16) {
  for (const auto rung : rms_norm_rungs<T>)
    for (const auto order : {emulator::Order::forward, emulator::Order::reversed, emulator::Order::seeded}) {
      const emulator::WithSettings settings({.order = order});
      const Climb<T> climb(rung, 37, 264);
      CHECK(near<T>(climb.got, climb.wanted, "rms_norm"));
    }
}

TEST_CASE("study: RMSNorm's rungs do what their comments predict") {
  const Climb<bf16> thread(&rms_norm_01<bf16>, 32, 256), block(&rms_norm_02<bf16>, 32, 256),
      warp(&rms_norm_03<bf16>, 32, 256);
  CHECK(thread.wanted_share() < 0.12);  // 1/16 of x, and a weight that all rows share
  CHECK(block.wanted_share() == 1.0);
  CHECK(warp.wanted_share() == 1.0);
  CHECK(thread.counted.barriers == 0);
  CHECK(block.counted.barriers == 2 * 32);
  CHECK(warp.counted.barriers == 0);
  CHECK(block.counted.global_load_sectors == warp.counted.global_load_sectors);
  CHECK(block.counted.global_load_requests == 8 * warp.counted.global_load_requests);
}
