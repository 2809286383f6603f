#include "launch/bench/bench_result.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "comm/base/monotonic_time.h"

namespace moe {
namespace {

constexpr size_t kLeastRuns = 5;
// A stage below this share of a step is not shown to people.
constexpr double kSmallShare = 0.0005;

double ShareOfPeak(const BenchResult& result) {
  return result.flops / result.seconds / result.peak_flops;
}

double Giga(double amount, const BenchResult& result) {
  return amount / result.seconds / 1e9;
}

double SecondsOf(const std::function<void()>& work) {
  const absl::Duration begin = MonotonicTime();
  work();
  return absl::ToDoubleSeconds(MonotonicTime() - begin);
}

// As JSON, which knows no infinity.
std::string Number(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.9g", value) : "null";
}

std::string SharesLine(const BenchResult& result) {
  std::vector<std::string> shares;
  for (const auto& [stage, share] : result.phase_shares) {
    if (share >= kSmallShare)
      shares.push_back(absl::StrFormat("%s %.1f %%", stage, 100 * share));
  }
  return absl::StrJoin(shares, ", ");
}

}  // namespace

std::string ResultLines(const BenchResult& result) {
  std::string shape;
  for (const auto& [name, value] : result.shape)
    absl::StrAppend(&shape, shape.empty() ? "" : " ", name, " ", value);
  std::string lines = absl::StrFormat("%-10s %-40s %-46s %9.3f ms", result.part,
                                      result.name, shape, 1e3 * result.seconds);
  if (result.flops > 0) {
    absl::StrAppendFormat(&lines, " %8.1f GFLOP/s %5.1f %%",
                          Giga(result.flops, result),
                          100 * ShareOfPeak(result));
  }
  if (result.bytes > 0)
    absl::StrAppendFormat(&lines, " %8.1f GB/s", Giga(result.bytes, result));
  if (result.tokens_per_second > 0)
    absl::StrAppendFormat(&lines, " %9.1f tokens/s", result.tokens_per_second);
  std::vector<std::string> texts;
  for (const BenchFigure& figure : result.figures)
    if (!figure.text.empty()) texts.push_back(figure.text);
  // One short remark stands behind the numbers, more of them below.
  const bool is_short = texts.size() == 1 && result.phase_shares.empty();
  const std::string below = absl::StrCat("\n", std::string(11, ' '));
  if (!texts.empty())
    absl::StrAppend(&lines, is_short ? "  " : below,
                    absl::StrJoin(texts, ", "));
  if (!result.phase_shares.empty())
    absl::StrAppend(&lines, below, SharesLine(result));
  return lines;
}

std::string ResultJson(const BenchResult& result) {
  std::string json = absl::StrFormat(
      "{\"part\":\"%s\",\"name\":\"%s\",\"compute_dtype\":\"%s\"", result.part,
      result.name, result.compute_dtype);
  for (const auto& [name, value] : result.shape)
    absl::StrAppendFormat(&json, ",\"%s\":%d", name, value);
  const auto append = [&json](const std::string& name, double value) {
    absl::StrAppend(&json, ",\"", name, "\":", Number(value));
  };
  append("seconds", result.seconds);
  absl::StrAppendFormat(&json, ",\"runs\":%d", result.runs);
  if (result.flops > 0) {
    append("gflops", Giga(result.flops, result));
    append("share_of_peak", ShareOfPeak(result));
  }
  if (result.bytes > 0) append("gbytes_per_second", Giga(result.bytes, result));
  if (result.tokens_per_second > 0)
    append("tokens_per_second", result.tokens_per_second);
  for (const BenchFigure& figure : result.figures)
    append(figure.name, figure.value);
  if (!result.phase_shares.empty()) {
    const auto pair = [](std::string* out,
                         const std::pair<std::string, double>& share) {
      absl::StrAppend(out, "\"", share.first, "\":", Number(share.second));
    };
    absl::StrAppend(&json, ",\"stage_share\":{",
                    absl::StrJoin(result.phase_shares, ",", pair), "}");
  }
  return absl::StrCat(json, "}");
}

double Median(std::vector<double> values) {
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void Measure(BenchResult& result, double seconds,
             const std::function<void()>& work) {
  MeasureInTurns(result, seconds, work, [] {});
}

double MeasureInTurns(BenchResult& result, double seconds,
                      const std::function<void()>& work,
                      const std::function<void()>& peer,
                      const std::function<void()>& prepare) {
  prepare();
  work();
  peer();
  std::vector<double> times;
  std::vector<double> peer_times;
  double measured = 0;
  while (times.size() < kLeastRuns || measured < seconds) {
    prepare();
    times.push_back(SecondsOf(work));
    peer_times.push_back(SecondsOf(peer));
    measured += times.back();
  }
  result.seconds = Median(times);
  result.runs = static_cast<int64_t>(times.size());
  return Median(peer_times);
}

}  // namespace moe
