#ifndef LAUNCH_BENCH_BENCH_COMMAND_H_
#define LAUNCH_BENCH_BENCH_COMMAND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/mpi/mpi_runtime.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// What the command line of moe-bench asks for.
struct BenchCommand {
  // Not empty: what --help or --version wants printed.
  std::string text;
  TrainConfig config;
  std::vector<std::string> parts;  // in the order in which they run
  double seconds = 0.5;            // for each measurement
  int64_t array_bytes = 0;         // of the smallest array of part "memory"
  bool json = false;
};

// InvalidArgument: what was typed wrongly. `world` ranks.
absl::StatusOr<BenchCommand> ParseBenchCommand(int argc,
                                               const char* const* argv,
                                               int world);

// Measures and prints results as they come on standard output. Parts other than
// "step" and "skew" run on rank 0 alone. Collective.
absl::Status RunBenchCommand(const BenchCommand& command,
                             const MpiRuntime& runtime);

}  // namespace moe

#endif  // LAUNCH_BENCH_BENCH_COMMAND_H_
