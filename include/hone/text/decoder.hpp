// Decoders: token texts back to text. Each works on a stream, so that decoding all and decoding one by one are one way.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/text/byte_level.hpp>
#include <hone/text/component.hpp>
#include <hone/text/pattern.hpp>
#include <hone/text/pre_tokenizer.hpp>
#include <hone/text/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hone {

// A stage takes tokens in fragments: push(fragment, end, emit) with end = true on a token's last fragment, then once
// finish(emit). It hands on fragments the same way: emit(fragment, end). Most stages wait for a token to be whole;
// what follows Fuse sees one endless token and must not.
namespace decoders {

/// Collects the fragments of a token and gives it whole to `use`.
template <class Use>
void when_whole(std::string& held, std::string_view fragment, bool end, Use&& use) {
  if (!end) {
    held += fragment;
    return;
  }
  if (held.empty()) return use(fragment);
  held += fragment;
  const std::string whole = std::exchange(held, {});
  use(std::string_view(whole));
}

/// What stands between tokens when a file names no decoder: a blank.
struct Join {
  bool first = true;
  template <class Emit>
  void push(std::string_view fragment, bool end, Emit&& emit) {
    if (!first && fresh) emit(" ", false);
    emit(fragment, end);
    fresh = end;
    first = false;
  }
  template <class Emit>
  void finish(Emit&&) {}
  bool fresh = true;  // the next fragment begins a token
};

/// The bytes behind the byte-level alphabet, as characters; a token with any other character stands for itself.
struct ByteLevel {
  std::string held;
  Utf8Stream utf8;
  template <class Emit>
  void push(std::string_view fragment, bool end, Emit&& emit) {
    when_whole(held, fragment, end, [&](std::string_view token) {
      const auto bytes = ByteAlphabet::get().decode(token);
      std::string out;
      utf8.push(bytes ? std::string_view(*bytes) : token, out);
      if (!out.empty()) emit(out, false);
    });
  }
  template <class Emit>
  void finish(Emit&& emit) {
    std::string out;
    utf8.finish(out);
    emit(out, true);
  }
};

/// Replaces within each token.
struct Replace {
  TextPattern pattern;
  std::string content;
  std::string held = {};
  template <class Emit>
  void push(std::string_view fragment, bool end, Emit&& emit) {
    when_whole(held, fragment, end, [&](std::string_view token) { emit(pattern.replaced(token, content), true); });
  }
  template <class Emit>
  void finish(Emit&&) {}
};

/// Tokens <0x00> .. <0xFF> in a row are the bytes of text; if they are not valid UTF-8, one U+FFFD stands for each.
/// Whether they are is known only when the row ends, so it is held until then.
struct ByteFallback {
  std::string held;
  std::string row;
  template <class Emit>
  void push(std::string_view fragment, bool end, Emit&& emit) {
    when_whole(held, fragment, end, [&](std::string_view token) {
      if (const auto byte = byte_of(token)) {
        row.push_back(*byte);
        return;
      }
      finish(emit);
      emit(token, true);
    });
  }
  template <class Emit>
  void finish(Emit&& emit) {
    if (row.empty()) return;
    if (is_valid_utf8(row)) {
      emit(row, true);
    } else {
      for (std::size_t i = 0; i < row.size(); ++i) emit(utf8_replacement, true);
    }
    row.clear();
  }

  static std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
    int byte = 0;
    for (const char c : token.substr(3, 2)) {
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                               : -1;
      if (digit < 0) return std::nullopt;
      byte = 16 * byte + digit;
    }
    return static_cast<char>(static_cast<unsigned char>(byte));
  }
};

/// Makes one token of all.
struct Fuse {
  template <class Emit>
  void push(std::string_view fragment, bool, Emit&& emit) {
    if (!fragment.empty()) emit(fragment, false);
  }
  template <class Emit>
  void finish(Emit&& emit) {
    emit("", true);
  }
};

/// Takes up to `start` times `content` from a token's front and up to `stop` times from its end.
struct Strip {
  std::string content;  // one character
  std::int64_t start;
  std::int64_t stop;
  std::int64_t taken = 0;  // at this token's front
  bool at_front = true;
  std::int64_t withheld = 0;  // at this token's end so far; at most `stop`
  template <class Emit>
  void push(std::string_view fragment, bool end, Emit&& emit) {
    while (!fragment.empty()) {
      const auto character = fragment.substr(0, utf8_length(fragment[0]));
      const bool same = character == content;
      fragment.remove_prefix(character.size());
      if (at_front && same && taken < start) {
        ++taken;
        continue;
      }
      at_front = false;
      if (same) {
        if (withheld == stop) {
          emit(content, false);
        } else {
          ++withheld;
        }
        continue;
      }
      for (; withheld > 0; --withheld) emit(content, false);
      emit(character, false);
    }
    if (!end) return;
    emit("", true);
    taken = withheld = 0;
    at_front = true;
  }
  template <class Emit>
  void finish(Emit&&) {}
};

/// The mark becomes a blank, in the first token (where the pre-tokenizer put one in front) nothing.
struct Metaspace {
  MetaspaceSettings settings;
  bool first = true;
  std::string held = {};
  template <class Emit>
  void push(std::string_view fragment, bool end, Emit&& emit) {
    when_whole(held, fragment, end, [&](std::string_view token) {
      const bool dropped = first && settings.scheme != PrependScheme::never;
      emit(TextPattern(settings.replacement).replaced(token, dropped ? "" : " "), true);
      first = false;
    });
  }
  template <class Emit>
  void finish(Emit&&) {}
};

}  // namespace decoders

/// The decoder of a tokenizer: its stages in a row. Holds state, so each text needs a fresh copy.
class Decoder {
 public:
  using Stage = std::variant<decoders::Join, decoders::ByteLevel, decoders::Replace, decoders::ByteFallback,
                             decoders::Fuse, decoders::Strip, decoders::Metaspace>;

  /// `component` may be null: then tokens are joined with blanks, as the Rust library does.
  static Decoder from_json(const nlohmann::json* component, const std::string& origin) {
    Decoder out;
    if (component == nullptr) {
      out.stages_.emplace_back(decoders::Join{});
    } else {
      out.add(*component, origin);
    }
    return out;
  }

  /// Takes one token and appends the text that is certain by now.
  void push(std::string_view token, std::string& out) { feed(0, token, true, out); }

  /// Ends the text and appends what was held back.
  void finish(std::string& out) {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      std::visit([&](auto& stage) { stage.finish(Next{this, i + 1, &out}); }, stages_[i]);
    }
  }

 private:
  /// What a stage emits to: the stage after it, or the text.
  struct Next {
    Decoder* decoder;
    std::size_t stage;
    std::string* out;
    void operator()(std::string_view fragment, bool end) const { decoder->feed(stage, fragment, end, *out); }
  };

  void feed(std::size_t i, std::string_view fragment, bool end, std::string& out) {
    if (i == stages_.size()) {
      out += fragment;
      return;
    }
    std::visit([&](auto& stage) { stage.push(fragment, end, Next{this, i + 1, &out}); }, stages_[i]);
  }

  void add(const nlohmann::json& component, const std::string& origin) {
    using namespace decoders;
    const auto& type = detail::component_type(component, origin);
    if (type == "Sequence") {
      std::size_t index = 0;
      for (const auto& part : get_array(component, "decoders", origin)) {
        add(part, fmt::format("{}.decoders[{}]", origin, index++));
      }
    } else if (type == "ByteLevel") {
      stages_.emplace_back(ByteLevel{});
    } else if (type == "Replace") {
      stages_.emplace_back(
          Replace{TextPattern::from_json(component, origin), get_string(component, "content", origin)});
    } else if (type == "ByteFallback") {
      stages_.emplace_back(ByteFallback{});
    } else if (type == "Fuse") {
      stages_.emplace_back(Fuse{});
    } else if (type == "Strip") {
      stages_.emplace_back(read_strip(component, origin));
    } else if (type == "Metaspace") {
      stages_.emplace_back(Metaspace{MetaspaceSettings::from_json(component, origin)});
    } else {
      detail::refuse_component(type, origin, "ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, Sequence");
    }
  }

  static decoders::Strip read_strip(const nlohmann::json& component, const std::string& origin) {
    constexpr std::int64_t most = 1 << 20;
    decoders::Strip out{get_string(component, "content", origin), get_int(component, "start", origin, 0, most),
                        get_int(component, "stop", origin, 0, most)};
    check(!out.content.empty() && utf8_length(out.content[0]) == out.content.size(),
          "[{}] \"content\" must be one character, got \"{}\"", origin, out.content);
    return out;
  }

  std::vector<Stage> stages_;
};

}  // namespace hone
