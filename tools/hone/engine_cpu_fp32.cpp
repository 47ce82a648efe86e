#include "engine_cpu.hpp"

namespace hone::cli {

std::unique_ptr<Engine> make_cpu_fp32_engine(const EngineOptions& options) {
  return std::make_unique<CpuEngine<float>>(options);
}

}  // namespace hone::cli
