#include <hone/io/json.hpp>

#include <doctest/doctest.h>

#include <string>

#include "support/files.hpp"

using hone::parse_json;

using hone::test::contains;
using hone::test::message_of;

TEST_CASE("json: values of every kind survive") {
  const auto value =
      parse_json(R"( {"a":[1,-2,3.5,true,false,null,"x\u00e9"],"b":{"c":{}},"d":18446744073709551615} )", "t");
  CHECK(value ==
        nlohmann::json::parse(R"({"a":[1,-2,3.5,true,false,null,"xé"],"b":{"c":{}},"d":18446744073709551615})"));
  CHECK(parse_json("7", "t") == 7);
  CHECK(parse_json("[]", "t").is_array());
}

TEST_CASE("json: a key given twice is refused with file and byte") {
  const auto text = message_of([] { parse_json(R"({"a":1,"b":{"k":1,"k":2}})", "config.json"); });
  CHECK(contains(text, "[config.json] byte 21"));
  CHECK(contains(text, "\"k\" is given twice"));
  CHECK_NOTHROW(parse_json(R"([{"k":1},{"k":2}])", "t"));
}

TEST_CASE("json: malformed texts are refused with the byte") {
  for (const auto* bad :
       {"", "{", "[1,]", "{\"a\" 1}", "nul", "[1] 2", "{\"a\":1}}", "\"\xff\"", "[1e999]", "\"a\nb\""}) {
    CAPTURE(bad);
    const auto text = message_of([&] { parse_json(bad, "f.json"); });
    CHECK(contains(text, "[f.json] byte "));
    CHECK(contains(text, "not valid JSON"));
  }
  CHECK(
      contains(message_of([] { parse_json(std::string("[1]\0[2]", 7), "f"); }), "byte 4: not valid JSON: a NUL byte"));
  CHECK(contains(message_of([] { parse_json("[1, x]", "f"); }), "byte 5:"));
}

TEST_CASE("json: depth is bounded at 64") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK_NOTHROW(parse_json(nested(64), "t"));
  CHECK(contains(message_of([&] { parse_json(nested(65), "t"); }), "deeper than 64"));
  CHECK(contains(message_of([] { parse_json(std::string(1000000, '['), "t"); }), "byte 65"));
}

TEST_CASE("json: getters check kind and range and name file and key") {
  const auto value = parse_json(
      R"({"i":5,"big":18446744073709551615,"f":2.5,"s":"x","b":true,"n":null,"a":[1],"o":{"k":1}})", "c.json");
  CHECK(hone::get_int(value, "i", "c.json", 1, 5) == 5);
  CHECK(hone::get_double(value, "i", "c.json") == 5.0);
  CHECK(hone::get_double(value, "f", "c.json", 0, 3) == 2.5);
  CHECK(hone::get_string(value, "s", "c.json") == "x");
  CHECK(hone::get_bool(value, "b", "c.json"));
  CHECK(hone::get_array(value, "a", "c.json").size() == 1);
  CHECK(hone::get_object(value, "o", "c.json").size() == 1);
  CHECK(hone::find_int(value, "n", "c.json") == std::nullopt);
  CHECK(hone::find_string(value, "absent", "c.json").value_or("d") == "d");
  CHECK(hone::find_double(value, "f", "c.json") == 2.5);
  CHECK(hone::find_bool(value, "absent", "c.json") == std::nullopt);

  CHECK(message_of([&] { hone::get_int(value, "i", "c.json", 6, 9); }) == "[c.json] \"i\" is 5; 6 to 9 was expected");
  CHECK(message_of([&] { hone::get_int(value, "big", "c.json"); }).find("18446744073709551615") != std::string::npos);
  CHECK(message_of([&] { hone::get_int(value, "f", "c.json"); }) == "[c.json] \"f\" is 2.5; an integer was expected");
  CHECK(message_of([&] { hone::get_bool(value, "s", "c.json"); }) ==
        "[c.json] \"s\" is \"x\"; true or false was expected");
  CHECK(message_of([&] { hone::get_string(value, "a", "c.json"); }) ==
        "[c.json] \"a\" is an array; a string was expected");
  CHECK(message_of([&] { hone::get_int(value, "n", "c.json"); }) == "[c.json] \"n\" is missing");
  CHECK(message_of([&] { hone::find_int(value, "s", "c.json"); }) ==
        "[c.json] \"s\" is \"x\"; an integer was expected");
  CHECK(contains(message_of([&] { hone::get_double(value, "f", "c.json", 3, 4); }), "3 to 4"));
  CHECK(contains(message_of([&] { hone::get_int(value["a"], "x", "c.json"); }), "not in an object"));
  CHECK(contains(message_of([&] { hone::get_object(value, "a", "c.json"); }), "an object was expected"));
}

TEST_CASE("json: files that are missing, folders or unreadable are sentences") {
  const hone::test::TemporaryFolder folder;
  hone::test::put(folder / "ok.json", R"({"a":1})");
  CHECK(hone::read_json_file(folder / "ok.json")["a"] == 1);
  const auto missing = (folder / "none.json").string();
  CHECK(message_of([&] { hone::read_json_file(missing); }) ==
        "[" + missing + "] cannot be opened: No such file or directory");
  CHECK(contains(message_of([&] { hone::read_json_file(folder.path()); }), "is a folder"));
  CHECK(contains(message_of([&] { hone::read_json_file("/dev/null"); }), "not a regular file"));
  CHECK(contains(message_of([&] { hone::read_file(folder / "ok.json", 3); }), "has 7 bytes; at most 3"));
}
