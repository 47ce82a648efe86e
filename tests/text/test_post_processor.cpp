#include <hone/text/post_processor.hpp>

#include "support/files.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace hone {

namespace {

using Ids = std::vector<std::int32_t>;

PostProcessor read(const std::string& json) {
  const auto component = parse_json(json, "p");
  return PostProcessor::from_json(component.is_null() ? nullptr : &component, "tiny.json post_processor",
                                  [](std::int32_t id) { return id < 10; });
}

std::string template_of(const std::string& single, const std::string& ids = "[1]") {
  return R"({"type": "TemplateProcessing", "single": [)" + single +
         R"(], "special_tokens": {"<s>": {"id": "<s>", "ids": )" + ids + R"(}, "</s>": {"ids": [2]}}})";
}

constexpr const char* text = R"({"Sequence": {"id": "A", "type_id": 0}})";
constexpr const char* begin = R"({"SpecialToken": {"id": "<s>", "type_id": 0}})";
constexpr const char* end = R"({"SpecialToken": {"id": "</s>", "type_id": 0}})";

}  // namespace

TEST_CASE("post-processor: templates, alone and in a sequence") {
  const auto both = template_of(std::string(begin) + "," + text + "," + end, "[1, 3]");
  CHECK(read(both).before == Ids{1, 3});
  CHECK(read(both).after == Ids{2});
  const auto nested = read(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, )" +
                           template_of(std::string(begin) + "," + text) + "," +
                           template_of(std::string(end) + "," + text + "," + end) + "]}");
  CHECK(nested.before == Ids{2, 1});
  CHECK(nested.after == Ids{2});
  CHECK(read("null").before.empty());
  CHECK(read(R"({"type": "ByteLevel", "trim_offsets": false})").before.empty());
}

TEST_CASE("post-processor: errors name the file and what is wrong") {
  const auto refusal = [](const std::string& json) { return test::message_of([&] { read(json); }); };
  CHECK(test::contains(refusal(R"({"type": "BertProcessing"})"),
                       "[tiny.json post_processor] type \"BertProcessing\" is not supported"));
  CHECK(test::contains(refusal(template_of(begin)), "no place for the text"));
  CHECK(test::contains(refusal(template_of(std::string(text) + "," + text)), "sequence A once"));
  CHECK(test::contains(refusal(template_of(std::string(begin) + "," + text, "[99]")), "id 99, which is no token"));
  CHECK(test::contains(refusal(template_of(std::string(begin) + "," + text, "[-1]")), "-1"));
  CHECK(test::contains(refusal(template_of(R"({"SpecialToken": {"id": "<x>"}})")), "\"<x>\" is missing"));
  CHECK(test::contains(refusal(R"({"type": "TemplateProcessing"})"), "\"single\" is missing"));
}

}  // namespace hone
