#ifndef LAUNCH_BENCH_RESULT_H_
#define LAUNCH_BENCH_RESULT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace moe {

// One measured thing: "matmul", "qkv forward", shape and speed.
struct BenchResult {
  std::string part;
  std::string name;
  // Shape: name and value, "rows" 2048.
  std::vector<std::pair<std::string, int64_t>> shape;
  double seconds = 0;            // median of one run
  int64_t runs = 0;              // that the median is over
  double flops = 0;              // of one run
  double tokens_per_second = 0;  // 0: not a thing of tokens
  double peak_flops = 0;         // of the cores in use
};

// "matmul   qkv forward         rows 2048 inputs 512 outputs 1024  95.2
// GFLOP/s  32.1 % of peak"
std::string ResultLine(const BenchResult& result);
// The same as one JSON object: part name SHAPE... seconds runs gflops
// share_of_peak and, for a step, tokens_per_second.
std::string ResultJson(const BenchResult& result);

// Runs `work` once to warm up, then again until `seconds` are over and at
// least five times; fills in seconds and runs.
void Measure(BenchResult& result, double seconds,
             const std::function<void()>& work);

}  // namespace moe

#endif  // LAUNCH_BENCH_RESULT_H_
