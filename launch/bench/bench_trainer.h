#ifndef LAUNCH_BENCH_BENCH_TRAINER_H_
#define LAUNCH_BENCH_BENCH_TRAINER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/process_groups.h"
#include "data/corpus.h"
#include "launch/bench/bench_result.h"
#include "moe/kernels.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/step/trainer.h"

namespace moe {

// Whole training of a resolved configuration on random tokens, on all ranks of
// the runtime, with nothing around it: no data to read, nothing logged or
// saved.
class BenchTrainer {
 public:
  // Collective. The runtime and the kernels outlive it.
  static absl::StatusOr<std::unique_ptr<BenchTrainer>> Create(
      const TrainConfig& config, const MpiRuntime& runtime, Kernels& kernels);
  BenchTrainer(const BenchTrainer&) = delete;
  BenchTrainer& operator=(const BenchTrainer&) = delete;

  // A training step; how many seconds it took this rank. Collective.
  absl::StatusOr<double> TimeStep();

  // Whether `times` are enough steps, at least `seconds` in all: by the times
  // of rank 0, the same on all ranks. Collective.
  absl::StatusOr<bool> AreEnough(const std::vector<double>& times,
                                 double seconds);

  // A step's result, with the median of `times`; FLOPs are
  // ModelFlopsPerToken's.
  BenchResult Result(const std::vector<double>& times, double peak_flops) const;

  Trainer& trainer() { return *trainer_; }
  const ProcessGroups& groups() const { return groups_; }
  const Mesh& mesh() const { return mesh_; }

  // Steps before those that count: memory grows, products are prepared.
  static constexpr int kWarmUpSteps = 2;

 private:
  BenchTrainer(const TrainConfig& config, const Mesh& mesh,
               ProcessGroups groups);

  const TrainConfig config_;
  const Mesh mesh_;
  const ProcessGroups groups_;
  const std::unique_ptr<SampleSequence> tokens_;
  std::unique_ptr<Trainer> trainer_;
};

}  // namespace moe

#endif  // LAUNCH_BENCH_BENCH_TRAINER_H_
