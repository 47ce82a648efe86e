// KV cache: keys and values of the tokens a sequence has seen, so that a new token costs one row of attention.
#pragma once

#include <hone/autograd/fill_copy.hpp>
#include <hone/tensor/tensor.hpp>

#include <cstdint>
#include <vector>

namespace hone {

/// Keys (after RoPE) and values of one sequence, for every layer. Row t belongs to token t.
template <class T, Device D>
class KvCache {
 public:
  struct Rows {
    Tensor<T, D> k, v;  // (tokens, kv_heads * head_dim)
  };

  /// Room for `capacity` tokens of `width` = kv_heads * head_dim columns.
  KvCache(const D& device, std::int64_t layers, std::int64_t capacity, std::int64_t width) : capacity_(capacity) {
    for (std::int64_t layer = 0; layer < layers; ++layer)
      layers_.push_back({Tensor<T, D>::empty(device, {capacity, width}, {Category::kv_cache, "keys"}),
                         Tensor<T, D>::empty(device, {capacity, width}, {Category::kv_cache, "values"})});
  }

  std::int64_t length() const { return length_; }
  std::int64_t capacity() const { return capacity_; }
  const D& device() const { return layers_.front().k.device(); }
  /// Forgets all tokens from `length` on.
  void truncate(std::int64_t length) { length_ = std::min(length_, length); }

  /// Writes the new rows of one layer behind the old ones, converted, and returns all of them. advance() makes them
  /// count.
  template <class S>
  Rows append(std::int64_t layer, const Tensor<S, D>& k, const Tensor<S, D>& v) {
    check(length_ + k.extent(0) <= capacity_, "[kv_cache] {} tokens on top of {} do not fit a cache of {}", k.extent(0),
          length_, capacity_);
    const Rows& all = layers_[static_cast<std::size_t>(layer)];
    copy_into(k, all.k.rows(length_, k.extent(0)));
    copy_into(v, all.v.rows(length_, v.extent(0)));
    const std::int64_t total = length_ + k.extent(0);
    return {all.k.rows(0, total), all.v.rows(0, total)};
  }
  void advance(std::int64_t tokens) { length_ += tokens; }

 private:
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::vector<Rows> layers_;
};

}  // namespace hone
