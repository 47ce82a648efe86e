// What a build without CUDA has in place of engine_cuda_*.cu.
#include "engine.hpp"

namespace hone::cli {
namespace {

[[noreturn]] void refuse() {
  fail("device: cuda is not in this build; configure with -DHONE_CUDA=ON where nvcc 12.4 or later is installed");
}

}  // namespace

std::unique_ptr<Engine> make_cuda_fp32_engine() { refuse(); }
std::unique_ptr<Engine> make_cuda_bf16_engine() { refuse(); }
Card local_card() { refuse(); }
gpu::GemmTuning tune_local_card(const std::set<gpu::GemmShape>&, gpu::TuneReport) { refuse(); }

}  // namespace hone::cli
