#include "launch/bench_result.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace moe {
namespace {

constexpr size_t kLeastRuns = 5;

double ShareOfPeak(const BenchResult& result) {
  return result.flops / result.seconds / result.peak_flops;
}

double GigaFlops(const BenchResult& result) {
  return result.flops / result.seconds / 1e9;
}

}  // namespace

std::string ResultLine(const BenchResult& result) {
  std::string shape;
  for (const auto& [name, value] : result.shape)
    absl::StrAppend(&shape, shape.empty() ? "" : " ", name, " ", value);
  std::string line =
      absl::StrFormat("%-10s %-28s %-40s %9.3f ms %8.1f GFLOP/s %5.1f %%",
                      result.part, result.name, shape, 1e3 * result.seconds,
                      GigaFlops(result), 100 * ShareOfPeak(result));
  if (result.tokens_per_second > 0)
    absl::StrAppendFormat(&line, " %9.1f tokens/s", result.tokens_per_second);
  return line;
}

std::string ResultJson(const BenchResult& result) {
  std::string json = absl::StrFormat("{\"part\":\"%s\",\"name\":\"%s\"",
                                     result.part, result.name);
  for (const auto& [name, value] : result.shape)
    absl::StrAppendFormat(&json, ",\"%s\":%d", name, value);
  absl::StrAppendFormat(
      &json,
      ",\"seconds\":%.9g,\"runs\":%d,\"gflops\":%.9g,\"share_of_peak\":%.9g",
      result.seconds, result.runs, GigaFlops(result), ShareOfPeak(result));
  if (result.tokens_per_second > 0) {
    absl::StrAppendFormat(&json, ",\"tokens_per_second\":%.9g",
                          result.tokens_per_second);
  }
  return absl::StrCat(json, "}");
}

void Measure(BenchResult& result, double seconds,
             const std::function<void()>& work) {
  work();
  std::vector<double> times;
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  while (times.size() < kLeastRuns || absl::Now() < end) {
    const absl::Time begin = absl::Now();
    work();
    times.push_back(absl::ToDoubleSeconds(absl::Now() - begin));
  }
  std::nth_element(
      times.begin(),
      times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
      times.end());
  result.seconds = times[times.size() / 2];
  result.runs = static_cast<int64_t>(times.size());
}

}  // namespace moe
