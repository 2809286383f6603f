#ifndef LAUNCH_BENCH_BENCH_STEP_H_
#define LAUNCH_BENCH_BENCH_STEP_H_

#include "absl/status/status.h"
#include "comm/mpi/mpi_runtime.h"
#include "launch/bench/bench_kernels.h"

namespace moe {

// Whole training steps of the configuration, see BenchTrainer: forward,
// backward, reduction, clipping, AdamW. Collective; rank 0 reports.

// Part "step": how fast, what the time goes into, how much memory the largest
// rank takes, how many bytes the token dispatcher sends.
absl::Status BenchStep(const MpiRuntime& runtime, const BenchOptions& options);

// Part "skew": steps of a router that sends half of all rows to one expert (all
// tokens, where each goes to more than two), in turns with balanced ones.
absl::Status BenchSkew(const MpiRuntime& runtime, const BenchOptions& options);

}  // namespace moe

#endif  // LAUNCH_BENCH_BENCH_STEP_H_
