#include <hone/optim/schedule.hpp>

#include <doctest/doctest.h>

using hone::Schedule;
using hone::ScheduleKind;

namespace {
Schedule of(ScheduleKind kind, double floor = 0) {
  return {.kind = kind, .learning_rate = 2, .total_steps = 100, .warmup_steps = 10, .min_lr_ratio = floor};
}
}  // namespace

TEST_CASE("schedule: every kind warms up in a line that starts above zero") {
  for (const auto kind :
       {ScheduleKind::constant, ScheduleKind::linear, ScheduleKind::cosine, ScheduleKind::warmup_stable_decay}) {
    const auto schedule = of(kind, 0.1);
    CHECK(schedule.at(1) == doctest::Approx(2.0 / 11));
    CHECK(schedule.at(10) == doctest::Approx(20.0 / 11));
    CHECK(schedule.at(11) == doctest::Approx(2));
    CHECK(schedule.at(0) == schedule.at(1));
    for (std::int64_t step = 12; step < 130; ++step) {
      CHECK(schedule.at(step) <= schedule.at(step - 1) + 1e-12);
      CHECK(schedule.at(step) >= 0.2 - 1e-12);
    }
  }
}

TEST_CASE("schedule: known points and the floor") {
  CHECK(of(ScheduleKind::constant).at(500) == 2.0);
  CHECK(of(ScheduleKind::linear).at(56) == doctest::Approx(1));
  CHECK(of(ScheduleKind::linear, 0.1).at(56) == doctest::Approx(1.1));
  CHECK(of(ScheduleKind::cosine).at(56) == doctest::Approx(1));
  CHECK(of(ScheduleKind::cosine).at(41) == doctest::Approx(1.5));  // cos(pi / 3) = 1/2
  for (const auto kind : {ScheduleKind::linear, ScheduleKind::cosine, ScheduleKind::warmup_stable_decay}) {
    CHECK(of(kind, 0.25).at(101) == doctest::Approx(0.5));
    CHECK(of(kind, 0.25).at(1000) == doctest::Approx(0.5));
    CHECK(of(kind).at(101) == doctest::Approx(0));
    CHECK(of(kind).at(100) > 0);
  }
}

TEST_CASE("schedule: warmup_stable_decay holds, then falls over its share of all steps") {
  auto schedule = of(ScheduleKind::warmup_stable_decay);
  schedule.decay_ratio = 0.2;
  CHECK(schedule.at(40) == 2.0);
  CHECK(schedule.at(81) == doctest::Approx(2));
  CHECK(schedule.at(91) == doctest::Approx(1));
  CHECK(schedule.at(96) == doctest::Approx(0.5));
  schedule.decay_ratio = 0;
  CHECK(schedule.at(100) == 2.0);
}

TEST_CASE("schedule: short runs") {
  CHECK(Schedule{.learning_rate = 2, .total_steps = 1}.at(1) == 2.0);
  CHECK(Schedule{.learning_rate = 2, .total_steps = 1, .warmup_steps = 5}.at(1) == 1.0);
  CHECK(Schedule{.learning_rate = 2, .total_steps = 3, .warmup_steps = 3}.at(3) == 1.5);
}

TEST_CASE("schedule: names") {
  CHECK(hone::schedule_named("cosine") == ScheduleKind::cosine);
  CHECK(hone::schedule_named("wsd") == ScheduleKind::warmup_stable_decay);
  CHECK(hone::schedule_named("constant_with_warmup") == ScheduleKind::constant);
  CHECK_THROWS_WITH(hone::schedule_named("exp"),
                    "lr_scheduler: 'exp' is not known; choose cosine, linear, constant or warmup_stable_decay");
}
