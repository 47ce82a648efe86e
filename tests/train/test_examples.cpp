#include "rows.hpp"

using namespace hone;
using hone::test::contains;
using hone::test::message_of;
using hone::test::row;
using hone::test::tiny_tokenizer;

namespace {

const std::string prompt = "name[Coradva] | category[kettle]\n";
const std::string completion = " Meet the Coradva, a kettle.";

Example one(const Row& input, std::int64_t max_length = 1024, Truncation truncation = Truncation::drop) {
  return make_examples({input}, tiny_tokenizer(), {max_length, truncation}, "rows.jsonl").items.front();
}

/// The text of the supervised tokens, EOS left out.
std::string learned(const Example& example) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < example.ids.size(); ++i)
    if (example.supervised[i]) ids.push_back(example.ids[i]);
  return tiny_tokenizer().decode(ids);
}

std::int64_t count(const std::vector<std::int32_t>& ids, std::int32_t id) {
  return std::count(ids.begin(), ids.end(), id);
}

/// The message of reading a file with this text.
std::string refused(const std::string& text, RowFormat format = RowFormat::automatic) {
  const test::TemporaryFolder folder;
  test::put(folder / "train.jsonl", text);
  return message_of([&] { load_examples(folder / "train.jsonl", tiny_tokenizer(), {}, format); });
}

}  // namespace

TEST_CASE("examples: one BOS, the prompt masked, the completion and EOS supervised") {
  const auto& tokenizer = tiny_tokenizer();
  const auto bos = tokenizer.bos_id().value(), eos = tokenizer.eos_id().value();
  const auto example = one(row(prompt, completion));
  REQUIRE(example.ids.size() == example.supervised.size());
  CHECK(example.ids.front() == bos);
  CHECK(count(example.ids, bos) == 1);
  CHECK(example.ids.back() == eos);
  CHECK(count(example.ids, eos) == 1);
  CHECK(example.supervised.back());
  CHECK(learned(example) == completion);
  const auto seen = tokenizer.encode_with_bos(prompt);  // what generation starts from
  CHECK(std::equal(seen.begin(), seen.end(), example.ids.begin()));
  for (std::size_t i = 0; i < example.ids.size(); ++i) CHECK(example.supervised[i] == (i >= seen.size()));
  CHECK(example.supervised_tokens() == static_cast<std::int64_t>(example.ids.size() - seen.size()));
}

TEST_CASE("examples: a prompt that brings its own BOS gets no second one") {
  const auto bos = tiny_tokenizer().bos_id().value();
  const auto example = one(row("<|bos|>" + prompt, completion));
  CHECK(count(example.ids, bos) == 1);
  CHECK(example.ids == one(row(prompt, completion)).ids);
}

TEST_CASE("examples: prompt ids are those of the prompt alone, wherever the border falls") {
  const std::string text = " Meet the kettle that suits campers.";
  for (std::size_t border = 0; border + 1 < text.size(); ++border) {
    CAPTURE(border);
    const auto example = one(row(text.substr(0, border), text.substr(border)));
    const auto seen = tiny_tokenizer().encode_with_bos(text.substr(0, border));
    REQUIRE(example.ids.size() > seen.size());
    CHECK(std::equal(seen.begin(), seen.end(), example.ids.begin()));
    CHECK(learned(example) == text.substr(border));
  }
}

TEST_CASE("examples: a text row supervises everything behind BOS") {
  const auto example = one(row("", completion));
  CHECK_FALSE(example.supervised.front());
  CHECK(example.supervised_tokens() == static_cast<std::int64_t>(example.ids.size()) - 1);
  CHECK(learned(example) == completion);
}

TEST_CASE("examples: too long rows are dropped and counted, cut, or end the run") {
  const auto& tokenizer = tiny_tokenizer();
  const auto whole = one(row(prompt, completion));
  const auto length = static_cast<std::int64_t>(whole.ids.size());
  const std::vector<Row> rows = {row("a", "b", 1), row(prompt, completion, 2)};

  const auto kept = make_examples(rows, tokenizer, {length, Truncation::error}, "f");
  CHECK(kept.items.size() == 2);
  CHECK(kept.dropped + kept.truncated == 0);
  const auto dropped = make_examples(rows, tokenizer, {length - 1, Truncation::drop}, "f");
  CHECK(dropped.items.size() == 1);
  CHECK(dropped.dropped == 1);

  const auto right = make_examples(rows, tokenizer, {length - 2, Truncation::right}, "f");
  CHECK(right.truncated == 1);
  CHECK(right.items[1].ids == std::vector(whole.ids.begin(), whole.ids.end() - 2));
  CHECK(right.items[1].supervised == std::vector(whole.supervised.begin(), whole.supervised.end() - 2));
  const auto left = make_examples(rows, tokenizer, {length - 2, Truncation::left}, "f");
  auto wanted = whole.ids;
  wanted.erase(wanted.begin() + 1, wanted.begin() + 3);
  CHECK(left.items[1].ids == wanted);
  CHECK(left.items[1].ids.front() == tokenizer.bos_id());
  CHECK(learned(left.items[1]) == completion);
  const auto tiny = one(row(prompt, completion), 3, Truncation::left);
  CHECK(tiny.ids.size() == 3);
  CHECK(tiny.ids.back() == tokenizer.eos_id());

  CHECK(message_of([&] {
          make_examples(rows, tokenizer, {length - 1, Truncation::error}, "f");
        }) ==
        fmt::format("[f:2] the row has {} tokens, max_length is {} (and truncation is error)", length, length - 1));
  CHECK(contains(message_of([&] {
                   make_examples(rows, tokenizer, {4, Truncation::right}, "f");
                 }),
                 "[f:2] the row has no supervised token: truncation removed its whole completion"));
  CHECK(contains(message_of([&] {
                   make_examples({rows[1]}, tokenizer, {4, Truncation::drop}, "f");
                 }),
                 "[f] no row is left: all 1 are longer than max_length 4"));
  CHECK(contains(message_of([&] {
                   make_examples(rows, tokenizer, {1, Truncation::drop}, "f");
                 }),
                 "max_length: 1 is too short"));
}

TEST_CASE("examples: files in every format, with blank lines, CRLF and a byte order mark") {
  const test::TemporaryFolder folder;
  const auto load = [&](const std::string& text) {
    test::put(folder / "train.jsonl", text);
    return load_examples(folder / "train.jsonl", tiny_tokenizer(), {}).items;
  };
  const auto pairs = load(
      "\xef\xbb\xbf{\"prompt\": \"a\\n\", \"completion\": \" b\"}\r\n\r\n  \n"
      "{\"completion\": \" c\", \"prompt\": \"\", \"extra\": [1]}");
  REQUIRE(pairs.size() == 2);
  CHECK(learned(pairs[0]) == " b");
  CHECK(pairs[0].ids == one(row("a\n", " b")).ids);
  CHECK(pairs[1].ids == one(row("", " c")).ids);
  const auto alpaca = load(R"({"instruction": "Do it.", "input": "", "output": "Done."})");
  CHECK(learned(alpaca[0]) == "Done.");
  CHECK(learned(load(R"({"text": "All of it."})")[0]) == "All of it.");
  CHECK(
      load_examples(std::filesystem::path(HONE_SOURCE_DIR) / "examples" / "data" / "valid.jsonl", tiny_tokenizer(), {})
          .items.size() > 10);
}

TEST_CASE("examples: dirty files are refused with file and line") {
  const std::string good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
  CHECK(contains(refused(""), "train.jsonl] there is no row in this file"));
  CHECK(contains(refused("\n \n"), "train.jsonl] there is no row in this file"));
  CHECK(contains(refused(good + "\n{\"prompt\": \"a\"}\n"), "train.jsonl:3]"));
  CHECK(contains(refused(good + "\n{\"prompt\": \"a\"}\n"), "completion"));
  CHECK(contains(refused(good + "{\"prompt\": \"a\", \"completion\": 3}\n"), "train.jsonl:2]"));
  CHECK(contains(refused(good + "{\"prompt\": \"a\", \"completion\": \"\"}\n"),
                 "train.jsonl:2] the text to learn is empty"));
  CHECK(contains(refused(good + "{\"prompt\": \"a\", \"completion\": \"b\"\n"), "train.jsonl:2"));
  CHECK(contains(refused(good + good.substr(0, good.size() - 1) + "x\n"), "train.jsonl:2"));
  CHECK(contains(refused(good + "[1]\n"), "train.jsonl:2"));
  CHECK(contains(refused("{\"question\": \"a\"}\n"), "train.jsonl:1] a row needs \"prompt\" and \"completion\""));
  CHECK(
      contains(refused(good + "{\"prompt\": \"\xff\", \"completion\": \"b\"}\n"), "train.jsonl] line 2, byte 13: not"));
  CHECK(contains(refused(good, RowFormat::text), "train.jsonl:1]"));
  CHECK(contains(message_of([] { load_examples("/nowhere/train.jsonl", tiny_tokenizer(), {}); }), "train.jsonl"));
}
