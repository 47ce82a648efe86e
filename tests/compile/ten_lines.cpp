#include <hone/hone.hpp>
int main() {
  auto model = hone::load_llama<hone::bf16>("path/to/hf-folder", hone::Cpu{});
  hone::attach(model, "*.{q,v}_proj", hone::LoRA{.r = 8, .alpha = 16});
  hone::AdamW optimizer(model.trainable_parameters(), {.learning_rate = 2e-4f});
  for (const auto& batch : hone::instruction_batches("train.jsonl", model.tokenizer(), {.max_length = 512})) {
    auto loss = model.loss(batch);  // shows the mean over supervised tokens
    loss.backward();                // adds the gradient of the sum, and the token count
    optimizer.step();               // divides by the step's tokens, clips, updates, clears
  }
  hone::save_adapter(model, "out/");  // PEFT reads it
}
