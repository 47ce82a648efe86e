#include "bench_kernels.hpp"

#include <hone/kernels/attention_backward.cuh>
#include <hone/kernels/attention_decode.cuh>
#include <hone/kernels/bias.cuh>
#include <hone/kernels/cross_entropy.cuh>
#include <hone/kernels/embedding.cuh>
#include <hone/kernels/fill_copy.cuh>
#include <hone/kernels/matmul.cuh>
#include <hone/kernels/optimizer.cuh>
#include <hone/kernels/qk_norm_rope.cuh>
#include <hone/kernels/rms_norm.cuh>
#include <hone/kernels/rope.cuh>
#include <hone/kernels/sample.cuh>
#include <hone/kernels/sum.cuh>
#include <hone/kernels/swiglu.cuh>
#include <hone/ops/attention.hpp>
#include <hone/ops/rope.hpp>
#include <hone/ops/sample.hpp>
#include <hone/optim/adamw.hpp>

#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <iterator>
#include <memory>
#include <utility>

namespace hone::cli {
namespace {

// One layer of Qwen2.5-0.5B has rows of 896 and an MLP of 4864; 32 tokens keep the emulator's part short.
constexpr std::int64_t tokens = 32, hidden = 896, mlp = 4864, vocabulary = 4096;

void copies(const Emu& device) {
  const auto x = values<float>(device, {tokens, hidden});
  const auto y = values<bf16>(device, {tokens, hidden});
  run_kernel<kernel::Fill>(device, y.view<2>(), 0.0f);
  run_kernel<kernel::Copy>(device, View<const float, 2>(x.view<2>()), y.view<2>(), false);
}

void bias(const Emu& device) {
  const auto y = values<bf16>(device, {tokens, hidden});
  const auto b = values<bf16>(device, {hidden});
  const auto sum = values<float>(device, {hidden});
  run_kernel<kernel::AddBias>(device, b.view<1>(), y.view<2>());
  run_kernel<kernel::SumOfRows>(device, View<const bf16, 2>(y.view<2>()), sum.view<1>(), false);
}

void swiglu(const Emu& device) {
  const auto gate_up = values<bf16>(device, {tokens, 2 * mlp});
  const auto y = values<bf16>(device, {tokens, mlp});
  run_kernel<kernel::SwigluForward>(device, gate_up.view<2>(), y.view<2>());
  run_kernel<kernel::SwigluBackward>(device, y.view<2>(), gate_up.view<2>(), gate_up.view<2>(), false);
}

void rms_norm(const Emu& device) {
  const auto x = values<bf16>(device, {tokens, hidden}), delta = values<bf16>(device, {tokens, hidden});
  const auto y = values<bf16>(device, {tokens, hidden});
  const auto weight = values<bf16>(device, {hidden}), dweight = values<bf16>(device, {hidden});
  const auto rstd = values<float>(device, {tokens});
  const auto workspace =
      Tensor<std::byte, Emu>::empty(device, {gpu::rms_norm_workspace_bytes(device.target(), tokens, hidden)});
  run_kernel<kernel::AddRmsNormForward>(device, x.view<2>(), delta.view<2>(), weight.view<1>(), 1e-6, x.view<2>(),
                                        y.view<2>(), rstd.view<1>());
  run_kernel<kernel::RmsNormBackward>(device, y.view<2>(), x.view<2>(), weight.view<1>(), rstd.view<1>(),
                                      delta.view<2>(), false, dweight.view<1>(), false, workspace.view<1>());
}

void embedding(const Emu& device) {
  const auto table = values<bf16>(device, {vocabulary / 8, hidden});
  const auto y = values<bf16>(device, {tokens, hidden});
  const auto tokens_of_text = ids(device, tokens, vocabulary / 8);
  run_kernel<kernel::EmbeddingForward>(device, tokens_of_text.view<1>(), table.view<2>(), y.view<2>());
  run_kernel<kernel::EmbeddingBackward>(device, tokens_of_text.view<1>(), View<const bf16, 2>(y.view<2>()),
                                        table.view<2>(), true);
}

void cross_entropy(const Emu& device) {
  const auto logits = values<float>(device, {tokens, vocabulary});
  const auto losses = values<float>(device, {tokens});
  const auto total = Tensor<double, Emu>::empty(device, {1});
  const auto targets = ids(device, tokens, vocabulary);
  run_kernel<kernel::CrossEntropy>(device, logits.view<2>(), View<const std::int32_t, 1>(targets.view<1>()),
                                   losses.view<1>(), true, 1.0);
  run_kernel<kernel::SumInOrder>(device, View<const float, 1>(losses.view<1>()), total.view<1>());
}

template <class T>
void matmul(const Emu& device) {
  const auto a = values<T>(device, {2 * tokens, hidden}), b = values<T>(device, {128, hidden});
  const auto c = values<T>(device, {2 * tokens, 128});
  run_kernel<kernel::MatMul>(device, MatMulOptions{.transpose_b = true}, View<const T, 2>(a.template view<2>()),
                             View<const T, 2>(b.template view<2>()), c.template view<2>(), View<std::byte, 1>{});
}

Tensor<float, Emu> rotation(const Emu& device, std::int64_t head_dim) {
  return rope_table<float>(ids(device, tokens, tokens), values<float>(device, {head_dim / 2}));
}

void rope(const Emu& device) {
  const auto qk = values<bf16>(device, {tokens, hidden});
  run_kernel<kernel::Rope>(device, qk.view<2>(), rotation(device, 64).in<2>(), false);
}

/// Qwen3 normalises the heads of q and k, each of 128 columns.
void qk_norm_rope(const Emu& device) {
  const auto x = values<bf16>(device, {tokens, hidden}), dx = values<bf16>(device, {tokens, hidden});
  const auto weight = values<bf16>(device, {128}), dweight = values<bf16>(device, {128});
  const auto table = rotation(device, 128), rstd = values<float>(device, {tokens, hidden / 128});
  const auto workspace =
      Tensor<std::byte, Emu>::empty(device, {gpu::qk_norm_rope_workspace_bytes(device.target(), tokens, 128)});
  run_kernel<kernel::QkNormRopeForward>(device, x.in<2>(), weight.in<1>(), 1e-6, table.in<2>(), dx.view<2>(),
                                        rstd.view<2>());
  run_kernel<kernel::QkNormRopeBackward>(device, x.in<2>(), x.in<2>(), weight.in<1>(), rstd.in<2>(), table.in<2>(),
                                         dx.view<2>(), false, dweight.view<1>(), false, workspace.view<1>());
}

/// One document of 4 x 32 tokens, two query heads on one key head.
template <class T, int HeadDim>
void attention_of(const Emu& device) {
  const AttentionShape shape{2, 1, HeadDim, 0, 0.125};
  const auto qkv = values<T>(device, {4 * tokens, 4 * HeadDim});
  const auto documents = Tensor<std::int32_t, Emu>::from(device, {2}, std::vector<std::int32_t>{0, 4 * tokens});
  auto tracked = qkv;
  make_trainable(tracked);
  const auto y = attention(tracked, documents, shape);
  y.backward(y.detached());
}

/// A new token of Qwen2.5-0.5B against 512 cached ones.
void attention_decode(const Emu& device) {
  const auto q = values<bf16>(device, {1, 14 * 64}), k = values<bf16>(device, {512, 2 * 64});
  const auto range = [&](std::int32_t end) {
    return Tensor<std::int32_t, Emu>::from(device, {2}, std::vector<std::int32_t>{0, end});
  };
  attention_cached(q, k, k, range(1), range(512), AttentionShape{14, 2, 64, 0, 0.125});
}

void sample(const Emu& device) {
  TokenChoice<Emu> choice(device, vocabulary, {.temperature = 0.7, .top_k = 50, .top_p = 0.9}, {});
  choice.choose(values<float>(device, {1, vocabulary}));
}

/// A step of a bf16 weight with a master copy and gradients summed in float.
template <MomentType Moments>
void adamw(const Emu& device) {
  auto weight = values<bf16>(device, {tokens, hidden});
  make_trainable(weight, GradientPrecision::wide);
  weight.slot()->absorb(values<bf16>(device, {tokens, hidden}));
  AdamW<Emu> optimizer({{{"weight", weight}}, std::make_shared<GradientTokens>()},
                       {.learning_rate = 1e-3, .update = WeightUpdate::master, .moments = Moments});
  optimizer.step();
}

const KernelCase every_case[] = {
    {"(32, 896)", &copies},
    {"(32, 896)", &bias},
    {"(32, 4864)", &swiglu},
    {"(32, 896)", &rms_norm},
    {"(32, 896) of 512", &embedding},
    {"(32, 4096)", &cross_entropy},
    {"(64, 896) x (128, 896)^T", &matmul<bf16>},
    {"(64, 896) x (128, 896)^T", &matmul<float>},
    {"(32, 896), heads of 64", &rope},
    {"(32, 896), heads of 128", &qk_norm_rope},
    {"128 tokens, 2/1 heads of 64", &attention_of<bf16, 64>},
    {"128 tokens, 2/1 heads of 128", &attention_of<bf16, 128>},
    {"128 tokens, 2/1 heads of 64", &attention_of<float, 64>},
    {"512 keys, 14/2 heads of 64", &attention_decode},
    {"(1, 4096), k 50, p 0.9", &sample},
    {"(32, 896), master, fp32 m v", &adamw<MomentType::full>},
    {"(32, 896), master, bf16 m v", &adamw<MomentType::bf16>},
    {"(32, 896), master, 8-bit m v", &adamw<MomentType::blockwise_8bit>},
};

std::vector<KernelCase> all_cases() {
  std::vector<KernelCase> cases(std::begin(every_case), std::end(every_case));
  for (auto& rung : study_cases()) cases.push_back(std::move(rung));
  return cases;
}

/// "swiglu_forward_kernel<bf16, 8>" from the address of the instantiation, which the linker keeps by name; the launch's
/// own name where it does not. cuda/registers.json has the same names.
std::string kernel_name(const emulator::LaunchRecord& record) {
  Dl_info found{};
  if (record.function == nullptr || dladdr(record.function, &found) == 0 || found.dli_sname == nullptr)
    return record.kernel;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(found.dli_sname, nullptr, nullptr, nullptr),
                                                    &std::free);
  if (text == nullptr) return record.kernel;
  std::string name = text.get();
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] == '(' && depth == 0) name.resize(i);
  }
  for (const std::string part : {"void ", "hone::", "emu::"})
    for (std::size_t at = 0; (at = name.find(part)) != std::string::npos;) name.erase(at, part.size());
  return name;
}

}  // namespace

std::vector<KernelRow> run_kernel_cases(const std::string& only) {
  const emulator::WithSettings settings({.count_requests = true, .keep_launches = true});
  const Emu device;
  std::vector<KernelRow> rows;
  for (const KernelCase& one : all_cases()) {
    emulator::launch_records().clear();
    one.run(device);
    for (const auto& record : emulator::launch_records()) {
      const std::string name = kernel_name(record);
      if (name.find(only) == std::string::npos) continue;
      rows.push_back({one.shapes, name, record.shape.grid.count(), record.shape.block.count(),
                      static_cast<std::int64_t>(record.shape.shared_bytes), record.counted});
    }
  }
  emulator::launch_records().clear();
  return rows;
}

}  // namespace hone::cli
