// Tokenizer: text to ids and back, as the tokenizer.json of a Hugging Face folder says.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/io/read_file.hpp>
#include <hone/text/added_tokens.hpp>
#include <hone/text/bpe.hpp>
#include <hone/text/bpe_file.hpp>
#include <hone/text/decoder.hpp>
#include <hone/text/normalizer.hpp>
#include <hone/text/pieces.hpp>
#include <hone/text/post_processor.hpp>
#include <hone/text/pre_tokenizer.hpp>
#include <hone/text/tokenizer_config.hpp>
#include <hone/text/utf8.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

struct EncodeOptions {
  bool add_special_tokens = true;  // what the file's post-processor adds: usually BOS in front
  bool parse_special = true;       // false: the text is untrusted, "<|im_start|>" in it is just text
};

/// A tokenizer. Copies share everything; all methods are const and thread-safe. Ids equal those of the Rust library
/// `tokenizers`, whose semantics decide wherever the format is silent. Bytes that are not UTF-8 are read as U+FFFD, one
/// for each broken sequence; nothing is thrown for them.
class Tokenizer {
 public:
  /// Reads a tokenizer.json. An Error names the file and the place in it.
  static Tokenizer from_file(const std::filesystem::path& path) {
    return Tokenizer(read_json_file(path), path.string(), TokenizerConfig{});
  }

  /// Reads tokenizer.json of a Hugging Face folder, and what it says of special tokens beside it: BOS, EOS and PAD from
  /// tokenizer_config.json, special_tokens_map.json, config.json (the first that names them), and whether BOS and EOS
  /// are added (`add_bos_token`, `add_eos_token`).
  static Tokenizer from_folder(const std::filesystem::path& folder) {
    const auto path = folder / "tokenizer.json";
    if (!std::filesystem::exists(path)) {
      const bool pieces = std::filesystem::exists(folder / "tokenizer.model");
      fail("[{}] there is no tokenizer.json in this folder{}", folder.string(),
           pieces ? "; its tokenizer.model has to be converted first (transformers does so when it saves)" : "");
    }
    return Tokenizer(read_json_file(path), path.string(), TokenizerConfig::from_folder(folder));
  }

  /// Reads the text of a tokenizer.json; `origin` names it in errors.
  static Tokenizer from_text(std::string_view text, const std::string& origin) {
    return Tokenizer(parse_json(text, origin), origin, TokenizerConfig{});
  }

  /// Ids of `text`, of any bytes.
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options = {}) const {
    std::vector<std::int32_t> ids;
    const auto& post = parts_->post_processor;
    if (options.add_special_tokens) ids = post.before;
    encode_text(text, options.parse_special, ids);
    if (options.add_special_tokens) ids.insert(ids.end(), post.after.begin(), post.after.end());
    return ids;
  }

  /// Ids of `text` with BOS in front exactly once, whether the text itself begins with it (a rendered chat template
  /// does) or not, and no other token added. A tokenizer without BOS adds nothing.
  std::vector<std::int32_t> encode_with_bos(std::string_view text, bool parse_special = true) const {
    return with_bos(encode(text, {.add_special_tokens = false, .parse_special = parse_special}));
  }

  /// `ids` with BOS in front, unless it is there already or there is none.
  std::vector<std::int32_t> with_bos(std::vector<std::int32_t> ids) const {
    const auto bos = bos_id();
    if (bos && (ids.empty() || ids.front() != *bos)) ids.insert(ids.begin(), *bos);
    return ids;
  }

  /// Text of `ids`, always valid UTF-8. Ids that are no token (a model may have more rows than tokens) are left out.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const {
    auto decoder = parts_->decoder;
    std::string out;
    for (const auto id : ids) push(decoder, id, skip_special_tokens, out);
    decoder.finish(out);
    return out;
  }

  /// One more than the highest id: the rows that a model's embedding needs.
  std::int32_t vocab_size() const {
    return std::max(parts_->model.vocabulary().id_count(), parts_->added.vocabulary().id_count());
  }

  std::optional<std::int32_t> bos_id() const { return parts_->bos; }
  std::optional<std::int32_t> eos_id() const { return parts_->eos; }
  std::optional<std::int32_t> pad_id() const { return parts_->pad; }

  /// Whether `encode` with add_special_tokens begins with BOS.
  bool adds_bos() const {
    const auto& before = parts_->post_processor.before;
    return parts_->bos && !before.empty() && before.front() == *parts_->bos;
  }

  std::optional<std::int32_t> token_to_id(std::string_view token) const {
    const auto added = parts_->added.vocabulary().find(token);
    return added ? added : parts_->model.vocabulary().find(token);
  }

  /// The token's text as the vocabulary spells it; nullopt for an id without a token.
  std::optional<std::string> id_to_token(std::int32_t id) const {
    const auto* text = token_text(id);
    return text == nullptr ? std::nullopt : std::optional(*text);
  }

  /// Whether `decode` leaves the id out.
  bool is_special(std::int32_t id) const { return parts_->added.is_special(id); }

 private:
  friend class StreamDecoder;

  struct Parts {
    Bpe model;
    std::optional<Normalizer> normalizer;
    std::optional<PreTokenizer> pre_tokenizer;
    AddedTokens added;
    PostProcessor post_processor;
    Decoder decoder;
    std::optional<std::int32_t> bos, eos, pad;
    // One scratch is kept for whoever comes; a thread that finds it taken works with its own.
    std::mutex scratch_taken;
    BpeScratch scratch;
  };

  Tokenizer(const nlohmann::json& file, const std::string& origin, const TokenizerConfig& config) {
    check(file.is_object(), "[{}] is {}; the object of a tokenizer.json was expected", origin,
          detail::json_summary(file));
    const auto part = [&](std::string_view key) { return find_key(file, key, origin); };
    const auto place = [&](std::string_view key) { return fmt::format("{} {}", origin, key); };
    std::optional<Normalizer> normalizer;
    std::optional<PreTokenizer> pre_tokenizer;
    if (const auto* json = part("normalizer")) normalizer = Normalizer::from_json(*json, place("normalizer"));
    if (const auto* json = part("pre_tokenizer"))
      pre_tokenizer = PreTokenizer::from_json(*json, place("pre_tokenizer"));
    auto model = detail::read_bpe(get_object(file, "model", origin), place("model"));
    const auto normalise = [&](std::string& text) {
      if (normalizer) (*normalizer)(text);
    };
    AddedTokens added(part("added_tokens"), model.vocabulary(), normalise, origin);
    const auto is_token = [&](std::int32_t id) {
      return model.vocabulary().text(id) != nullptr || added.vocabulary().text(id) != nullptr;
    };
    auto post = PostProcessor::from_json(part("post_processor"), place("post_processor"), is_token);
    auto decoder = Decoder::from_json(part("decoder"), place("decoder"));
    parts_.reset(new Parts{std::move(model),
                           std::move(normalizer),
                           std::move(pre_tokenizer),
                           std::move(added),
                           std::move(post),
                           std::move(decoder),
                           {},
                           {},
                           {},
                           {},
                           {}});
    apply(config);
  }

  /// Names of special tokens become ids, and the post-processor adds BOS and EOS as the folder says.
  void apply(const TokenizerConfig& config) {
    const auto id = [&](const SpecialTokenName& name) -> std::optional<std::int32_t> {
      if (name.id) return token_text(*name.id) != nullptr ? name.id : std::nullopt;
      if (name.text.empty()) return std::nullopt;
      const auto found = token_to_id(name.text);
      check(found.has_value(), "[{}] special token \"{}\" is not in the vocabulary", name.origin, name.text);
      return found;
    };
    auto& post = parts_->post_processor;
    parts_->bos = id(config.bos);
    parts_->eos = id(config.eos);
    parts_->pad = id(config.pad);
    if (!parts_->bos && post.before.size() == 1) parts_->bos = post.before[0];
    const auto agree = [&](std::optional<bool> wanted, std::optional<std::int32_t> token, const char* key,
                           std::vector<std::int32_t>& around) {
      if (!wanted) return;
      check(!*wanted || token.has_value(), "[{}] \"{}\" is true, but no such token is named", config.origin, key);
      const bool there = token && std::find(around.begin(), around.end(), *token) != around.end();
      if (*wanted && !there) around.insert(&around == &post.before ? around.begin() : around.end(), *token);
      if (!*wanted && there) std::erase(around, *token);
    };
    agree(config.add_bos, parts_->bos, "add_bos_token", post.before);
    agree(config.add_eos, parts_->eos, "add_eos_token", post.after);
  }

  void encode_text(std::string_view text, bool parse_special, std::vector<std::int32_t>& ids) const {
    check(text.size() < std::size_t{1} << 31, "[tokenizer] a text of {} bytes; at most 2 GiB go through at once",
          text.size());
    const auto& parts = *parts_;
    Pieces pieces(repair_utf8(text));
    parts.added.cut_raw(pieces, parse_special);
    if (parts.normalizer) {
      std::string piece;
      pieces.rewrite([&](std::string_view raw, bool, std::string& out) {
        piece = raw;
        (*parts.normalizer)(piece);
        out += piece;
      });
    }
    parts.added.cut_normalised(pieces, parse_special);
    if (parts.pre_tokenizer) (*parts.pre_tokenizer)(pieces);
    const std::unique_lock lock(parts_->scratch_taken, std::try_to_lock);
    BpeScratch own;
    auto& scratch = lock.owns_lock() ? parts_->scratch : own;
    for (const auto& piece : pieces.list()) {
      if (piece.token != Piece::no_token) {
        ids.push_back(piece.token);
      } else {
        parts.model.encode(pieces.text(piece), scratch, ids);
      }
    }
  }

  const std::string* token_text(std::int32_t id) const {
    const auto* added = parts_->added.vocabulary().text(id);
    return added != nullptr ? added : parts_->model.vocabulary().text(id);
  }

  void push(Decoder& decoder, std::int32_t id, bool skip_special_tokens, std::string& out) const {
    const auto* text = token_text(id);
    if (text == nullptr || (skip_special_tokens && is_special(id))) return;
    decoder.push(*text, out);
  }

  std::shared_ptr<Parts> parts_;
};

/// Decodes ids one by one, as a model makes them. What push returns and flush ends with, put together, is what
/// Tokenizer::decode gives for all ids; no character is ever split between two pieces. A row of byte tokens (<0x..>) is
/// held until it ends, because only then it is known whether it is text.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens = true)
      : tokenizer_(std::move(tokenizer)),
        decoder_(tokenizer_.parts_->decoder),
        skip_special_tokens_(skip_special_tokens) {}

  /// The text that is certain with this id; often empty while a character is incomplete.
  std::string push(std::int32_t id) {
    std::string out;
    tokenizer_.push(decoder_, id, skip_special_tokens_, out);
    return out;
  }

  /// Ends the text and returns what was held back; the next push begins a new text.
  std::string flush() {
    std::string out;
    decoder_.finish(out);
    decoder_ = tokenizer_.parts_->decoder;
    return out;
  }

 private:
  Tokenizer tokenizer_;
  Decoder decoder_;
  bool skip_special_tokens_;
};

}  // namespace hone
