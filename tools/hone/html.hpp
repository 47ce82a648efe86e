// What the pages that the command line writes have in common: how they open, how they look, and text made safe for
// them.
#pragma once

#include <hone/io/utf8.hpp>

#include <string>
#include <string_view>

namespace hone::cli {

// The policy forbids the page to load anything, whatever text found its way into it.
inline constexpr std::string_view page_opening = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
)";

inline constexpr std::string_view page_style =
    R"(:root { --page: #ffffff; --ink: #1c1e21; --soft: #5b616a; --line: #d9dce1; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #16181c; --ink: #e7e9ec; --soft: #a2a9b3; --line: #363b43; }
}
body { background: var(--page); color: var(--ink); max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 0.4rem; break-after: avoid; }
p { margin: 0.3rem 0; }
.lead, .note { color: var(--soft); overflow-wrap: anywhere; }
.note { font-size: 0.87rem; }
.legend span { margin-right: 1.1rem; white-space: nowrap; }
.swatch { width: 0.75em; height: 0.75em; margin-right: 0.4em; }
.chart { width: 100%; height: auto; display: block; break-inside: avoid; }
.chart text { fill: var(--soft); font-size: 13px; }
.chart text.strong { fill: var(--ink); font-weight: 600; }
.grid { stroke: var(--line); }
line.peak { stroke: var(--ink); stroke-dasharray: 4 3; }
circle.peak { fill: var(--page); stroke: var(--ink); stroke-width: 2; }
.cursor { stroke: var(--ink); }
.readout { min-height: 3em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; font-weight: normal; padding: 0.15rem 0.8rem 0.15rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); white-space: nowrap; }
td { overflow-wrap: anywhere; }
tr { break-inside: avoid; }
.number { text-align: right; white-space: nowrap; }
.share { width: 8rem; height: 0.7em; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 0 2.5rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } .readout { min-height: 0; } }
)";

/// `text` as the words of a page: nothing in it is markup.
inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace hone::cli
