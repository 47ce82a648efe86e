// What an optimizer keeps of a parameter from step to step, and in which type.
#pragma once

#include <hone/autograd/fill_copy.hpp>
#include <hone/quant/dynamic_map.hpp>
#include <hone/tensor/optimizer_scalars.hpp>
#include <hone/tensor/tensor.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace hone {

/// The type of a parameter's moments. They are computed in fp32 whatever they are kept in.
enum class MomentType : std::uint8_t {
  full,           ///< fp32; fp64 of fp64 parameters, which have no other
  bf16,           ///< rounded by chance: see OptimizedView
  blockwise_8bit  ///< codes of 8 bits, blocks of 256 over their largest magnitude (Dettmers et al., 2022)
};

/// AdamW's name by the type of its moments, as trainers are told it; "adamw_8bit" is Hugging Face's.
inline constexpr std::array<std::string_view, 3> adamw_names = {"adamw", "adamw_bf16", "adamw_8bit"};

constexpr std::string_view adamw_name(MomentType moments) { return adamw_names[static_cast<std::size_t>(moments)]; }

/// The type of an AdamW of that name; nothing of another name.
inline std::optional<MomentType> moments_of_adamw(std::string_view name) {
  for (std::size_t i = 0; i < adamw_names.size(); ++i)
    if (adamw_names[i] == name) return static_cast<MomentType>(i);
  return std::nullopt;
}

/// A tensor of less elements keeps its moments in fp32 where others have 8 bits, as in bitsandbytes.
inline constexpr std::int64_t least_8bit_elements = 4096;

namespace detail {

/// A state of 8 bits.
template <Device D>
struct BlockwiseTensor {
  Tensor<std::uint8_t, D> codes;
  Tensor<float, D> absmax;
  Tensor<DynamicMap, D> map;  ///< one of the optimizer's two
};

template <class S, Device D>
using StateTensor = std::variant<Tensor<S, D>, Tensor<bf16, D>, BlockwiseTensor<D>>;

/// The maps of states of 8 bits, with a sign and without; undefined where nothing has 8 bits.
template <Device D>
Tensor<DynamicMap, D> dynamic_maps(const D& device) {
  static constexpr std::array<DynamicMap, 2> both = {dynamic_map_of(true), dynamic_map_of(false)};
  return Tensor<DynamicMap, D>::from(device, {2}, both, {Category::optimizer, "dynamic maps"});
}

/// A state of zeros. `maps` is made with the first that needs it; the first state of a parameter has a sign.
template <class S, Device D>
StateTensor<S, D> zero_state(const D& device, const Shape& shape, const Label& label, MomentType type,
                             std::int64_t index, Tensor<DynamicMap, D>& maps) {
  const auto zeros = [&]<class E>(const Shape& of, E zero) {
    auto out = Tensor<E, D>::empty(device, of, label);
    fill(out, zero);
    return out;
  };
  if (std::is_same_v<S, double> || type == MomentType::full) return zeros(shape, S{0});
  if (type == MomentType::bf16) return zeros(shape, bf16(0.0f));
  if (shape.elements() < least_8bit_elements) return zeros(shape, S{0});
  if (!maps.defined()) maps = dynamic_maps(device);
  const Shape blocks{ceil_div(shape.elements(), dynamic_block)};
  return BlockwiseTensor<D>{zeros(shape, std::uint8_t{0}), zeros(blocks, 0.0f), maps.rows(index, 1)};
}

template <class S, Device D>
StateView<S> view_of(const StateTensor<S, D>& state) {
  const auto* blockwise = std::get_if<BlockwiseTensor<D>>(&state);
  if (blockwise != nullptr)
    return BlockwiseView{blockwise->codes.flat(), blockwise->absmax.flat(), blockwise->map.data()};
  if (const auto* half = std::get_if<Tensor<bf16, D>>(&state)) return half->flat();
  return std::get<Tensor<S, D>>(state).flat();
}

/// f(name, tensor) for every tensor of a state.
template <class S, Device D, class F>
void visit_tensors(const StateTensor<S, D>& state, const std::string& name, F&& f) {
  if (const auto* blockwise = std::get_if<BlockwiseTensor<D>>(&state)) {
    f(name, blockwise->codes);
    f(name + ".absmax", blockwise->absmax);
  } else if (const auto* half = std::get_if<Tensor<bf16, D>>(&state)) {
    f(name, *half);
  } else {
    f(name, std::get<Tensor<S, D>>(state));
  }
}

template <class S>
std::int64_t bytes_of_state(const StateView<S>& state) {
  if (const auto* blockwise = std::get_if<BlockwiseView>(&state))
    return bytes_of(blockwise->codes) + bytes_of(blockwise->absmax);
  if (const auto* half = std::get_if<View<bf16, 1>>(&state)) return bytes_of(*half);
  return bytes_of(std::get<View<S, 1>>(state));
}

}  // namespace detail
}  // namespace hone
