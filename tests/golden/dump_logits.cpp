// Writes what tests/golden/check_saved.py compares: ids and hone's logits for a folder (and an adapter) that hone
// saved.
//   g++ -std=c++20 -O2 -Iinclude tests/golden/dump_logits.cpp -o dump_logits -pthread -lpcre2-8 -lutf8proc
//   ./dump_logits FOLDER OUT.safetensors [ADAPTER [SAVED]]      with SAVED the adapter is written there again
#include <hone/models/llama_folder.hpp>
#include <hone/peft/adapter_folder.hpp>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: dump_logits FOLDER OUT.safetensors [ADAPTER [SAVED]]\n"), 2;
  try {
    auto model = hone::load_llama<float>(argv[1]);
    if (argc > 3) hone::load_adapter(model, argv[3]);
    if (argc > 4) hone::save_adapter(model, argv[4]);
    hone::Example document;
    for (int i = 0; i < 48; ++i) {
      document.ids.push_back(static_cast<std::int32_t>((i * 37 + 11) % model.config().vocab_size));
      document.supervised.push_back(true);
    }
    const auto logits = model.logits(hone::make_batch(std::span<const hone::Example>(&document, 1), 1));  // (48, V)
    const std::vector<hone::TensorDeclaration> tensors = {{"ids", hone::DType::i32, {48}},
                                                          {"logits", hone::DType::f32, logits.shape()}};
    hone::write_safetensors(argv[2], tensors, [&](const hone::TensorDeclaration& tensor, hone::TensorSink& sink) {
      if (tensor.name == "ids") return sink.write(std::as_bytes(std::span<const std::int32_t>(document.ids)));
      sink.write(logits.flat().data, logits.elements());
    });
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "error: %s\n", error.what()), 1;
  }
}
