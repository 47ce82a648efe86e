#include "engine.hpp"

namespace hone::cli {

std::unique_ptr<Engine> make_engine(const std::string& device, const std::string& dtype, const EngineOptions& options) {
  check(device == "auto" || device == "cpu", "device: '{}' is not supported by this build; choose auto or cpu", device);
  check(options.threads >= 0, "threads: {} must not be negative", options.threads);
  if (dtype == "auto" || dtype == "fp32") return make_cpu_fp32_engine(options);
  check(dtype == "mixed" || dtype == "bf16", "dtype: '{}' is not known; choose auto, fp32, mixed or bf16", dtype);
  return make_cpu_bf16_engine(options);
}

}  // namespace hone::cli
