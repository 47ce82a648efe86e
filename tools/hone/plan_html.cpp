#include "plan_html.hpp"

#include "html.hpp"
#include "plan_page.hpp"

#include <cmath>

namespace hone::cli {
namespace {

constexpr std::size_t samples_shown = 2000, buffers_shown = 40;

// Okabe and Ito's palette: told apart by people who see no red, no green or no blue.
constexpr std::array<std::string_view, all_categories.size()> colours = {"#0072b2", "#e69f00", "#009e73", "#56b4e9",
                                                                         "#d55e00", "#f0e442", "#999999"};

std::string_view colour_of(Category category) { return colours[index_of(category)]; }

std::vector<Category> categories_in(const CategoryBytes& bytes) {
  std::vector<Category> out;
  for (const Category category : all_categories)
    if (category != Category::host && bytes[index_of(category)] > 0) out.push_back(category);
  return out;
}

std::string swatch(Category category) {
  return fmt::format(R"(<svg class="swatch" viewBox="0 0 10 10"><rect width="10" height="10" fill="{}"/></svg>)",
                     colour_of(category));
}

std::string legend(const std::vector<Category>& categories) {
  std::string out = "<p class=\"legend\">";
  for (const Category category : categories)
    out += fmt::format("<span>{}{}</span> ", swatch(category), name_of(category));
  return out + "</p>\n";
}

/// Distance of about five lines over `highest`, a round number of a binary unit.
double tick_of(std::int64_t highest) {
  const double unit = byte_unit(highest).bytes;
  const double raw = static_cast<double>(std::max<std::int64_t>(highest, 1)) / unit / 5;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double round : {1.0, 2.0, 2.5, 5.0})
    if (raw <= round * power) return round * power * unit;
  return 10 * power * unit;
}

std::string tick_label(double bytes, std::int64_t highest) {
  const ByteUnit unit = byte_unit(highest);
  return bytes == 0 ? "0" : fmt::format("{:g} {}", bytes / unit.bytes, unit.name);
}

/// The stacked areas of one phase.
class Chart {
 public:
  explicit Chart(const Phase& phase)
      : phase_(phase),
        categories_(categories_in(phase.highest)),
        samples_(sample_timeline(phase.timeline, samples_shown)) {}

  std::string html() const {
    std::string out = legend(categories_) +
                      "<svg id=\"chart\" class=\"chart\" viewBox=\"0 0 960 380\" role=\"img\" "
                      "aria-label=\"live bytes over one batch, stacked by category\">\n" +
                      grid();
    for (std::size_t i = categories_.size(); i > 0; --i) out += area(i);  // the highest edge first, others over it
    return out + peak_mark() +
           "<line id=\"cursor\" class=\"cursor\" y1=\"30\" y2=\"340\" visibility=\"hidden\"/>\n</svg>\n"
           "<p id=\"readout\" class=\"readout\">" +
           at_peak() + "</p>\n" + caption() + data();
  }

 private:
  static constexpr double left = 80, right = 950, top = 30, bottom = 340;

  double x(std::size_t event) const {
    return left + (right - left) * static_cast<double>(event) / static_cast<double>(phase_.timeline.size());
  }
  double y(std::int64_t bytes) const { return bottom - (bottom - top) * share_of(bytes, phase_.peak_bytes); }

  std::string grid() const {
    std::string out;
    const double tick = tick_of(phase_.peak_bytes);
    for (double at = 0; at <= static_cast<double>(phase_.peak_bytes); at += tick) {
      const double line = y(static_cast<std::int64_t>(at));
      out += fmt::format(R"(<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>)", left, right, line);
      out += fmt::format(R"(<text x="{}" y="{:.1f}" text-anchor="end">{}</text>)", left - 8, line + 4,
                         tick_label(at, phase_.peak_bytes)) +
             "\n";
    }
    return out +
           fmt::format(R"(<text x="{}" y="366" text-anchor="end">allocations and releases, in order</text>)", right) +
           "\n";
  }

  /// Everything below the upper edge of the first `count` categories.
  std::string area(std::size_t count) const {
    std::string path = fmt::format("M{:.1f} {:.1f}", left, bottom);
    std::string height;
    for (const TimelineSample& sample : samples_) {
      std::int64_t bytes = 0;
      for (std::size_t i = 0; i < count; ++i) bytes += sample.bytes[index_of(categories_[i])];
      std::string now = fmt::format("{:.1f}", y(bytes));
      if (now == height) continue;
      path += fmt::format("H{:.1f}V{}", x(sample.begin), now);
      height = std::move(now);
    }
    return fmt::format("<path fill=\"{}\" d=\"{}H{:.1f}V{:.1f}Z\"/>\n", colour_of(categories_[count - 1]), path, right,
                       bottom);
  }

  std::string peak_mark() const {
    std::size_t event = 0;
    while (device_bytes(phase_.timeline[event]) != phase_.peak_bytes) ++event;
    const double at = (x(event) + x(event + 1)) / 2;
    const bool early = at < (left + right) / 2;
    return fmt::format(R"(<line class="peak" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>)", at, top - 6, bottom) +
           fmt::format(R"(<circle class="peak" cx="{:.1f}" cy="{}" r="3.5"/>)", at, top) +
           fmt::format(R"(<text class="strong" x="{:.1f}" y="18" text-anchor="{}">peak {}</text>)", at,
                       early ? "start" : "end", human_bytes(phase_.peak_bytes)) +
           "\n";
  }

  std::string at_peak() const {
    std::string out = fmt::format("<b>at the peak {}</b>", human_bytes(phase_.peak_bytes));
    for (const Category category : categories_in(phase_.at_peak))
      out += fmt::format(" · {} {}", name_of(category), human_bytes(phase_.at_peak[index_of(category)]));
    return out;
  }

  std::string caption() const {
    const std::size_t events = phase_.timeline.size() - 1, stretch = samples_.size() > 1 ? samples_[1].begin : 1;
    const std::string sampled =
        stretch > 1 ? fmt::format(" Each point is the highest of {} of them.", stretch) : std::string();
    return fmt::format(
        "<p class=\"note\">One batch, forward and backward: live bytes after each of its {} allocations "
        "and releases.{} The axis counts them; it is not time.</p>\n",
        with_commas(static_cast<std::int64_t>(events)), sampled);
  }

  /// What the cursor reads: numbers and the names of categories, no text from outside.
  std::string data() const {
    std::string names, begins, rows;
    for (const Category category : categories_) names += fmt::format("\"{}\",", name_of(category));
    for (const TimelineSample& sample : samples_) {
      begins += fmt::format("{},", sample.begin);
      for (const Category category : categories_) rows += fmt::format("{},", sample.bytes[index_of(category)]);
    }
    return fmt::format(
        "<script>\nconst names=[{}],events={},left={},right={};\nconst begins=[{}];\nconst rows=[{}];\n{}"
        "</script>\n",
        names, phase_.timeline.size(), left, right, begins, rows, page_script);
  }

  const Phase& phase_;
  std::vector<Category> categories_;
  std::vector<TimelineSample> samples_;
};

/// One bar for each phase, all on one scale.
std::string phase_bars(const Plan& plan) {
  constexpr double left = 90, width = 640;
  const auto phases = shown_phases(plan);
  std::int64_t full = 1;
  CategoryBytes held{};
  for (const Phase* phase : phases) {
    full = std::max(full, phase->peak_bytes);
    for (std::size_t i = 0; i < held.size(); ++i) held[i] = std::max(held[i], phase->at_peak[i]);
  }
  std::string bars;
  int row = 0;
  for (const Phase* phase : phases) {
    const int y = 34 * row++;
    double x = left;
    bars += fmt::format(R"(<text x="{}" y="{}" text-anchor="end">{}</text>)", left - 10, y + 17, escaped(phase->name));
    for (const Category category : categories_in(phase->at_peak)) {
      const std::int64_t bytes = phase->at_peak[index_of(category)];
      const double length = width * share_of(bytes, full);
      bars += fmt::format(R"(<rect x="{:.2f}" y="{}" width="{:.2f}" height="24" fill="{}"><title>{} {}</title></rect>)",
                          x, y, length, colour_of(category), name_of(category), human_bytes(bytes));
      x += length;
    }
    const bool peak = phase == &peak_phase(plan);
    bars += fmt::format(R"(<text class="{}" x="{:.1f}" y="{}">{}{}</text>)", peak ? "strong" : "", x + 8, y + 17,
                        human_bytes(phase->peak_bytes),
                        peak                        ? ", the run's peak"
                        : phase->name == "generate" ? ", a run of its own"
                                                    : "") +
            "\n";
  }
  return legend(categories_in(held)) +
         fmt::format(
             "<svg class=\"chart\" viewBox=\"0 0 960 {}\" role=\"img\" aria-label=\"peak of each phase\">\n{}</svg>\n",
             34 * row, bars);
}

std::string buffer_row(std::string_view category, std::string_view name, std::int64_t bytes, double part,
                       std::string_view colour) {
  return fmt::format(
      "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>"
      "<td class=\"number\">{:.1f} %</td><td><svg class=\"share\" viewBox=\"0 0 100 10\" "
      "preserveAspectRatio=\"none\"><rect width=\"{:.2f}\" height=\"10\" fill=\"{}\"/></svg></td></tr>\n",
      category, escaped(name), human_bytes(bytes), with_commas(bytes), 100 * part, 100 * part, colour);
}

std::string buffer_table(const Phase& phase) {
  std::string out =
      "<table>\n<tr><th>category</th><th>buffer</th><th></th><th class=\"number\">bytes</th>"
      "<th class=\"number\">share</th><th></th></tr>\n";
  const LargestBuffers buffers = largest_buffers(phase, buffers_shown);
  for (const Buffer& buffer : buffers.largest)
    out += buffer_row(swatch(buffer.category) + std::string(name_of(buffer.category)), buffer.name, buffer.bytes,
                      share_of(buffer.bytes, phase.peak_bytes), colour_of(buffer.category));
  if (buffers.others > 0)
    out += buffer_row("others", fmt::format("{} names", buffers.others), buffers.other_bytes,
                      share_of(buffers.other_bytes, phase.peak_bytes), "#999999");
  return out + "</table>\n";
}

std::string row(std::string_view key, std::string_view value) {
  return fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", escaped(key), escaped(value));
}

std::string totals(const Plan& plan, const Target& target, const std::optional<Driver>& driver) {
  const auto bytes = [](std::int64_t count) {
    return fmt::format("{} ({} bytes)", human_bytes(count), with_commas(count));
  };
  const Meta::Work& step = plan.step;
  std::string out = row("parameters", with_commas(plan.parameters));
  if (plan.adapter_parameters > 0) out += row("in adapters", with_commas(plan.adapter_parameters));
  out += row("trainable", with_commas(plan.trainable_parameters)) +
         row("peak", fmt::format("{}, in {}", bytes(plan.peak_bytes), peak_phase(plan).name)) +
         row("reserved in slabs", bytes(plan.reserved_bytes())) +
         row("packing", fmt::format("{:.2f} % above what lives in the slab", 100 * packing_overhead(plan)));
  if (driver) out += row("driver, beside", bytes(driver->bytes)) + row("", driver->words);
  return out + row("target", target_words(target)) + row("compute of a step", human_flops(step.flops)) +
         row("moved by a step",
             fmt::format("{} read, {} written", human_bytes(step.bytes_read), human_bytes(step.bytes_written))) +
         row("intensity", fmt::format("{:.1f} FLOP per byte", flops_per_byte(step)));
}

}  // namespace

std::vector<TimelineSample> sample_timeline(const std::vector<CategoryBytes>& timeline, std::size_t count) {
  const std::size_t stretch = std::max<std::size_t>(1, (timeline.size() + count - 1) / count);
  std::vector<TimelineSample> out;
  for (std::size_t begin = 0; begin < timeline.size(); begin += stretch) {
    const auto first = timeline.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = timeline.begin() + static_cast<std::ptrdiff_t>(std::min(begin + stretch, timeline.size()));
    const auto highest =
        std::max_element(first, last, [](const auto& a, const auto& b) { return device_bytes(a) < device_bytes(b); });
    out.push_back({begin, *highest});
  }
  return out;
}

std::string to_html(const Plan& plan, const PlanConfig& config, const std::string& model_name, const Target& target,
                    const std::optional<Driver>& driver) {
  const Phase& peak = peak_phase(plan);
  const Phase* train = plan.phase("train");
  const Phase& shown = train != nullptr ? *train : peak;
  std::string settings;
  for (const RunSetting& setting : run_settings(config)) settings += row(setting.key, text_of(setting.value));
  return fmt::format("{}<title>hone plan: {}</title>\n<style>\n{}</style>\n</head>\n<body>\n", page_opening,
                     escaped(model_name), page_style) +
         fmt::format("<h1>{}</h1>\n<p class=\"lead\">{} at the peak, in {}: {}; {}; {}.</p>\n", escaped(model_name),
                     human_bytes(plan.peak_bytes), escaped(peak.name), escaped(method_words(config.step)),
                     escaped(config.step.policy.name), escaped(batch_words(config))) +
         fmt::format("<h2>Memory over one step: {}</h2>\n", escaped(shown.name)) + Chart(shown).html() +
         fmt::format("<h2>Alive at the peak of {}</h2>\n", escaped(shown.name)) + buffer_table(shown) +
         "<h2>Peak of each phase</h2>\n" + phase_bars(plan) +
         "<div class=\"columns\">\n<section><h2>Totals</h2><table>\n" + totals(plan, target, driver) +
         "</table></section>\n<section><h2>Settings</h2><table>\n" + settings + "</table></section>\n</div>\n" +
         "</body>\n</html>\n";
}

}  // namespace hone::cli
