#include <hone/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/data.hpp"
#include "support/files.hpp"

using hone::parse_safetensors;
using hone::SafetensorsError;
using hone::SafetensorsHeader;
using hone::test::contains;

namespace {

std::string with_length(const std::string& json, const std::string& data = "") {
  std::string out;
  for (unsigned i = 0; i < 8; ++i) out += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return out + json + data;
}

SafetensorsHeader parse(const std::string& file) { return parse_safetensors(hone::as_bytes(file), "w.safetensors"); }

/// The kind of the refusal; "accept" when there is none.
std::string kind_of(const std::string& file, std::string* message = nullptr) {
  try {
    parse(file);
  } catch (const SafetensorsError& error) {
    if (message != nullptr) *message = error.what();
    CHECK(contains(error.what(), "[w.safetensors] " + error.kind + ": "));
    return error.kind;
  }
  return "accept";
}

}  // namespace

TEST_CASE("safetensors: the malformed files get the outcome their manifest states") {
  const auto data = hone::test::shared_data();
  if (!data) return hone::test::skip("safetensors: malformed files", "no shared data");
  const auto manifest = hone::read_json_file(*data / "malformed" / "manifest.json");
  int seen = 0;
  for (const auto& item : manifest) {
    const auto file = item["file"].get<std::string>();
    if (!file.starts_with("safetensors/")) continue;
    ++seen;
    const auto expected = item["expect"].get<std::string>();
    CAPTURE(file);
    std::string message;
    const auto kind = kind_of(hone::test::get(*data / "malformed" / file), &message);
    CAPTURE(message);
    if (expected == "accept" || expected.starts_with("load"))
      CHECK(kind == "accept");
    else if (expected.starts_with("reject") && !contains(expected, "accept"))
      CHECK(kind != "accept");
    else if (!contains(expected, " ") && !contains(expected, "-"))
      CHECK(kind == expected);
    if (kind != "accept" && contains(kind, "Offset")) CHECK(contains(message, "tensor '"));
  }
  CHECK(seen == 24);
}

TEST_CASE("safetensors: what is left open by the manifest is decided") {
  const auto data = hone::test::shared_data();
  if (!data) return hone::test::skip("safetensors: open outcomes", "no shared data");
  const auto folder = *data / "malformed" / "safetensors";
  CHECK(kind_of(hone::test::get(folder / "shape_zero_times_huge.safetensors")) == "ValidationOverflow");
  const auto nul = parse(hone::test::get(folder / "name_nul_escape.safetensors"));
  REQUIRE(nul.entries.size() == 1);
  CHECK(nul.entries[0].name == std::string("a\0b", 3));
}

TEST_CASE("safetensors: a good file gives entries, metadata and data") {
  const hone::test::TemporaryFolder folder;
  const auto path = folder / "w.safetensors";
  hone::test::put(path,
                  with_length(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I16","shape":[2],"data_offsets":[4,8]},)"
                              R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"extra":[{"k":[1]},null]}}  )",
                              "wxyzabcd"));
  const hone::SafetensorsFile file(path);
  REQUIRE(file.entries().size() == 2);
  CHECK(file.entries()[0].name == "a");
  CHECK(file.metadata().at("format") == "pt");
  const auto* b = file.find("b");
  REQUIRE(b != nullptr);
  CHECK(b->dtype("f") == hone::DType::i16);
  CHECK(b->shape("f") == hone::Shape{2});
  CHECK(hone::as_text(file.bytes(*b)) == "abcd");
  CHECK(file.find("a")->shape("f") == hone::Shape{});
  CHECK(file.find("c") == nullptr);
}

TEST_CASE("safetensors: kinds of refusal") {
  const auto tensor = [](const std::string& body, std::size_t bytes) {
    return with_length("{\"a\":" + body + "}", std::string(bytes, '\0'));
  };
  const std::string malformed = "InvalidHeaderDeserialization";
  CHECK(kind_of(with_length("{}")) == "accept");
  CHECK(kind_of(with_length("{}") + "x") == "MetadataIncompleteBuffer");
  CHECK(kind_of(with_length("\xef\xbb\xbf{}")) == "InvalidHeaderStart");
  CHECK(kind_of(with_length("")) == "InvalidHeaderStart");
  CHECK(kind_of(with_length("{\"\xff\":1}")) == "InvalidHeader");
  CHECK(kind_of(with_length(std::string("{}\0{}", 5))) == malformed);
  CHECK(kind_of(with_length("{}{}")) == malformed);
  CHECK(kind_of(with_length(R"({"__metadata__":{"k":1}})")) == malformed);
  CHECK(kind_of(with_length(R"({"__metadata__":{"k":"1","k":"2"}})")) == malformed);
  CHECK(kind_of(with_length(R"({"__metadata__":null})")) == "accept");
  CHECK(kind_of(tensor("5", 0)) == malformed);
  CHECK(kind_of(tensor("[\"F32\",[1],[0,4]]", 4)) == malformed);
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,4]})", 4)) == malformed);
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", 4)) == malformed);
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]})", 4)) == malformed);
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4)) == malformed);
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[[1]],"data_offsets":[0,4]})", 4)) == malformed);
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4)) == "InvalidOffset");
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[1099511627776,1099511627776,0],"data_offsets":[0,0]})", 0)) ==
        "ValidationOverflow");
  CHECK(kind_of(tensor(R"({"dtype":"F4","shape":[4],"data_offsets":[0,2]})", 2)) == "accept");
  CHECK(
      kind_of(with_length(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          "xy")) == malformed);
  std::string message;
  CHECK(kind_of(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})", 4), &message) == "TensorInvalidInfo");
  CHECK(message ==
        "[w.safetensors] TensorInvalidInfo: tensor 'a', header byte 61: F32 (2) takes 8 bytes, "
        "data_offsets [0, 4] give 4");
}

TEST_CASE("safetensors: types and ranks hone lacks are refused when the tensor is used") {
  const auto header = parse(with_length(
      R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1,1,1,1,1,1],"data_offsets":[2,3]}})",
      "xyz"));
  CHECK(hone::test::message_of([&] { header.entries[0].dtype("f"); }) ==
        "[f] tensor 'a' has element type F8_E4M3, which hone does not compute with");
  CHECK(hone::test::message_of([&] { header.entries[1].shape("f"); }) ==
        "[f] tensor 'b' has rank 6; hone's tensors have at most 5");
  CHECK(header.entries[1].dtype("f") == hone::DType::u8);
}

TEST_CASE("safetensors: every truncation of a valid file is refused") {
  const std::string file = with_length(
      R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}})",
      std::string(22, 'x'));
  CHECK(kind_of(file) == "accept");
  for (std::size_t size = 0; size < file.size(); ++size) {
    const auto kind = kind_of(file.substr(0, size));
    if (kind == "accept") FAIL("accepted after ", size, " bytes");
  }
}

namespace {

using Random = std::mt19937_64;

std::int64_t below(Random& random, std::int64_t end) {
  return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(end));
}

std::string random_name(Random& random) {
  static const std::vector<std::string> pieces{
      "model", ".", "weight", "\"", "\\", "\xc3\xa9", "\xf0\x9f\x98\x80", "7", " ", "\n", std::string(1, '\0')};
  std::string name;
  for (auto left = below(random, 6); left >= 0; --left)
    name += pieces[static_cast<std::size_t>(below(random, std::int64_t(pieces.size())))];
  return name;
}

struct RandomFile {
  nlohmann::json header = nlohmann::json::object();
  std::int64_t bytes = 0;
};

RandomFile random_file(Random& random) {
  RandomFile out;
  std::set<std::string> names;
  for (auto left = below(random, 8); left > 0; --left) {
    const auto name = random_name(random);
    if (!names.insert(name).second) continue;
    const auto& type = hone::safetensors_types[static_cast<std::size_t>(below(random, 19))];  // the whole-byte types
    std::vector<std::int64_t> shape;
    std::int64_t size = type.bits / 8;
    for (auto rank = below(random, 5); rank > 0; --rank) size *= shape.emplace_back(below(random, 4));
    out.header[name] = {{"dtype", type.name}, {"shape", shape}, {"data_offsets", {out.bytes, out.bytes + size}}};
    out.bytes += size;
  }
  return out;
}

}  // namespace

TEST_CASE("safetensors: random headers are read back as they were meant") {
  Random random(7);
  for (int round = 0; round < 4000; ++round) {
    const auto wanted = random_file(random);
    const auto text = wanted.header.dump(random() % 2 == 0 ? -1 : 1) + std::string(random() % 9, ' ');
    const auto header = parse(with_length(text, std::string(static_cast<std::size_t>(wanted.bytes), 'd')));
    REQUIRE(header.entries.size() == wanted.header.size());
    for (const auto& entry : header.entries) {
      const auto& json = wanted.header.at(entry.name);
      const bool same = json["dtype"] == entry.type->name && json["shape"] == entry.extents &&
                        json["data_offsets"][0] == entry.begin && json["data_offsets"][1] == entry.begin + entry.bytes;
      if (!same) FAIL("entry ", hone::printable(entry.name), " differs in ", text);
    }
  }
}

TEST_CASE("safetensors: random damage gives an answer or an Error, never more") {
  Random random(11);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    const auto good = random_file(random);
    auto file = with_length(good.header.dump(), std::string(static_cast<std::size_t>(good.bytes), 'd'));
    for (auto left = 1 + below(random, 3); left > 0; --left) {
      const auto at = static_cast<std::size_t>(below(random, std::int64_t(file.size())));
      switch (random() % 4) {
        case 0:
          file[at] = static_cast<char>(random());
          break;
        case 1:
          file.erase(at, 1 + random() % 4);
          break;
        case 2:
          file.insert(at, 1, "{}[]\",:09"[random() % 9]);
          break;
        default:
          file[at] = static_cast<char>(file[at] ^ (1 << random() % 8));
          break;
      }
      if (file.empty()) break;
    }
    try {
      const auto header = parse(file);
      std::int64_t total = 0;
      for (const auto& entry : header.entries) total += entry.bytes;
      if (header.data_start + total != std::int64_t(file.size())) FAIL("data does not fill the file");
    } catch (const SafetensorsError&) {
      ++refused;
    }
  }
  CHECK(refused > 10000);
}

TEST_CASE("safetensors: the real checkpoint lists its tensors") {
  const auto data = hone::test::shared_data();
  if (!data) return hone::test::skip("safetensors: real checkpoint", "no shared data");
  const hone::SafetensorsFile file(*data / "stories260K" / "model.safetensors");
  CHECK(file.entries().size() == 47);
  CHECK(file.metadata().at("format") == "pt");
  REQUIRE(file.find("model.embed_tokens.weight") != nullptr);
  CHECK(file.find("model.embed_tokens.weight")->shape("f") == hone::Shape{512, 64});
}
