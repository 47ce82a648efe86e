#include <doctest/doctest.h>

#include <hone/eval/slot_errors.hpp>

#include <string>
#include <vector>

namespace {

using hone::Slot;
using hone::SlotVocabulary;

const std::vector<Slot> lamp = hone::parse_slots("name[Velora] | category[desk lamp] | colour[blue] | price[$24]\n");
const std::vector<SlotVocabulary> vocabularies{
    {"category", {"desk lamp", "lamp", "mug"}},
    {"colour", {"blue", "sky blue", "red"}},
    {"price", {"$24", "$249", "$30"}},
};

void check_errors(const std::string& text, std::int64_t missed, std::int64_t invented) {
  CAPTURE(text);
  const auto errors = hone::slot_errors(text, lamp, vocabularies);
  CHECK(errors.slots == 4);
  CHECK(errors.missed == missed);
  CHECK(errors.invented == invented);
}

TEST_CASE("slots are read from bracketed attributes") {
  CHECK(lamp == std::vector<Slot>{{"name", "Velora"}, {"category", "desk lamp"}, {"colour", "blue"}, {"price", "$24"}});
  CHECK(hone::parse_slots("name[The Mill, Ely], eatType[pub]") ==
        std::vector<Slot>{{"name", "The Mill, Ely"}, {"eatType", "pub"}});
  CHECK(hone::parse_slots("").empty());
  CHECK_THROWS_AS(hone::parse_slots("name[Velora"), hone::Error);
  CHECK_THROWS_AS(hone::parse_slots("name[a] | [b]"), hone::Error);
}

TEST_CASE("missed and invented attributes") {
  check_errors("The Velora is a blue desk lamp at $24.", 0, 0);
  check_errors("Blue and bright, this desk lamp costs $24: VELORA!", 0, 0);
  check_errors("The Velora is a desk lamp at $24.", 1, 0);
  check_errors("The Velora is a red desk lamp at $24.", 1, 1);
  check_errors("The Velora is a blue and red desk lamp, red all over, at $24.", 0, 1);
  check_errors("", 4, 0);
}

TEST_CASE("a value counts as whole words, and the longest value wins") {
  check_errors("The Velora is a bluebell desk lamp at $24.", 1, 0);
  check_errors("The Velora is a sky blue desk lamp at $24.", 1, 1);
  check_errors("The Velora is a blue desk lamp at $249.", 1, 1);
  check_errors("The Velora is a blue desk lamp at $24.50.", 1, 0);
  check_errors("The Velora is a blue desk lamp, a lamp for $24.", 0, 1);  // "lamp" alone is another category
}

TEST_CASE("a value said twice is no invention, nor is one inside a value asked for") {
  check_errors("The Velora is a blue desk lamp in blue at $24, yes $24.", 0, 0);
  const std::vector<Slot> lid{{"material", "steel"}, {"feature", "glass lid"}};
  const std::vector<SlotVocabulary> materials{{"material", {"steel", "glass"}}};
  const auto errors = hone::slot_errors("Steel with a glass lid.", lid, materials);
  CHECK(errors.missed == 0);
  CHECK(errors.invented == 0);
}

TEST_CASE("counts add up over a corpus") {
  hone::SlotErrors total;
  CHECK(total.rate() == 0);
  total += hone::slot_errors("The Velora is a red desk lamp at $24.", lamp, vocabularies);
  total += hone::slot_errors("The Velora is a blue desk lamp at $24.", lamp, vocabularies);
  CHECK(total.rate() == doctest::Approx(2.0 / 8.0));
}

TEST_CASE("vocabularies are collected from the rows") {
  const std::vector<std::vector<Slot>> rows{lamp, {{"colour", "red"}, {"name", "Ober"}}, {{"colour", "blue"}}};
  const auto collected = hone::collect_vocabularies(rows, std::vector<std::string>{"colour"});
  REQUIRE(collected.size() == 1);
  CHECK(collected[0].name == "colour");
  CHECK(collected[0].values == std::vector<std::string>{"blue", "red"});
}

}  // namespace
