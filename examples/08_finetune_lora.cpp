// The ten lines of the README, with a progress line: LoRA on a Hugging Face folder, and an adapter that PEFT reads.
//   build/examples/08_finetune_lora [model folder] [rows.jsonl] [folder for the adapter]
// Run from hone's folder without arguments it trains the bundled tiny model on descriptions of products.
#include <hone/hone.hpp>

#include <cstdio>
#include <exception>
#include <filesystem>

namespace {

void fine_tune(const std::filesystem::path& folder, const std::filesystem::path& rows,
               const std::filesystem::path& out) {
  auto model = hone::load_llama<hone::bf16>(folder, hone::Cpu{});
  hone::attach(model, "*.{q,v}_proj", hone::LoRA{.r = 8, .alpha = 16});
  hone::AdamW optimizer(model.trainable_parameters(), {.learning_rate = 2e-3});

  int step = 0;
  double sum = 0;
  for (const auto& batch : hone::instruction_batches(rows, model.tokenizer(), {.max_length = 256, .batch_size = 8})) {
    auto loss = model.loss(batch);
    sum += loss.mean();
    loss.backward();
    optimizer.step();
    if (++step % 10 == 0) {
      std::printf("step %4d   mean loss of the last 10: %.4f\n", step, sum / 10);
      std::fflush(stdout);
      sum = 0;
    }
  }
  hone::save_adapter(model, out, folder.string());
  std::printf("%d steps; the adapter is in %s\n", step, out.string().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    fine_tune(argc > 1 ? argv[1] : "examples/data/tiny", argc > 2 ? argv[2] : "examples/data/train.jsonl",
              argc > 3 ? argv[3] : "adapter");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
