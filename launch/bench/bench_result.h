#ifndef LAUNCH_BENCH_BENCH_RESULT_H_
#define LAUNCH_BENCH_BENCH_RESULT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace moe {

// A further number of a result: under its name in JSON, as `text` on a line for
// people, who are not shown those without one.
struct BenchFigure {
  std::string name;
  double value = 0;
  std::string text;
};

// One measured thing: "matmul", "qkv forward", shape and speed.
struct BenchResult {
  std::string part = {};
  std::string name = {};
  std::string compute_dtype = {};  // of the configuration
  // Shape: name and value, "rows" 2048.
  std::vector<std::pair<std::string, int64_t>> shape = {};
  double seconds = 0;            // median of one run
  int64_t runs = 0;              // that the median is over
  double flops = 0;              // of one run; 0: not what bounds it
  double bytes = 0;              // read and written by one run; 0: the same
  double tokens_per_second = 0;  // 0: not a thing of tokens
  double peak_flops = 0;         // of the cores in use
  std::vector<BenchFigure> figures = {};
  // What the time went into, stage and share; empty: not known.
  std::vector<std::pair<std::string, double>> phase_shares = {};
};

// "matmul   qkv forward         rows 2048 inputs 512 outputs 1024  95.2
// GFLOP/s  32.1 % of peak", and what figures and shares say on lines below.
std::string ResultLines(const BenchResult& result);
// The same as one JSON object: part name compute_dtype SHAPE... seconds runs;
// gflops and share_of_peak, or gbytes_per_second, or neither; tokens_per_second
// of a step; figures under their names, and stage_share, an object.
std::string ResultJson(const BenchResult& result);

// Of one or more values, in any order; of an even number the upper one.
double Median(std::vector<double> values);

// Runs `work` once to warm up, then again until `seconds` are over and at
// least five times; fills in seconds and runs.
void Measure(BenchResult& result, double seconds,
             const std::function<void()>& work);

// The same in turns with `peer`, a run of each, so that whatever else the
// machine does meets both. `prepare` goes before each run of `work`, and like
// the peer's runs counts neither to its times nor to `seconds`. Returns the
// peer's median seconds.
double MeasureInTurns(
    BenchResult& result, double seconds, const std::function<void()>& work,
    const std::function<void()>& peer,
    const std::function<void()>& prepare = [] {});

}  // namespace moe

#endif  // LAUNCH_BENCH_BENCH_RESULT_H_
