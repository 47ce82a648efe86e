// The slot-error rate: which attributes a description was asked for does it leave out, and which does it make up?
#pragma once

#include <hone/eval/text_metrics.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// An attribute a text must mention: `name[value]`.
struct Slot {
  std::string name;
  std::string value;
  bool operator==(const Slot&) const = default;
};

/// All values an attribute can have. An attribute without one (a name, say) can be missed but not invented.
struct SlotVocabulary {
  std::string name;
  std::vector<std::string> values;
};

/// Counts over one or many texts.
struct SlotErrors {
  std::int64_t slots = 0;     ///< attributes asked for
  std::int64_t missed = 0;    ///< of them, not in the text
  std::int64_t invented = 0;  ///< values of a vocabulary in the text that were not asked for, each once a text

  double rate() const { return slots == 0 ? 0 : static_cast<double>(missed + invented) / static_cast<double>(slots); }
  SlotErrors& operator+=(const SlotErrors& other) {
    slots += other.slots;
    missed += other.missed;
    invented += other.invented;
    return *this;
  }
};

namespace text_metrics {

struct Range {
  std::size_t begin, end;
  bool overlaps(const Range& o) const { return begin < o.end && o.begin < end; }
};

inline bool is_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || byte >= 0x80;
}

/// Does text[begin, end) stand as whole words? "$24" does not in "$249" nor in "$24.50".
inline bool stands_alone(std::string_view text, Range r) {
  const auto joined = [&](std::size_t at) {
    return at > 0 && at < text.size() && is_word(text[at - 1]) && is_word(text[at]);
  };
  if (joined(r.begin) || joined(r.end)) return false;
  return !(r.end + 1 < text.size() && is_digit(text[r.end - 1]) && is_stop(text[r.end]) && is_digit(text[r.end + 1]));
}

/// Where a lower-case value stands in a lower-case text as whole words.
inline std::vector<Range> occurrences(std::string_view text, std::string_view value) {
  std::vector<Range> found;
  if (value.empty()) return found;
  for (std::size_t at = text.find(value); at != std::string_view::npos; at = text.find(value, at + 1)) {
    const Range range{at, at + value.size()};
    if (stands_alone(text, range)) found.push_back(range);
  }
  return found;
}

inline std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

/// Is `inner` one occurrence inside a longer one ("blue" of "sky blue")?
inline bool inside_any(const Range& inner, const std::vector<Range>& ranges) {
  for (const Range& outer : ranges)
    if (outer.begin <= inner.begin && inner.end <= outer.end && outer.end - outer.begin > inner.end - inner.begin)
      return true;
  return false;
}

}  // namespace text_metrics

/// Reads `name[Velora] | category[desk lamp]` or `name[The Mill], eatType[pub]`: every key[value] in order; what stands
/// between (commas, bars, spaces) only separates. Throws at an opening bracket without a key or a closing one.
inline std::vector<Slot> parse_slots(std::string_view text) {
  std::vector<Slot> slots;
  const auto separates = [](char c) { return text_metrics::is_space(c) || c == ',' || c == '|' || c == ';'; };
  std::size_t at = 0;
  for (std::size_t open = text.find('['); open != std::string_view::npos; open = text.find('[', at)) {
    while (at < open && separates(text[at])) ++at;
    const std::size_t close = text.find(']', open);
    check(close != std::string_view::npos, "[parse_slots] '[' at byte {} of \"{}\" is never closed", open, text);
    check(at < open, "[parse_slots] '[' at byte {} of \"{}\" has no name before it", open, text);
    slots.push_back({std::string(text.substr(at, open - at)), std::string(text.substr(open + 1, close - open - 1))});
    at = close + 1;
  }
  return slots;
}

/// The closed vocabularies of a corpus: for each attribute named, every value that occurs, sorted.
inline std::vector<SlotVocabulary> collect_vocabularies(std::span<const std::vector<Slot>> rows,
                                                        std::span<const std::string> names) {
  std::vector<SlotVocabulary> vocabularies;
  for (const std::string& name : names) {
    std::set<std::string> values;
    for (const auto& row : rows)
      for (const Slot& slot : row)
        if (slot.name == name) values.insert(slot.value);
    vocabularies.push_back({name, {values.begin(), values.end()}});
  }
  return vocabularies;
}

/// Missed and invented attributes of one text. A value counts as mentioned where it stands as whole words, letter for
/// letter but for ASCII case. A mention inside a longer value of its own vocabulary is that longer value ("blue" in
/// "sky blue"), and one that overlaps a value asked for is not an invention.
inline SlotErrors slot_errors(std::string_view text, std::span<const Slot> slots,
                              std::span<const SlotVocabulary> vocabularies) {
  using namespace text_metrics;
  const std::string haystack = lowered(text);
  SlotErrors errors;
  errors.slots = static_cast<std::int64_t>(slots.size());

  // Every mention of every vocabulary, so that the longest can win.
  std::vector<std::vector<std::pair<std::string, Range>>> mentions(vocabularies.size());
  std::vector<std::vector<Range>> ranges(vocabularies.size());
  for (std::size_t v = 0; v < vocabularies.size(); ++v)
    for (const std::string& value : vocabularies[v].values) {
      const std::string needle = lowered(value);
      for (const Range& range : occurrences(haystack, needle)) {
        mentions[v].emplace_back(needle, range);
        ranges[v].push_back(range);
      }
    }

  std::vector<Range> asked;  // where the text says what it was asked to say
  for (const Slot& slot : slots) {
    bool found = false;
    for (const Range& range : occurrences(haystack, lowered(slot.value))) {
      bool part_of_longer = false;
      for (std::size_t v = 0; v < vocabularies.size(); ++v)
        part_of_longer |= vocabularies[v].name == slot.name && inside_any(range, ranges[v]);
      if (part_of_longer) continue;
      asked.push_back(range);
      found = true;
    }
    if (!found) ++errors.missed;
  }

  for (std::size_t v = 0; v < vocabularies.size(); ++v) {
    std::set<std::string> invented;
    for (const auto& [value, range] : mentions[v]) {
      bool wanted = inside_any(range, ranges[v]);
      for (const Range& r : asked) wanted |= r.overlaps(range);
      if (!wanted) invented.insert(value);
    }
    // Saying twice what was asked for is no invention, wherever the second mention stands.
    for (const Slot& slot : slots)
      if (slot.name == vocabularies[v].name) invented.erase(lowered(slot.value));
    errors.invented += static_cast<std::int64_t>(invented.size());
  }
  return errors;
}

}  // namespace hone
