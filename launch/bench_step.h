#ifndef LAUNCH_BENCH_STEP_H_
#define LAUNCH_BENCH_STEP_H_

#include "absl/status/status.h"
#include "comm/mpi_runtime.h"
#include "launch/bench_kernels.h"

namespace moe {

// Part "step": whole training steps of the configuration on random tokens, on
// all ranks of the runtime: forward, backward, reduction, clipping, AdamW.
// FLOPs are ModelFlopsPerToken's. Collective; rank 0 reports.
absl::Status BenchStep(const MpiRuntime& runtime, const BenchOptions& options);

}  // namespace moe

#endif  // LAUNCH_BENCH_STEP_H_
