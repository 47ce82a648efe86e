// The file of `hone tune`: which algorithm of the GEMM library multiplies which shape, for one card, driver and
// library.
#pragma once

#include <hone/io/atomic_file.hpp>
#include <hone/io/hash.hpp>
#include <hone/io/json.hpp>
#include <hone/tensor/gemm_tuning.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace hone {

namespace detail {

inline constexpr std::int64_t gemm_tuning_version = 1;
inline constexpr std::string_view first_heuristic = "first heuristic";  // the empty name, in the file

inline std::string short_text(const nlohmann::json& json, std::string_view key, std::string_view origin) {
  constexpr std::size_t longest = 100;
  std::string text = get_string(json, key, origin);
  check(!text.empty() && text.size() <= longest && printable(text) == text,
        "[{}] \"{}\" is {}; 1 to {} printable characters were expected", origin, key,
        json_summary(get_key(json, key, origin)), longest);
  return text;
}

inline DType gemm_dtype(const nlohmann::json& json, std::string_view key, std::string_view origin) {
  const std::string& name = get_string(json, key, origin);
  for (const DType type : {DType::f32, DType::bf16})
    if (name == name_of(type)) return type;
  fail("[{}] \"{}\" is '{}'; float32 or bfloat16 was expected", origin, key, printable(name));
}

inline gpu::GemmShape read_gemm_shape(const nlohmann::json& json, std::string_view origin) {
  constexpr std::int64_t most = std::int64_t{1} << 31;
  const auto count = [&](std::string_view key, std::int64_t least) { return get_int(json, key, origin, least, most); };
  gpu::GemmShape out{.a_type = gemm_dtype(json, "a_type", origin),
                     .b_type = gemm_dtype(json, "b_type", origin),
                     .c_type = gemm_dtype(json, "c_type", origin),
                     .m = count("m", 1),
                     .n = count("n", 1),
                     .k = count("k", 1),
                     .transpose_a = get_bool(json, "transpose_a", origin),
                     .transpose_b = get_bool(json, "transpose_b", origin),
                     .accumulate = get_bool(json, "accumulate", origin),
                     .workspace_bytes = count("workspace_bytes", 0)};
  out.lda = count("lda", out.transpose_a ? out.m : out.k);
  out.ldb = count("ldb", out.transpose_b ? out.k : out.n);
  out.ldc = count("ldc", out.n);
  check(gpu::is_for_library(out), "[{}] a product of {} x {} x {} is none that a GEMM library is asked for", origin,
        out.m, out.n, out.k);
  return out;
}

inline gpu::GemmChoice read_gemm_choice(const nlohmann::json& json, std::string_view origin) {
  gpu::GemmChoice out{short_text(json, "algorithm", origin), get_double(json, "milliseconds", origin, 0),
                      get_double(json, "first_milliseconds", origin, 0)};
  if (out.algorithm == first_heuristic) out.algorithm.clear();
  return out;
}

inline nlohmann::json gemm_product_json(const gpu::GemmShape& shape, const gpu::GemmChoice& choice) {
  return {{"a_type", name_of(shape.a_type)},
          {"b_type", name_of(shape.b_type)},
          {"c_type", name_of(shape.c_type)},
          {"m", shape.m},
          {"n", shape.n},
          {"k", shape.k},
          {"lda", shape.lda},
          {"ldb", shape.ldb},
          {"ldc", shape.ldc},
          {"transpose_a", shape.transpose_a},
          {"transpose_b", shape.transpose_b},
          {"accumulate", shape.accumulate},
          {"workspace_bytes", shape.workspace_bytes},
          {"algorithm", choice.algorithm.empty() ? std::string(first_heuristic) : choice.algorithm},
          {"milliseconds", choice.milliseconds},
          {"first_milliseconds", choice.first_milliseconds}};
}

}  // namespace detail

/// The table in a JSON text; `origin` names it in errors.
inline gpu::GemmTuning parse_gemm_tuning(std::string_view text, std::string_view origin) {
  constexpr std::size_t most_products = std::size_t{1} << 16;
  const auto json = parse_json(text, origin);
  const std::int64_t version = get_int(json, "hone_gemm_tuning", origin);
  check(version == detail::gemm_tuning_version, "[{}] is of version {}; this program reads version {}", origin, version,
        detail::gemm_tuning_version);
  gpu::GemmTuning out;
  out.origin = {detail::short_text(json, "card", origin), static_cast<int>(get_int(json, "sm", origin, 0, 10000)),
                static_cast<int>(get_int(json, "driver", origin, 0, 10000000)),
                detail::short_text(json, "library", origin)};
  const auto& products = get_array(json, "products", origin);
  check(products.size() <= most_products, "[{}] has {} products; at most {} were expected", origin, products.size(),
        most_products);
  std::size_t number = 0;
  for (const auto& product : products) {
    const std::string place = fmt::format("{}, product {}", origin, ++number);
    const auto shape = detail::read_gemm_shape(product, place);
    const bool fresh = out.choices.emplace(shape, detail::read_gemm_choice(product, place)).second;
    check(fresh, "[{}] a product of {} x {} x {} is given twice", place, shape.m, shape.n, shape.k);
  }
  return out;
}

inline gpu::GemmTuning read_gemm_tuning(const std::filesystem::path& path) {
  return parse_gemm_tuning(read_file(path), path.string());
}

/// The text of the file: a line a product.
inline std::string gemm_tuning_text(const gpu::GemmTuning& tuning) {
  const auto text = [](const std::string& value) { return nlohmann::json(value).dump(); };
  std::string out = fmt::format(
      "{{\"hone_gemm_tuning\": {},\n \"card\": {}, \"sm\": {}, \"driver\": {}, \"library\": {}"
      ",\n \"products\": [",
      detail::gemm_tuning_version, text(tuning.origin.card), tuning.origin.sm, tuning.origin.driver,
      text(tuning.origin.library));
  std::string_view between = "\n  ";
  for (const auto& [shape, choice] : tuning.choices) {
    out += between;
    out += detail::gemm_product_json(shape, choice).dump();
    between = ",\n  ";
  }
  return out + "]}\n";
}

inline void write_gemm_tuning(const gpu::GemmTuning& tuning, const std::filesystem::path& path) {
  write_file(path, gemm_tuning_text(tuning));
}

/// A hash over what a run's bits depend on: where the table is valid and what it chooses, not how long that took.
inline std::string hash_of(const gpu::GemmTuning& tuning) {
  Hash hash;
  gpu::GemmTuning timeless = tuning;
  for (auto& [shape, choice] : timeless.choices) choice.milliseconds = choice.first_milliseconds = 0;
  return hash.add(gemm_tuning_text(timeless)).hex();
}

}  // namespace hone
