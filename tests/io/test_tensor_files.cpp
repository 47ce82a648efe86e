#include <hone/io/tensor_files.hpp>

#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <hone/io/safetensors_writer.hpp>

#include "support/data.hpp"
#include "support/files.hpp"

using hone::DType;
using hone::TensorFiles;
using hone::test::contains;
using hone::test::get;
using hone::test::message_of;
using hone::test::put;

namespace {

/// A folder with tensors a (2, 2) and b (3,) in a shard each.
void save_two_shards(const std::filesystem::path& folder) {
  hone::save_tensors(folder, {{"a", DType::f32, {2, 2}}, {"b", DType::f32, {3}}},
                     [](const hone::TensorDeclaration&, hone::TensorSink& sink) {
                       const std::array<float, 4> values{1, 2, 3, 4};
                       sink.write(values.data(), sink.left() / 4);
                     },
                     {.max_shard_size = 16});
}

void replace_in_index(const std::filesystem::path& folder, const std::string& from, const std::string& to) {
  const auto path = folder / "model.safetensors.index.json";
  auto text = get(path);
  REQUIRE(contains(text, from));
  put(path, text.replace(text.find(from), from.size(), to));
}

std::string open_error(const std::filesystem::path& folder) {
  return message_of([&] { TensorFiles files(folder); });
}

}  // namespace

TEST_CASE("tensor_files: shards are listed and read by name, also after release and move") {
  const hone::test::TemporaryFolder folder;
  save_two_shards(folder.path());
  TensorFiles first(folder.path());
  const TensorFiles files = std::move(first);
  CHECK(files.names() == std::vector<std::string>{"a", "b"});
  CHECK(files.shard_count() == 2);
  CHECK(files.shard_of("b") == 1);
  std::array<float, 3> b{};
  files.read_into("b", b.data(), 3);
  CHECK(b == std::array<float, 3>{1, 2, 3});
  files.release(0);
  files.release();
  std::array<hone::bf16, 8> wide{};
  files.read_into("a", hone::View<hone::bf16, 2>{wide.data(), {2, 2}, 4});
  CHECK(float{wide[1]} == 2.0f);
  CHECK(float{wide[2]} == 0.0f);
  CHECK(float{wide[5]} == 4.0f);
}

TEST_CASE("tensor_files: wrong names, shapes and counts name file and tensor") {
  const hone::test::TemporaryFolder folder;
  save_two_shards(folder.path());
  const TensorFiles files(folder.path());
  std::array<float, 9> out{};
  CHECK(message_of([&] { files.bytes("c"); }) == "[" + folder.path().string() + "] has no tensor 'c' (2 others)");
  const auto shard = (folder / "model-00001-of-00002.safetensors").string();
  CHECK(message_of([&] {
          files.read_into("a", hone::View<float, 2>{out.data(), {3, 3}, 3});
        }) == "[" + shard + "] tensor 'a' has shape (2, 2); (3, 3) was expected");
  CHECK(message_of([&] {
          files.read_into("a", hone::View<float, 1>{out.data(), {4}, 1});
        }) == "[" + shard + "] tensor 'a' has shape (2, 2); (4,) was expected");
  CHECK(message_of([&] { files.read_into("a", out.data(), 5); }) ==
        "[" + shard + "] tensor 'a' has 4 elements; 5 were expected");
}

TEST_CASE("tensor_files: a broken sharded folder is a sentence") {
  const hone::test::TemporaryFolder folder;
  const auto& path = folder.path();
  save_two_shards(path);
  SUBCASE("missing shard") {
    std::filesystem::remove(path / "model-00002-of-00002.safetensors");
    CHECK(contains(open_error(path),
                   "model-00002-of-00002.safetensors] is missing; model.safetensors.index.json names it"));
  }
  SUBCASE("index names a tensor the shard lacks") {
    replace_in_index(path, "\"b\"", "\"zz\"");
    CHECK(contains(open_error(path), "model-00002-of-00002.safetensors] lacks tensor 'zz'"));
  }
  SUBCASE("tensor in two shards") {
    std::filesystem::copy_file(path / "model-00002-of-00002.safetensors", path / "model-00003.safetensors");
    replace_in_index(path, "\"a\": \"model-00001-of-00002.safetensors\"",
                     "\"b\": \"model-00003.safetensors\", \"a\": \"model-00001-of-00002.safetensors\"");
    CHECK(contains(open_error(path), "\"b\" is given twice"));
    auto text = get(path / "model-00003.safetensors");
    text.replace(text.find("\"b\""), 3, "\"c\"");
    put(path / "model-00001-of-00002.safetensors", get(path / "model-00002-of-00002.safetensors"));
    put(path / "model.safetensors.index.json",
        R"({"weight_map":{"b":"model-00001-of-00002.safetensors","c":"model-00003.safetensors"}})");
    put(path / "model-00003.safetensors", text);
    CHECK_NOTHROW(TensorFiles{path});
    put(path / "model.safetensors.index.json", R"({"weight_map":{"b":"model-00001-of-00002.safetensors"}})");
    CHECK_NOTHROW(TensorFiles{path});
    hone::write_safetensors(path / "model-00003.safetensors", {{"c", DType::u8, {0}}, {"b", DType::u8, {0}}},
                            [](const auto&, auto&) {});
    put(path / "model.safetensors.index.json",
        R"({"weight_map":{"b":"model-00001-of-00002.safetensors","c":"model-00003.safetensors"}})");
    CHECK(contains(open_error(path),
                   "model-00003.safetensors] tensor 'b' is in model-00001-of-00002.safetensors as well"));
  }
  SUBCASE("shard names that leave the folder") {
    for (const std::string bad :
         {"../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\\\b", "a\\u0000b"}) {
      CAPTURE(bad);
      put(path / "model.safetensors.index.json", "{\"weight_map\":{\"a\":\"" + bad + "\"}}");
      CHECK(contains(open_error(path), "is not a plain file name"));
    }
  }
  SUBCASE("index of the wrong kind") {
    for (const std::string bad :
         {"[]", "{}", R"({"weight_map":{}})", R"({"weight_map":{"a":1}})", R"({"weight_map":[]})", ""}) {
      CAPTURE(bad);
      put(path / "model.safetensors.index.json", bad);
      CHECK(contains(open_error(path), "model.safetensors.index.json]"));
    }
  }
}

TEST_CASE("tensor_files: folders without safetensors say why") {
  const hone::test::TemporaryFolder folder;
  CHECK(contains(open_error(folder.path()), "has neither model.safetensors nor model.safetensors.index.json"));
  CHECK(contains(open_error(folder / "none"), "does not exist"));
  put(folder / "pytorch_model.bin", "x");
  CHECK(contains(open_error(folder.path()), "pytorch_model.bin] is a Python pickle"));
  CHECK(contains(open_error(folder.path()), "safe_serialization=True"));
  CHECK(contains(open_error(folder / "pytorch_model.bin"), "is a Python pickle"));
  CHECK(contains(message_of([&] { TensorFiles files(folder.path(), "adapter_model"); }), "AutoPeftModelForCausalLM"));
}

TEST_CASE("tensor_files: the finite check names tensor and element") {
  const auto data = hone::test::shared_data();
  if (!data) return hone::test::skip("tensor_files: finite check", "no shared data");
  const TensorFiles files(*data / "malformed" / "safetensors" / "nan_weights.safetensors");
  CHECK(contains(message_of([&] { files.check_finite("a"); }), "tensor 'a': element 0 is nan"));
  std::array<float, 4> values{};
  files.read_into("a", values.data(), 4);
  CHECK(values[3] == 1.401298464324817e-45f);
}

TEST_CASE("tensor_files: the real checkpoint is finite and converts") {
  const auto data = hone::test::shared_data();
  if (!data) return hone::test::skip("tensor_files: real checkpoint", "no shared data");
  const TensorFiles files(*data / "stories260K");
  std::int64_t elements = 0;
  for (const auto& name : files.names()) {
    files.check_finite(name);
    const auto count = files.shape(name).elements();
    elements += count;
    std::vector<float> single(static_cast<std::size_t>(count));
    std::vector<double> wide(single.size());
    files.read_into(name, single.data(), count);
    files.read_into(name, wide.data(), count);
    bool equal = true;
    for (std::size_t i = 0; i < wide.size(); ++i) equal = equal && wide[i] == double{single[i]};
    CHECK(equal);
  }
  CHECK(elements == 260032);
}
