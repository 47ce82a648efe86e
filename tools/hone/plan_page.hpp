// The script of the page of plan_html.cpp: what its cursor does.
#pragma once

#include <string_view>

namespace hone::cli {

inline constexpr std::string_view page_script = R"(const chart = document.getElementById("chart");
const cursor = document.getElementById("cursor");
const readout = document.getElementById("readout");
const atPeak = readout.innerHTML;
function human(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit + 1 < units.length) { bytes /= 1024; ++unit; }
  return unit === 0 ? bytes + " B" : bytes.toFixed(2) + " " + units[unit];
}
chart.addEventListener("mousemove", (move) => {
  const box = chart.getBoundingClientRect();
  const x = (move.clientX - box.left) * 960 / box.width;
  const event = (x - left) / (right - left) * events;
  if (event < 0 || event >= events) return;
  let at = 0;
  while (at + 1 < begins.length && begins[at + 1] <= event) ++at;
  const held = names.map((name, i) => rows[at * names.length + i]);
  const total = held.reduce((sum, bytes) => sum + bytes, 0);
  readout.innerHTML = "<b>event " + begins[at].toLocaleString("en") + ": " + human(total) + "</b>" +
      names.map((name, i) => " · " + name + " " + human(held[i])).join("");
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  cursor.setAttribute("visibility", "visible");
});
chart.addEventListener("mouseleave", () => {
  readout.innerHTML = atPeak;
  cursor.setAttribute("visibility", "hidden");
});
)";

}  // namespace hone::cli
