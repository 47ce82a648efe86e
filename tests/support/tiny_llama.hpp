// The smallest Llama with all that a Llama has; a test changes only what it is about.
#pragma once

#include <hone/models/llama_config.hpp>

namespace hone::test {

/// Two layers, grouped queries, 50 tokens.
inline LlamaConfig tiny_llama() {
  LlamaConfig out;
  out.vocab_size = 50;
  out.hidden_size = 24;
  out.intermediate_size = 40;
  out.num_hidden_layers = 2;
  out.num_attention_heads = 4;
  out.num_key_value_heads = 2;
  out.head_dim = 8;
  return out;
}

}  // namespace hone::test
