// Text on its way to ids: one buffer and the ranges it has been cut into, in order; some are tokens already.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

struct Piece {
  static constexpr std::int32_t no_token = -1;

  std::size_t begin = 0;
  std::size_t end = 0;
  std::int32_t token = no_token;  // >= 0: found to be this token; its text is not looked at again
  bool at_start = false;          // begins where the user's text begins
};

/// A part of a piece, as a pattern sees it.
struct Segment {
  std::size_t begin;
  std::size_t end;
  bool is_match;
};

/// What becomes of a pattern's matches when it cuts.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

namespace detail {

/// Joins neighbours in place, in the order of the iterators: `absorb(into, next)` where `joins(before, next)` says so.
template <class Iterator, class Joins, class Absorb>
Iterator fold_segments(Iterator first, Iterator last, Joins&& joins, Absorb&& absorb) {
  Iterator kept = first;
  bool before = false;
  for (Iterator next = first; next != last; ++next) {
    const Segment segment = *next;
    if (kept != first && joins(before, segment.is_match)) {
      absorb(*(kept - 1), segment);
    } else {
      *kept++ = segment;
    }
    before = segment.is_match;
  }
  return kept;
}

}  // namespace detail

/// Applies a behaviour to the segments of one piece; what is left are the new pieces.
inline void merge_segments(std::vector<Segment>& segments, SplitBehavior behavior) {
  const auto extend_end = [](Segment& into, const Segment& next) { into.end = next.end; };
  const auto extend_begin = [](Segment& into, const Segment& next) { into.begin = next.begin; };
  // A match joins its neighbour unless that neighbour is a match too: of several in a row, only the first does.
  const auto lone_match = [](bool before, bool match) { return match && !before; };
  switch (behavior) {
    case SplitBehavior::isolated:
      return;
    case SplitBehavior::removed:
      std::erase_if(segments, [](const Segment& s) { return s.is_match; });
      return;
    case SplitBehavior::contiguous: {
      const auto same = [](bool before, bool match) { return match == before; };
      segments.erase(detail::fold_segments(segments.begin(), segments.end(), same, extend_end), segments.end());
      return;
    }
    case SplitBehavior::merged_with_previous:
      segments.erase(detail::fold_segments(segments.begin(), segments.end(), lone_match, extend_end), segments.end());
      return;
    case SplitBehavior::merged_with_next: {
      const auto kept = detail::fold_segments(segments.rbegin(), segments.rend(), lone_match, extend_begin);
      segments.erase(segments.begin(), kept.base());
      return;
    }
  }
}

/// The buffer and its pieces.
class Pieces {
 public:
  /// One piece: the whole text, which must be valid UTF-8.
  explicit Pieces(std::string text) : text_(std::move(text)) {
    if (!text_.empty()) list_.push_back({0, text_.size(), Piece::no_token, true});
  }

  const std::vector<Piece>& list() const { return list_; }
  std::string_view text(const Piece& piece) const {
    return std::string_view(text_).substr(piece.begin, piece.end - piece.begin);
  }

  /// Replaces every piece that is no token by what cut(text, piece, add) adds; add(begin, end, token) takes offsets
  /// within the piece. Empty pieces are dropped, and tokens whose text a neighbour has swallowed.
  template <class Cut>
  void refine(Cut&& cut) {
    std::vector<Piece> refined;
    refined.reserve(list_.size());
    for (const auto& piece : list_) {
      if (piece.token != Piece::no_token) {
        refined.push_back(piece);
        continue;
      }
      cut(text(piece), [&](std::size_t begin, std::size_t end, std::int32_t token = Piece::no_token) {
        if (begin >= end) return;
        refined.push_back({piece.begin + begin, piece.begin + end, token, piece.at_start && begin == 0});
      });
    }
    list_ = std::move(refined);
  }

  /// Cuts every piece along a pattern: walk(text, found) calls found(begin, end) for each match from left to right.
  template <class Walk>
  void split(SplitBehavior behavior, bool invert, Walk&& walk) {
    std::vector<Segment> segments;
    refine([&](std::string_view text, auto&& add) {
      segments.clear();
      std::size_t done = 0;
      walk(text, [&](std::size_t begin, std::size_t end) {
        if (done != begin) segments.push_back({done, begin, invert});
        segments.push_back({begin, end, !invert});
        done = end;
      });
      if (done != text.size()) segments.push_back({done, text.size(), invert});
      merge_segments(segments, behavior);
      for (const auto& segment : segments) add(segment.begin, segment.end);
    });
  }

  /// Rewrites the text of every piece that is no token: write(text, at_start, out) appends to the new buffer.
  template <class Write>
  void rewrite(Write&& write) {
    std::string out;
    out.reserve(text_.size() + text_.size() / 4 + 16);
    for (auto& piece : list_) {
      if (piece.token != Piece::no_token) continue;
      const auto begin = out.size();
      write(text(piece), piece.at_start, out);
      piece.begin = begin;
      piece.end = out.size();
    }
    text_ = std::move(out);
    std::erase_if(list_, [](const Piece& p) { return p.token == Piece::no_token && p.begin == p.end; });
  }

 private:
  std::string text_;
  std::vector<Piece> list_;
};

}  // namespace hone
