#include "model_on_emu.hpp"

using namespace hone;
using namespace hone::test;

namespace {

/// Kernels that one loss and its gradients launch.
std::int64_t launches(const std::vector<std::vector<std::string>>& attached) {
  const Emu emu = poisoned_device<Emu>();
  Llama<float, Emu> model(tiny(16), emu);
  fill_base(model);
  for (const auto& target_modules : attached) attach(model, target_modules, LoRA{.r = 4});
  fill_adapters(model);
  emulator::counters() = {};
  model.loss(batch_of(1)).backward();
  return emulator::counters().launches;
}

}  // namespace

TEST_CASE("a model trains on Emu as on Cpu, in float") {
  check_emu_is_cpu<float>(llama(16, FullTuning{}, policy::fp32));
  check_emu_is_cpu<float>(qwen2(16, adapters, policy::fp32));
  check_emu_is_cpu<float>(
      qwen2(16, LoraTuning{{.r = 4, .alpha = 8, .dropout = 0.1, .use_dora = true, .modules_to_save = {"norm"}}},
            policy::fp32));
  check_emu_is_cpu<float>(qwen3(16, FullTuning{}, policy::fp32));
}

TEST_CASE("every method beside LoRA trains on Emu as on Cpu, and as planned") {
  const std::vector<Method> methods = {Attached<IA3>{},
                                       Attached<BitFit>{},
                                       Attached<Bottleneck>{Bottleneck::houlsby()},
                                       Attached<Bottleneck>{{.size = 3, .non_linearity = Activation::gelu}},
                                       Attached<Bottleneck>{Bottleneck::parallel()},
                                       Attached<PrefixTuning>{{.num_virtual_tokens = 5, .prefix_projection = true}},
                                       Attached<PromptTuning>{{.num_virtual_tokens = 5}}};
  for (const Method& method : methods) {
    CAPTURE(name_of(method));
    check_emu_is_cpu<float>(qwen2(16, method, policy::fp32));
  }
}

TEST_CASE("adapters of one linear share the products with its input: x A^T, dA and dx are one each") {
  const std::int64_t together = launches({{"all-linear"}});
  const std::int64_t apart =
      launches({{"q_proj"}, {"k_proj"}, {"v_proj"}, {"o_proj"}, {"gate_proj"}, {"up_proj"}, {"down_proj"}});
  MESSAGE(together << " launches, " << apart << " where each is attached alone");
  // Two layers; q, k, v and gate, up; three products. What goes into the first layer's q, k and v has no gradient.
  CHECK(apart - together == 2 * (3 * 2 + 3 * 1) - 2);
}
