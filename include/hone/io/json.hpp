// JSON from files nobody vouches for: one SAX reader, and typed getters whose errors name the file and the key.
#pragma once

#include <hone/core/error.hpp>
#include <hone/io/read_file.hpp>
#include <hone/io/utf8.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// Arrays and objects nested deeper than this are refused; no file hone reads needs a quarter of it.
inline constexpr std::size_t json_max_depth = 64;

namespace detail {

/// Feeds the lexer and counts what it took, because SAX events do not tell where in the text they stand.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, std::size_t* taken) : at_(at), taken_(taken) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*taken_;
    return *this;
  }
  CountingIterator operator++(int) {
    const auto before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) { return a.at_ == b.at_; }

 private:
  const char* at_;
  std::size_t* taken_;
};

/// What every SAX handler of hone shares: where it reads, and the bound on depth.
class JsonEvents {
 public:
  explicit JsonEvents(std::string_view origin) : origin_(origin) {}

  std::size_t* counter() { return &taken_; }
  std::size_t position() const { return taken_; }
  std::string_view origin() const { return origin_; }

  bool binary(nlohmann::json::binary_t&) { return false; }
  bool parse_error(std::size_t position, const std::string& token, const nlohmann::json::exception& reason) {
    malformed(position, describe(token, reason));
  }
  [[noreturn]] void malformed(std::size_t position, const std::string& reason) const {
    fail("[{}] byte {}: not valid JSON{}", origin_, position, reason);
  }

 protected:
  void enter() {
    check(++depth_ <= json_max_depth, "[{}] byte {}: JSON is nested deeper than {} levels", origin_, position(),
          json_max_depth);
  }
  void leave() { --depth_; }
  std::size_t depth() const { return depth_; }
  static std::string describe(const std::string& token, const nlohmann::json::exception& reason) {
    // nlohmann's text opens with its own error number and position; only what follows concerns the reader.
    const std::string text = reason.what();
    const auto colon = text.find(": ");
    return fmt::format(" near '{}': {}", printable(token), colon == text.npos ? text : text.substr(colon + 2));
  }

 private:
  std::string_view origin_;
  std::size_t taken_ = 0;
  std::size_t depth_ = 0;
};

/// Runs the whole of `text` through `events`; anything after the value but white space is an error.
template <class Events>
void parse_events(std::string_view text, Events& events) {
  // nlohmann's lexer takes a NUL for the end of the text; whatever followed it would go unread.
  if (const auto nul = text.find('\0'); nul != text.npos) events.malformed(nul + 1, ": a NUL byte");
  const CountingIterator first(text.data(), events.counter());
  const CountingIterator last(text.data() + text.size(), events.counter());
  nlohmann::json::sax_parse(first, last, &events);
}

/// Builds a value; unlike nlohmann's own builder it refuses a key given twice, which two readers would read
/// differently.
class JsonBuilder : public JsonEvents {
 public:
  using Json = nlohmann::json;
  using JsonEvents::JsonEvents;

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(std::int64_t value) { return add(value); }
  bool number_unsigned(std::uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool start_object(std::size_t) { return open(Json::object()); }
  bool start_array(std::size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    auto [slot, fresh] = open_.back()->get_ref<Json::object_t&>().emplace(std::move(name), nullptr);
    check(fresh, "[{}] byte {}: key \"{}\" is given twice in one object", origin(), position(), slot->first);
    member_ = &slot->second;
    return true;
  }

  Json take() { return std::move(root_); }

 private:
  Json* place(Json value) {
    if (open_.empty()) return &(root_ = std::move(value));
    if (open_.back()->is_array()) return &open_.back()->get_ref<Json::array_t&>().emplace_back(std::move(value));
    return &(*member_ = std::move(value));
  }
  template <class T>
  bool add(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }
  bool open(Json value) {
    enter();
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    leave();
    open_.pop_back();
    return true;
  }

  Json root_;
  std::vector<Json*> open_;  // objects and arrays not closed yet, outermost first
  Json* member_ = nullptr;   // where the value of the last key goes
};

/// "3.5", "\"text\"" or "an array", for messages.
inline std::string json_summary(const nlohmann::json& value) {
  if (value.is_object() || value.is_array()) return value.is_object() ? "an object" : "an array";
  constexpr std::size_t longest = 60;
  const std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.size() <= longest ? text : text.substr(0, longest) + "...";
}

}  // namespace detail

/// The value of a JSON text. Throws Error with `origin` (a file name) and the byte position for malformed JSON, text
/// that is not UTF-8, a key given twice in one object, nesting beyond json_max_depth and numbers beyond a double.
inline nlohmann::json parse_json(std::string_view text, std::string_view origin) {
  detail::JsonBuilder builder(origin);
  detail::parse_events(text, builder);
  return builder.take();
}

/// parse_json of a file's content; a file that is missing or cannot be read is a sentence that names it.
inline nlohmann::json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_file(path), path.string());
}

/// The member `key`, or null when it is absent or JSON null (Hugging Face writes both for "not set").
inline const nlohmann::json* find_key(const nlohmann::json& object, std::string_view key, std::string_view origin) {
  check(object.is_object(), "[{}] \"{}\" was looked for in {}, not in an object", origin, key,
        detail::json_summary(object));
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

/// The member `key`; an Error when it is absent or null.
inline const nlohmann::json& get_key(const nlohmann::json& object, std::string_view key, std::string_view origin) {
  const auto* value = find_key(object, key, origin);
  check(value != nullptr, "[{}] \"{}\" is missing", origin, key);
  return *value;
}

/// `value` as an integer in [min, max]; `key` only names it in errors. A float is refused even when it is integral.
inline std::int64_t json_int(const nlohmann::json& value, std::string_view key, std::string_view origin,
                             std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                             std::int64_t max = std::numeric_limits<std::int64_t>::max()) {
  check(value.is_number_integer(), "[{}] \"{}\" is {}; an integer was expected", origin, key,
        detail::json_summary(value));
  const bool beyond = value.is_number_unsigned() &&
                      value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()};
  const auto number = beyond ? std::numeric_limits<std::int64_t>::max() : value.get<std::int64_t>();
  check(!beyond && number >= min && number <= max, "[{}] \"{}\" is {}; {} to {} was expected", origin, key,
        detail::json_summary(value), min, max);
  return number;
}

/// `value` as a finite double in [min, max]; integers are accepted.
inline double json_double(const nlohmann::json& value, std::string_view key, std::string_view origin,
                          double min = std::numeric_limits<double>::lowest(),
                          double max = std::numeric_limits<double>::max()) {
  check(value.is_number(), "[{}] \"{}\" is {}; a number was expected", origin, key, detail::json_summary(value));
  const auto number = value.get<double>();
  check(std::isfinite(number) && number >= min && number <= max, "[{}] \"{}\" is {}; {} to {} was expected", origin,
        key, detail::json_summary(value), min, max);
  return number;
}

inline bool json_bool(const nlohmann::json& value, std::string_view key, std::string_view origin) {
  check(value.is_boolean(), "[{}] \"{}\" is {}; true or false was expected", origin, key, detail::json_summary(value));
  return value.get<bool>();
}

inline const std::string& json_string(const nlohmann::json& value, std::string_view key, std::string_view origin) {
  check(value.is_string(), "[{}] \"{}\" is {}; a string was expected", origin, key, detail::json_summary(value));
  return value.get_ref<const std::string&>();
}

// Required members: absent or null is an Error that names file and key.

inline std::int64_t get_int(const nlohmann::json& object, std::string_view key, std::string_view origin,
                            std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                            std::int64_t max = std::numeric_limits<std::int64_t>::max()) {
  return json_int(get_key(object, key, origin), key, origin, min, max);
}

inline double get_double(const nlohmann::json& object, std::string_view key, std::string_view origin,
                         double min = std::numeric_limits<double>::lowest(),
                         double max = std::numeric_limits<double>::max()) {
  return json_double(get_key(object, key, origin), key, origin, min, max);
}

inline bool get_bool(const nlohmann::json& object, std::string_view key, std::string_view origin) {
  return json_bool(get_key(object, key, origin), key, origin);
}

inline const std::string& get_string(const nlohmann::json& object, std::string_view key, std::string_view origin) {
  return json_string(get_key(object, key, origin), key, origin);
}

inline const nlohmann::json& get_object(const nlohmann::json& object, std::string_view key, std::string_view origin) {
  const auto& value = get_key(object, key, origin);
  check(value.is_object(), "[{}] \"{}\" is {}; an object was expected", origin, key, detail::json_summary(value));
  return value;
}

inline const nlohmann::json& get_array(const nlohmann::json& object, std::string_view key, std::string_view origin) {
  const auto& value = get_key(object, key, origin);
  check(value.is_array(), "[{}] \"{}\" is {}; an array was expected", origin, key, detail::json_summary(value));
  return value;
}

// Optional members: absent or null is nullopt; a value of the wrong kind or range is still an Error. For a default,
// write find_int(...).value_or(x).

inline std::optional<std::int64_t> find_int(const nlohmann::json& object, std::string_view key, std::string_view origin,
                                            std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                                            std::int64_t max = std::numeric_limits<std::int64_t>::max()) {
  const auto* value = find_key(object, key, origin);
  return value == nullptr ? std::nullopt : std::optional(json_int(*value, key, origin, min, max));
}

inline std::optional<double> find_double(const nlohmann::json& object, std::string_view key, std::string_view origin,
                                         double min = std::numeric_limits<double>::lowest(),
                                         double max = std::numeric_limits<double>::max()) {
  const auto* value = find_key(object, key, origin);
  return value == nullptr ? std::nullopt : std::optional(json_double(*value, key, origin, min, max));
}

inline std::optional<bool> find_bool(const nlohmann::json& object, std::string_view key, std::string_view origin) {
  const auto* value = find_key(object, key, origin);
  return value == nullptr ? std::nullopt : std::optional(json_bool(*value, key, origin));
}

inline std::optional<std::string> find_string(const nlohmann::json& object, std::string_view key,
                                              std::string_view origin) {
  const auto* value = find_key(object, key, origin);
  return value == nullptr ? std::nullopt : std::optional(json_string(*value, key, origin));
}

}  // namespace hone
