// Batches on a device: what a model's forward pass takes.
#pragma once

#include <hone/nn/batch.hpp>
#include <hone/ops/lm_head_cross_entropy.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace hone {

/// A batch on a device. Buffers are sized by the number of tokens alone: (N) or (N + 1).
template <Device D>
struct DeviceBatch {
  Tensor<std::int32_t, D> ids, positions;  // (N)
  Tensor<std::int32_t, D> documents;       // (documents + 1), a prefix of a buffer of N + 1
  Supervision<D> supervision;

  std::int64_t document_count = 0;  ///< those that are not empty
  std::int64_t most_documents = 0;  ///< see Batch
  std::int64_t virtual_tokens = 0;

  std::int64_t tokens() const { return ids.extent(0); }
};

namespace detail {
/// A buffer of `capacity` ids whose first values are `values`.
template <Device D>
Tensor<std::int32_t, D> upload_ids(const D& device, const std::vector<std::int32_t>& values, std::int64_t capacity,
                                   std::string_view name) {
  auto out = Tensor<std::int32_t, D>::empty(device, {capacity}, {Category::activations, name});
  out.rows(0, static_cast<std::int64_t>(values.size())).copy_from(values);
  return out;
}
}  // namespace detail

/// Moves a batch to a device.
template <Device D>
DeviceBatch<D> upload(const Batch& batch, const D& device) {
  const std::int64_t tokens = batch.tokens();
  DeviceBatch<D> out;
  out.document_count = batch.document_count();
  out.most_documents = batch.most_documents;
  out.virtual_tokens = batch.virtual_tokens;
  out.ids = detail::upload_ids(device, batch.ids, tokens, "batch.ids");
  out.positions = detail::upload_ids(device, batch.positions, tokens, "batch.positions");
  out.documents = detail::upload_ids(device, batch.documents, tokens + 1, "batch.documents")
                      .rows(0, static_cast<std::int64_t>(batch.documents.size()));
  out.supervision.rows = detail::upload_ids(device, batch.rows, tokens, "batch.rows");
  out.supervision.targets = detail::upload_ids(device, batch.targets, tokens, "batch.targets");
  out.supervision.count = batch.supervised();
  return out;
}

}  // namespace hone
