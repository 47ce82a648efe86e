// Post-processors: the special tokens that a tokenizer puts around a text.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/json.hpp>
#include <hone/text/component.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// Ids before and after the ids of a single text.
struct PostProcessor {
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;

  /// `component` may be null. `is_token(id)` says whether an id exists; a template that uses another is an Error.
  template <class IsToken>
  static PostProcessor from_json(const nlohmann::json* component, const std::string& origin, IsToken&& is_token) {
    PostProcessor out;
    if (component != nullptr) out.add(*component, origin, is_token);
    return out;
  }

 private:
  template <class IsToken>
  void add(const nlohmann::json& component, const std::string& origin, IsToken& is_token) {
    const auto& type = detail::component_type(component, origin);
    if (type == "ByteLevel") return;  // trims offsets, which nobody asks for here
    if (type == "TemplateProcessing") return add_template(component, origin, is_token);
    if (type != "Sequence") detail::refuse_component(type, origin, "TemplateProcessing, ByteLevel, Sequence");
    std::size_t index = 0;
    for (const auto& part : get_array(component, "processors", origin)) {
      add(part, fmt::format("{}.processors[{}]", origin, index++), is_token);
    }
  }

  template <class IsToken>
  void add_template(const nlohmann::json& component, const std::string& origin, IsToken& is_token) {
    std::vector<std::int32_t> front;
    bool text_seen = false;
    for (const auto& piece : get_array(component, "single", origin)) {
      if (const auto* text = find_key(piece, "Sequence", origin)) {
        const auto& name = get_string(*text, "id", origin);
        check(name == "A" && !text_seen, "[{}] \"single\" must hold the sequence A once, got {}", origin, name);
        text_seen = true;
        continue;
      }
      const auto& name = get_string(get_object(piece, "SpecialToken", origin), "id", origin);
      const auto& entry = get_object(get_object(component, "special_tokens", origin), name, origin);
      for (const auto& value : get_array(entry, "ids", origin)) {
        const auto id = static_cast<std::int32_t>(json_int(value, "ids", origin, 0, INT32_MAX));
        check(is_token(id), "[{}] special token \"{}\" has id {}, which is no token", origin, name, id);
        (text_seen ? after : front).push_back(id);
      }
    }
    check(text_seen, "[{}] \"single\" has no place for the text", origin);
    before.insert(before.begin(), front.begin(), front.end());
  }
};

}  // namespace hone
