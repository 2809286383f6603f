#ifndef TRAINER_CHECKPOINT_STORE_SNAPSHOT_H_
#define TRAINER_CHECKPOINT_STORE_SNAPSHOT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "comm/process_groups.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/store/file_image.h"
#include "trainer/checkpoint/store/tensor_assembler.h"
#include "trainer/checkpoint/store/training_state.h"
#include "trainer/checkpoint/store/weights_plan.h"

namespace moe {

// This rank's part of a checkpoint in memory: the weight files that it writes,
// of whole tensors, and its own optimizer state. What is taken into it no later
// update changes. The memory is made once and kept.
class Snapshot {
 public:
  struct Environment {
    const ParameterTable& table;
    const Mesh& mesh;
    const ProcessGroups& groups;
    TrainingState& state;
  };
  struct Options {
    WeightsPlanOptions plan;
    // The most of a tensor that travels at once.
    int64_t max_piece_bytes = int64_t{64} << 20;
  };
  // All of the environment outlives the snapshot. ResourceExhausted: no memory.
  static absl::StatusOr<std::unique_ptr<Snapshot>> Create(
      const Environment& environment, const Options& options);

  // Collective: weights go to their writers. No disk is touched.
  absl::Status Take();

  // This rank's files, each with its number among all of the checkpoint's.
  struct File {
    int index = 0;
    FileImage image;
  };
  const std::vector<File>& files() const { return files_; }
  // Weight files, then one of optimizer state for each rank.
  int num_files() const {
    return static_cast<int>(plan_.files.size()) + environment_.mesh.world();
  }
  const WeightsPlan& weights_plan() const { return plan_; }

 private:
  Snapshot(const Environment& environment, const Options& options);
  absl::Status MakeWeightImages();
  absl::Status MakeStateImage();
  absl::Status TakeWeights(const Parameter& parameter, int planned_file);
  absl::Status TakeState();

  const Environment environment_;
  const Options options_;
  const WeightsPlan plan_;
  std::unique_ptr<TensorAssembler> assembler_;
  std::vector<File> files_;
  // Into files_: by weight file of the plan (-1: another rank's), and that of
  // the state (-1: this rank owns none).
  std::vector<int> weight_images_;
  int state_image_ = -1;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_SNAPSHOT_H_
