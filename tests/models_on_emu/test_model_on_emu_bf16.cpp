#include "model_on_emu.hpp"

using namespace hone;
using namespace hone::test;

TEST_CASE("a model trains on Emu as on Cpu, in bf16 and mixed precision") {
  check_emu_is_cpu<bf16>(llama(64, FullTuning{}, policy::bf16));
  check_emu_is_cpu<bf16>(qwen2(64, FullTuning{}, policy::mixed));
  check_emu_is_cpu<bf16>(llama(64, adapters, policy::mixed));
  check_emu_is_cpu<bf16>(qwen3(16, adapters, policy::bf16));
}
