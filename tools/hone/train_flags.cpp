#include "train_flags.hpp"

#include <algorithm>

namespace hone::cli {
namespace {

/// "q_proj=4,v_proj=2" as pairs; `number` reads a value.
template <class Value, class Number>
ModulePatterns<Value> pattern_list(const std::string& key, const std::string& text, Number number) {
  ModulePatterns<Value> out;
  for (const std::string& item : split_list(text)) {
    const auto equals = item.rfind('=');
    std::size_t used = 0;
    Value value{};
    try {
      value = number(item.substr(equals == item.npos ? item.size() : equals + 1), &used);
    } catch (const std::exception&) {
      used = 0;
    }
    check(equals != item.npos && used > 0 && used == item.size() - equals - 1,
          "{}: '{}' must be a name, an equals sign and a number (q_proj=4)", key, item);
    out.emplace_back(item.substr(0, equals), value);
  }
  return out;
}

/// "general=DIR,DIR2": names and paths. Unlike split_list's, their spaces and braces are their own.
NamedPaths named_paths(const std::string& text) {
  NamedPaths out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::size_t first = std::min(text.find_first_not_of(' ', begin), end);
    if (first < end) out.push_back(named_path(text.substr(first, end - first)));
    begin = end + 1;
  }
  return out;
}

void add_data_options(CLI::App& app, TrainFlags& flags) {
  TrainConfig& c = flags.config;
  app.add_option("--model", c.model,
                 "Hugging Face folder of the base model; hone plan takes names and config.json too");
  app.add_option("--data", c.data, "JSONL to train on: prompt/completion, instruction/input/output, or text");
  app.add_option("--eval_data", c.eval_data, "JSONL to validate on (else val_size of --data is held out)");
  app.add_option("--also_evaluate", flags.earlier,
                 "JSONL of earlier stages, scored with every validation (general=a.jsonl,domain=b.jsonl)");
  app.add_option("--val_size", c.val_size, "share of the rows held out, seeded")->capture_default_str();
  app.add_option("--output_dir", c.output_dir, "where checkpoints, best/, last/ and metrics.jsonl go");
  app.add_option("--format", c.format, "auto, prompt_completion, alpaca, text")->capture_default_str();
  app.add_option("--max_length", c.max_length,
                 "tokens of a row at most (1024, or the model's context where that is shorter)");
  app.add_flag("--packing", c.packing, "fill every batch with as many whole rows as fit");
  app.add_option("--truncation", c.truncation, "rows that are too long: drop, left, right, error")
      ->capture_default_str();
}

void add_method_options(CLI::App& app, TrainFlags& flags) {
  TrainConfig& c = flags.config;
  app.add_option("--method", c.method,
                 "full, lora, qlora (lora with load_in_4bit), ia3, bitfit, bottleneck, prefix or prompt")
      ->capture_default_str();
  app.add_option("--lora_r", c.lora_r, "rank")->capture_default_str();
  app.add_option("--lora_alpha", c.lora_alpha, "scale is alpha / r")->capture_default_str();
  app.add_option("--lora_dropout", c.lora_dropout, "dropout before A")->capture_default_str();
  app.add_flag("--use_rslora", c.use_rslora, "scale is alpha / sqrt(r)");
  app.add_flag("--use_dora", c.use_dora, "magnitudes of the weights' rows train beside LoRA");
  app.add_option("--target_modules", flags.targets,
                 "all-linear, names (q_proj,v_proj), globs (*.{q,v}_proj) or expressions (.*\\.(q|v)_proj)");
  app.add_option("--exclude_modules", flags.excluded, "modules not to touch, written as target_modules are");
  app.add_option("--rank_pattern", flags.ranks, "other ranks by name or expression: q_proj=4,layers\\.0\\..*=2");
  app.add_option("--alpha_pattern", flags.alphas, "other alphas, likewise");
  app.add_option("--layers_to_transform", flags.layers, "numbers of the layers to adapt (0,1,2), else all");
  app.add_option("--layers_pattern", flags.layer_lists, "name of the list that these numbers count");
  app.add_option("--modules_to_save", flags.whole_modules,
                 "modules that train in full and are saved with the adapter (lm_head,norm)");
  app.add_option("--stack_on", flags.stack,
                 "PEFT folders of earlier stages, frozen below the LoRA that trains (general=DIR,domain=DIR)");
  app.add_flag("--load_in_4bit", c.load_in_4bit, "QLoRA: the base's linears are stored in 4 bits (NF4)");
  app.add_flag("--load_in_8bit", c.load_in_8bit, "the base's linears are stored in int8");
  app.add_option("--bnb_4bit_quant_type", c.bnb_4bit_quant_type, "nf4")->capture_default_str();
  app.add_option("--bnb_4bit_use_double_quant", c.bnb_4bit_use_double_quant, "the scales of NF4 in 8 bits as well")
      ->capture_default_str();
  app.add_option("--llm_int8_skip_modules", flags.unquantised,
                 "linears that are not quantised (o_proj,model.layers.0)");
  app.add_option("--feedforward_modules", flags.feedforward, "ia3: those of target_modules whose input is scaled");
  app.add_option("--bottleneck", c.bottleneck, "houlsby, pfeiffer or parallel")
      ->transform(CLI::Transformer(
          {{"double_seq_bn", "houlsby"}, {"seq_bn", "pfeiffer"}, {"par_bn", "parallel"}}))  // AdapterHub's names
      ->capture_default_str();
  app.add_option("--reduction_factor", c.reduction_factor, "bottleneck: hidden size / its size (16; parallel: 2)");
  app.add_option("--bottleneck_size", c.bottleneck_size, "its size, in place of reduction_factor");
  app.add_option("--non_linearity", c.non_linearity, "relu, gelu, swish, tanh, leakyrelu (relu; houlsby: swish)");
  app.add_option("--scaling", c.scaling, "bottleneck: its share is multiplied by this (1; parallel: 4)");
  app.add_option("--num_virtual_tokens", c.num_virtual_tokens, "prefix, prompt: tokens before every document")
      ->capture_default_str();
  app.add_flag("--prefix_projection", c.prefix_projection, "prefix: made by an MLP (reparametrisation)");
  app.add_option("--encoder_hidden_size", c.encoder_hidden_size, "width of that MLP, 0 = that of the keys")
      ->capture_default_str();
  app.add_option("--prompt_tuning_init", c.prompt_tuning_init, "RANDOM, SAMPLE_VOCAB or TEXT")->capture_default_str();
  app.add_option("--prompt_tuning_init_text", c.prompt_tuning_init_text, "the text a prompt begins as");
  app.add_flag("--from_scratch", c.from_scratch, "start from random weights (config.json alone is read)");
  app.add_option("--dtype", c.dtype, "auto, fp32, mixed, bf16")->capture_default_str();
  app.add_option("--gradient_checkpointing", c.gradient_checkpointing,
                 "none, selective, full; auto: the least that fits")
      ->capture_default_str();
  app.add_option("--offload", flags.offload,
                 "optimizer, activations: kept in the host's memory beside a card, activations with full; none");
  app.add_option("--loss_chunk", c.loss_chunk, "tokens of the output projection at a time, 0 = about 8 Mi logits")
      ->capture_default_str();
  app.add_option("--vram_budget", flags.budget, "refuse to need more live device memory than this (24GiB)");
}

void add_optimizer_options(CLI::App& app, TrainConfig& c) {
  app.add_option("--batch_size", c.batch_size, "rows of a batch; auto: as many as fit")
      ->transform(CLI::Transformer({{"auto", "0"}}))
      ->capture_default_str();
  app.add_option("--gradient_accumulation_steps", c.gradient_accumulation_steps, "batches of a step")
      ->capture_default_str();
  app.add_option("--num_epochs", c.num_epochs, "passes over the rows")->capture_default_str();
  app.add_option("--max_steps", c.max_steps, "steps in all, whatever num_epochs says");
  app.add_option("--learning_rate", c.learning_rate,
                 "2e-4; full 2e-5, bottleneck 1e-4, bitfit 1e-3, ia3 3e-3, prefix 1e-2, prompt 3e-2");
  app.add_option("--lr_scheduler", c.lr_scheduler, "cosine, linear, constant, warmup_stable_decay")
      ->capture_default_str();
  app.add_option("--warmup_ratio", c.warmup_ratio, "share of the steps that warms up")->capture_default_str();
  app.add_option("--min_lr_ratio", c.min_lr_ratio, "floor of the schedule")->capture_default_str();
  app.add_option("--optimizer", c.optimizer, "adamw, adamw_bf16 (moments in bf16), adamw_8bit (in 8 bits) or sgd")
      ->transform(CLI::Transformer({{"adamw_torch", "adamw"},
                                    {"adamw_torch_fused", "adamw"},
                                    {"adamw_bnb_8bit", "adamw_8bit"}}))  // Hugging Face's other names
      ->capture_default_str();
  app.add_option("--weight_decay", c.weight_decay, "0, or 0.1 with --method full");
  app.add_option("--max_grad_norm", c.max_grad_norm, "0 = no clipping")->capture_default_str();
  app.add_option("--adam_beta1", c.adam_beta1)->capture_default_str();
  app.add_option("--adam_beta2", c.adam_beta2)->capture_default_str();
  app.add_option("--adam_epsilon", c.adam_epsilon)->capture_default_str();
  app.add_option("--momentum", c.momentum, "of sgd")->capture_default_str();
  app.add_option("--seed", c.seed)->capture_default_str();
}

void add_run_options(CLI::App& app, TrainFlags& flags) {
  TrainConfig& c = flags.config;
  app.add_option("--eval_steps", c.eval_steps, "validate every n steps (else once an epoch)");
  app.add_option("--save_steps", c.save_steps, "checkpoint every n steps (else once an epoch)");
  app.add_option("--save_total_limit", c.save_total_limit, "checkpoints that are kept")->capture_default_str();
  app.add_flag("--overwrite_output_dir", c.overwrite_output_dir, "remove the checkpoints of an earlier run there");
  app.add_option("--logging_steps", c.logging_steps, "a line every n steps where there is no terminal")
      ->capture_default_str();
  app.add_option("--early_stopping_patience", c.early_stopping_patience, "stop after n validations without gain");
  app.add_option("--resume", c.resume, "go on from the newest checkpoint of output_dir, or from the one named")
      ->expected(0, 1);
  app.add_option("--on_nonfinite", c.on_nonfinite, "skip or stop")->capture_default_str();
  app.add_option("--cuda_graphs", c.cuda_graphs, "a step's launches as graphs: auto (on a card), true or false")
      ->capture_default_str();
  app.add_option("--gemm_tuning", c.gemm_tuning,
                 "file of hone tune: the algorithm of each matrix product (else the GEMM library's own first choice)");
  app.add_option("--config", flags.config_file, "YAML file with these keys; flags override it");
  app.add_option("--device", flags.device, "auto, cpu or cuda")->capture_default_str();
  app.add_option("--threads", flags.threads, "0 = all cores")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_flag("--dry_run", flags.dry_run, "print the plan of the run (see hone plan) and stop");
  app.add_flag("--quiet", flags.quiet, "print nothing but errors");
}

}  // namespace

void add_train_flags(CLI::App& app, TrainFlags& flags) {
  add_data_options(app, flags);
  add_method_options(app, flags);
  add_optimizer_options(app, flags.config);
  add_run_options(app, flags);
}

void settle(TrainFlags& flags) {
  TrainConfig& config = flags.config;
  if (!flags.targets.empty()) config.target_modules = split_list(flags.targets);
  if (!flags.feedforward.empty()) config.feedforward_modules = split_list(flags.feedforward);
  if (!flags.excluded.empty()) config.exclude_modules = split_list(flags.excluded);
  if (!flags.layer_lists.empty()) config.layers_pattern = split_list(flags.layer_lists);
  if (!flags.whole_modules.empty()) config.modules_to_save = split_list(flags.whole_modules);
  if (!flags.stack.empty()) config.stack_on = named_paths(flags.stack);
  if (!flags.earlier.empty()) config.also_evaluate = named_paths(flags.earlier);
  if (!flags.ranks.empty())
    config.rank_pattern = pattern_list<std::int64_t>(
        "rank_pattern", flags.ranks, [](const std::string& text, std::size_t* used) { return std::stoll(text, used); });
  if (!flags.alphas.empty())
    config.alpha_pattern =
        pattern_list<double>("alpha_pattern", flags.alphas,
                             [](const std::string& text, std::size_t* used) { return std::stod(text, used); });
  for (const std::string& layer : split_list(flags.layers)) {
    check(layer.size() <= 9 && layer.find_first_not_of("0123456789") == layer.npos,
          "layers_to_transform: '{}' is not the number of a layer", layer);
    config.layers_to_transform.push_back(std::stoll(layer));
  }
  if (!flags.budget.empty()) config.vram_budget = parse_bytes("vram_budget", flags.budget);
  if (config.resume.empty()) config.resume = "true";
  if (flags.offload == "none")  // as plans print it; who says so does not want a search to try
    config.offload.clear();
  else if (!flags.offload.empty())
    config.offload = split_list(flags.offload);
  if (!flags.unquantised.empty()) config.llm_int8_skip_modules = split_list(flags.unquantised);
  if (config.method == "qlora") {
    config.method = "lora";
    config.load_in_4bit = !config.load_in_8bit;
  }
}

}  // namespace hone::cli
