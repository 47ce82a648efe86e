#include <hone/models/token_ids.hpp>

#include <doctest/doctest.h>

#include <vector>

#include "support/files.hpp"

TEST_CASE("token_ids: a number, a list, nothing") {
  const auto json = hone::parse_json(R"({"one":5,"list":[1,-1,2],"null":null,"minus":-1,"bad":-2})", "f");
  using Ids = std::vector<std::int64_t>;
  CHECK(hone::token_ids_from_json(json, "one", "f") == Ids{5});
  CHECK(hone::token_ids_from_json(json, "list", "f") == Ids{1, 2});
  CHECK(hone::token_ids_from_json(json, "null", "f").empty());
  CHECK(hone::token_ids_from_json(json, "absent", "f").empty());
  CHECK(hone::token_id_from_json(json, "minus", "f") == std::nullopt);
  CHECK(hone::token_id_from_json(json, "list", "f") == 1);
  CHECK(hone::test::contains(hone::test::message_of([&] { hone::token_id_from_json(json, "bad", "f"); }),
                             "\"bad\" is -2"));
}
