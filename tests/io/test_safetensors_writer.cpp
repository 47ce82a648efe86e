#include <hone/io/safetensors_writer.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <hone/io/tensor_files.hpp>

#include "support/files.hpp"

using hone::bf16;
using hone::DType;
using hone::SaveOptions;
using hone::Shape;
using hone::TensorDeclaration;
using hone::TensorFiles;
using hone::TensorSink;
using hone::test::contains;
using hone::test::message_of;

namespace {

std::vector<float> ramp(std::int64_t count, float start) {
  std::vector<float> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), start);
  return out;
}

/// Hands every tensor ramp(elements, length of its name).
const auto write_ramp = [](const TensorDeclaration& tensor, TensorSink& sink) {
  const auto values = ramp(tensor.shape.elements(), static_cast<float>(tensor.name.size()));
  sink.write(values.data(), std::int64_t(values.size()));
};

void check_ramp(const TensorFiles& files, const TensorDeclaration& tensor) {
  CHECK(files.dtype(tensor.name) == tensor.dtype);
  CHECK(files.shape(tensor.name) == tensor.shape);
  std::vector<float> got(static_cast<std::size_t>(tensor.shape.elements()));
  files.read_into(tensor.name, got.data(), std::int64_t(got.size()));
  CHECK(got == ramp(tensor.shape.elements(), static_cast<float>(tensor.name.size())));
}

}  // namespace

TEST_CASE("safetensors_writer: one file, aligned, marked pt, read back") {
  const hone::test::TemporaryFolder folder;
  const std::vector<TensorDeclaration> tensors{{"a", DType::bf16, {3}},
                                               {"bb", DType::f32, {2, 5}},
                                               {"ccc", DType::f64, {1}},
                                               {"s", DType::f16, {}},
                                               {"none", DType::f32, {0, 4}}};
  const auto written = hone::save_tensors(folder.path(), tensors, write_ramp);
  CHECK(written == std::vector<std::string>{"model.safetensors"});
  const auto bytes = hone::test::get(folder / "model.safetensors");
  const auto header = hone::parse_safetensors(hone::as_bytes(bytes), "f");
  CHECK(header.data_start % 8 == 0);
  CHECK(header.metadata.at("format") == "pt");
  for (const auto& entry : header.entries) CHECK(entry.begin % (entry.type->bits / 8) == 0);
  const TensorFiles files(folder.path());
  for (const auto& tensor : tensors) check_ramp(files, tensor);
}

TEST_CASE("safetensors_writer: shards hold at most max_shard_size and the index adds up") {
  const hone::test::TemporaryFolder folder;
  std::vector<TensorDeclaration> tensors;
  for (int i = 0; i < 10; ++i) tensors.push_back({"layer." + std::to_string(i), DType::f32, {3, i}});
  tensors.push_back({"large", DType::f32, {100}});
  const auto written = hone::save_tensors(folder.path(), tensors, write_ramp, {.max_shard_size = 200});
  REQUIRE(written.size() == 6);
  CHECK(written[0] == "model-00001-of-00005.safetensors");
  CHECK(written.back() == "model.safetensors.index.json");
  CHECK_FALSE(std::filesystem::exists(folder / "model.safetensors"));
  const auto index = hone::read_json_file(folder / "model.safetensors.index.json");
  CHECK(index["metadata"]["total_size"] == 3 * 45 * 4 + 400);
  CHECK(index["weight_map"].size() == tensors.size());
  const TensorFiles files(folder.path());
  CHECK(files.shard_count() == 5);
  for (const auto& tensor : tensors) {
    check_ramp(files, tensor);
    CHECK(index["weight_map"][tensor.name] == files.shard(files.shard_of(tensor.name)).path().filename().string());
  }
  for (std::size_t i = 0; i < 5; ++i) {
    std::int64_t total = 0;
    for (const auto& entry : files.shard(i).entries()) total += entry.bytes;
    CHECK((total <= 200 || files.shard(i).entries().size() == 1));
  }
}

TEST_CASE("safetensors_writer: conversion while writing, pieces and strided views") {
  const hone::test::TemporaryFolder folder;
  const auto values = ramp(10000, 0.5f);
  const auto content = [&](const TensorDeclaration& tensor, TensorSink& sink) {
    if (tensor.name == "pieces") {
      for (std::size_t at = 0; at < values.size(); at += 2500) sink.write(values.data() + at, 2500);
    } else {
      sink.write(hone::View<const float, 2>{values.data() + 1, {4, 3}, 10});
    }
  };
  hone::write_safetensors(folder / "w.safetensors", {{"pieces", DType::bf16, {10000}}, {"view", DType::f64, {4, 3}}},
                          content);
  const TensorFiles files(folder / "w.safetensors");
  std::vector<bf16> got(10000);
  files.read_into("pieces", got.data(), 10000);
  for (std::size_t i = 0; i < got.size(); ++i) REQUIRE(got[i].bits == bf16(values[i]).bits);
  std::vector<double> view(12);
  files.read_into("view", hone::View<double, 2>{view.data(), {4, 3}, 3});
  CHECK(view == std::vector<double>{1.5, 2.5, 3.5, 11.5, 12.5, 13.5, 21.5, 22.5, 23.5, 31.5, 32.5, 33.5});
}

TEST_CASE("safetensors_writer: too much, too little and the wrong type are refused; the old file stands") {
  const hone::test::TemporaryFolder folder;
  const auto path = folder / "w.safetensors";
  hone::test::put(path, "old");
  const auto save = [&](auto content) {
    return message_of([&] { hone::write_safetensors(path, {{"t", DType::f32, {2}}}, content); });
  };
  const std::vector<float> values(3);
  const std::vector<std::int32_t> integers(2);
  CHECK(contains(save([&](const auto&, TensorSink& sink) { sink.write(values.data(), 3); }),
                 "tensor 't': 12 bytes were offered, 8 are missing"));
  CHECK(contains(save([&](const auto&, TensorSink& sink) { sink.write(values.data(), 1); }),
                 "4 of 8 bytes were not offered"));
  CHECK(contains(save([&](const auto&, TensorSink& sink) { sink.write(integers.data(), 2); }),
                 "declared as float32; int32 was offered"));
  CHECK(hone::test::get(path) == "old");
}

TEST_CASE("safetensors_writer: names that cannot be are refused") {
  const hone::test::TemporaryFolder folder;
  const auto save = [&](std::vector<TensorDeclaration> tensors, SaveOptions options = {}) {
    return message_of([&] { hone::save_tensors(folder.path(), tensors, write_ramp, options); });
  };
  CHECK(contains(save({{"__metadata__", DType::f32, {1}}}), "cannot be called __metadata__"));
  CHECK(contains(save({{"a", DType::f32, {1}}, {"a", DType::f32, {1}}}), "'a' is declared twice"));
  CHECK(contains(save({{"\xff", DType::f32, {1}}}), "is not UTF-8"));
  CHECK(contains(save({{"a", DType::f32, {1}}}, {.max_shard_size = 0}), "max_shard_size is 0"));
  CHECK(contains(save({{"a", DType::f64, {std::int64_t{1} << 62}}}), "does not fit in 64 bits"));
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("safetensors_writer: random sets of tensors survive the round trip") {
  std::mt19937 random(3);
  const std::vector<DType> types{DType::f32, DType::f64, DType::bf16, DType::f16};
  for (int round = 0; round < 60; ++round) {
    const hone::test::TemporaryFolder folder;
    std::vector<TensorDeclaration> tensors;
    for (auto i = random() % 9; i > 0; --i) {
      Shape shape;
      for (auto rank = random() % 4; rank > 0; --rank) shape.push_back(std::int64_t(random() % 4));
      tensors.push_back({std::string(i, 'x'), types[random() % 4], shape});
    }
    hone::save_tensors(folder.path(), tensors, write_ramp, {.max_shard_size = 1 + std::int64_t(random() % 200)});
    const TensorFiles files(folder.path());
    CHECK(files.names().size() == tensors.size());
    for (const auto& tensor : tensors) check_ramp(files, tensor);
  }
}
