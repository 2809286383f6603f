#ifndef LAUNCH_BENCH_KERNELS_H_
#define LAUNCH_BENCH_KERNELS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "launch/bench_result.h"
#include "moe/kernels.h"
#include "trainer/train_config.pb.h"

namespace moe {

// What is measured, and where results go as they come.
struct BenchOptions {
  TrainConfig config;     // resolved; its shapes are those of one rank alone
  double seconds = 0.5;   // for each measurement
  double peak_flops = 0;  // of the cores in use
  std::function<void(const BenchResult&)> report;
};

// Part "matmul": every linear map of the model outside the experts, forward
// and both gradients, over the tokens of a micro-batch.
absl::Status BenchMatMul(KernelContext& kernels, const BenchOptions& options);

// Part "experts": the grouped products of one layer, rows spread evenly over
// all experts.
absl::Status BenchExperts(KernelContext& kernels, const BenchOptions& options);

// Part "attention": causal attention of a micro-batch.
absl::Status BenchAttention(KernelContext& kernels,
                            const BenchOptions& options);

// Part "optimizer": AdamW over all parameters. FLOPs are counted as 12 an
// element; it is memory that bounds it.
absl::Status BenchOptimizer(KernelContext& kernels,
                            const BenchOptions& options);

}  // namespace moe

#endif  // LAUNCH_BENCH_KERNELS_H_
