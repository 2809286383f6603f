#ifndef LAUNCH_BENCH_BENCH_KERNELS_H_
#define LAUNCH_BENCH_BENCH_KERNELS_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "launch/bench/bench_result.h"
#include "moe/kernels.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// What is measured, and where results go as they come.
struct BenchOptions {
  TrainConfig config;       // resolved; its shapes are those of one rank alone
  double seconds = 0.5;     // for each measurement
  double peak_flops = 0;    // of the cores in use
  int64_t array_bytes = 0;  // of the smallest array of part "memory"
  std::function<void(BenchResult)> report;
};

// `work`, and the wait until the device has done it: what is to be timed.
std::function<void()> UntilDone(Kernels& kernels, std::function<void()> work);

// Tokens of a micro-batch.
int64_t MicroBatchTokens(const TrainConfig& config);

// Part "matmul": every linear map of the model outside the experts, forward
// and both gradients, over the tokens of a micro-batch.
absl::Status BenchMatMul(Kernels& kernels, const BenchOptions& options);

// Part "experts": the grouped products of one layer, forward and both
// gradients, in turns with one dense product of all rows, inputs and outputs.
// Rows are spread over the experts evenly; like i^-1.2 for the i-th; half of
// them to one and the rest evenly; and all to one.
absl::Status BenchExperts(Kernels& kernels, const BenchOptions& options);

// Part "attention": causal attention of a micro-batch.
absl::Status BenchAttention(Kernels& kernels, const BenchOptions& options);

// Part "optimizer": AdamW over all parameters. FLOPs are counted as 12 an
// element; it is memory that bounds it.
absl::Status BenchOptimizer(Kernels& kernels, const BenchOptions& options);

// Part "memory": kernels that memory bounds, in turns with a plain copy, on
// arrays that no cache holds. Bytes are those that have to be read and written;
// what a store reads first is not counted. ResourceExhausted: so much memory is
// not available.
absl::Status BenchMemory(Kernels& kernels, const BenchOptions& options);

}  // namespace moe

#endif  // LAUNCH_BENCH_BENCH_KERNELS_H_
