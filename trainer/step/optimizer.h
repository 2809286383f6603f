#ifndef TRAINER_STEP_OPTIMIZER_H_
#define TRAINER_STEP_OPTIMIZER_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/base/buffer.h"
#include "comm/process_groups.h"
#include "moe/kernels.h"
#include "moe/parameters/weights.h"
#include "trainer/checkpoint/store/training_state.h"
#include "trainer/config/train_config.pb.h"
#include "trainer/step/shard_map.h"

namespace moe {

// What gradients of this global norm are multiplied by so that it is at most
// `limit` (0: no limit), as torch.nn.utils.clip_grad_norm_ does it.
double ClipScale(double grad_norm, double limit);

// An element of a parameter or its gradient that is no finite number.
struct NonFiniteElement {
  int parameter = -1;  // index into the table; -1: there is none
  float value = 0;
};

// AdamW whose state is spread over the ranks that share a parameter: each rank
// updates the elements whose gradients it reduced (see ShardMap), in float32,
// and an all-gather brings the new weights to the others. So every element of
// the model is updated, and counted in the global norm, once in the world.
//
// The float32 master weights of an arena with float32 compute copies are the
// copies themselves; only bfloat16 arenas have masters of their own.
//
// Frozen parameters have neither masters nor moments and cost no traffic: their
// compute copies are all there is of them, rounded once when they are set.
class ShardedAdamW : public TrainingState {
 public:
  static absl::StatusOr<std::unique_ptr<ShardedAdamW>> Create(
      const OptimizerConfig& config, const ParameterTable& table,
      const ProcessGroups& groups, const ShardMaps& shards,
      const ParameterStorage& weights, Kernels& kernels);

  // Sets the master weights of this rank's elements and every rank's compute
  // copies: `fill` writes elements [begin, begin + out.size()) of this rank's
  // arena, on the host and a piece at a time; of a frozen arena every rank's
  // all elements. Collective.
  using Fill = absl::FunctionRef<absl::Status(ArenaKind kind, int64_t begin,
                                              absl::Span<float> out)>;
  absl::Status Initialize(Fill fill);

  // Sum of squares of the reduced gradients that this rank owns. Waits for the
  // device.
  absl::StatusOr<double> SumOfSquares(const ParameterStorage& gradients) const;
  // The first NaN or infinity of the reduced gradients that this rank owns.
  absl::StatusOr<NonFiniteElement> FirstNonFinite(
      const ParameterStorage& gradients) const;

  // Update number `update` (from 1). Collective.
  absl::Status Step(const ParameterStorage& gradients, double learning_rate,
                    double gradient_scale, int64_t update);

  absl::Status Gather(ArenaKind kind, int64_t begin,
                      absl::Span<float> out) override;
  void ForEachOwned(OwnedVisitor visit) const override;
  absl::Status CopyState(const OwnedRun& run, absl::string_view state,
                         absl::Span<float> out) const override;
  absl::Status SetState(const OwnedRun& run, absl::string_view state,
                        absl::Span<const float> values) override;

 private:
  struct ArenaShard {
    Buffer master_memory;  // empty when the arena itself is float32
    Buffer moments_memory;
    Tensor first_moment;  // float32, the shard's elements
    Tensor second_moment;
    std::vector<ShardSegment> segments;
  };

  ShardedAdamW(const OptimizerConfig& config, const ParameterTable& table,
               const ProcessGroups& groups, const ShardMaps& shards,
               const ParameterStorage& weights, Kernels& kernels);

  // Of the ranks that share an arena, for memory of the host; what is on the
  // device travels by groups_.device.
  ProcessGroup& Group(ArenaKind kind) const;
  const ShardMap& Map(ArenaKind kind) const;
  // This rank's master weights of a run of elements.
  Tensor Master(ArenaKind kind, int64_t arena_begin, int64_t shard_begin,
                int64_t count) const;
  // Sets a segment's masters and compute copies; `piece` is memory to fill.
  absl::Status FillSegment(ArenaKind kind, const ShardSegment& segment,
                           std::vector<float>& piece, Fill fill);
  // Sets this rank's copies of frozen parameters.
  absl::Status FillFrozen(std::vector<float>& piece, Fill fill);
  // out = frozen bfloat16 weights from element `begin` of their arena on.
  absl::Status WidenFrozen(ArenaKind kind, int64_t begin,
                           absl::Span<float> out) const;
  // Where a state of a run lies, float32.
  Tensor State(const OwnedRun& run, absl::string_view state) const;
  void UpdateSegment(ArenaKind kind, const ShardSegment& segment,
                     const ParameterStorage& gradients, AdamWOptions options);
  absl::Status GatherCopies(ArenaKind kind);
  absl::Status WaitForOldestCopy();

  OptimizerConfig config_;
  const ParameterTable& table_;
  const ProcessGroups& groups_;
  const ShardMaps& shards_;
  const ParameterStorage& weights_;
  Kernels& kernels_;
  std::array<ArenaShard, kNumTrainedArenaKinds> arenas_;
  Buffer squares_memory_;
  Tensor squares_;  // float64: of each segment, one after another
  std::deque<std::unique_ptr<Work>> works_;  // under way, the oldest first
};

}  // namespace moe

#endif  // TRAINER_STEP_OPTIMIZER_H_
