#include "engine_cpu.hpp"

namespace hone::cli {

std::unique_ptr<Engine> make_cpu_bf16_engine(const EngineOptions& options) {
  return std::make_unique<CpuEngine<bf16>>(options);
}

}  // namespace hone::cli
