#include "trainer/plan/memory_plan.h"

#include <algorithm>
#include <map>
#include <vector>

#include "comm/base/dtype.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/store/snapshot.h"
#include "trainer/config/batch_plan.h"
#include "trainer/config/config_resolve.h"
#include "trainer/plan/step_plan.h"
#include "trainer/step/gradient_reducer.h"

namespace moe {
namespace {

// Resident memory of a rank that has started MPI and the libraries and made
// nothing yet.
constexpr int64_t kProcessBytes = int64_t{72} << 20;

constexpr int64_t kFloatBytes = 4;

// Of the largest rank: slices of the vocabulary are as equal as they can be,
// the last one is never the smaller.
ParameterTable LargestRanksTable(const TrainConfig& config, const Mesh& mesh) {
  return ParameterTable(config.model(), ComputeDType(config), mesh,
                        /*rank=*/mesh.world() - 1);
}

// Sequences of the fullest rank in a micro-step: BatchPlan deals the odd ones
// to the last.
int64_t MostSequences(const TrainConfig& config, const Mesh& mesh) {
  const BatchPlan plan(config.batch().global_size(),
                       config.batch().micro_size(), mesh.data());
  return plan.OfMicroStep(mesh.data() - 1, 0).count;
}

void AddParameters(RankMemory& memory, const TrainConfig& config,
                   const Mesh& mesh) {
  const ParameterTable table = LargestRanksTable(config, mesh);
  for (ArenaKind kind : kAllArenaKinds) {
    const int64_t size = table.ArenaSize(kind);
    const int64_t shard = size / mesh.Size(ReductionAxis(kind));
    const bool has_masters = table.ArenaDType(kind) != DType::kFloat32;
    memory.weights += size * SizeOf(table.ArenaDType(kind));
    if (!IsTrained(kind)) continue;
    memory.gradients += size * kFloatBytes;
    memory.masters += has_masters ? shard * kFloatBytes : 0;
    memory.moments += 2 * shard * kFloatBytes;
    memory.exchange += (size - shard) * kFloatBytes;
  }
  // Contributions wait to be added in order; some buckets are under way.
  memory.exchange = std::min(
      memory.exchange, GradientReducer::kMaxOpenBuckets *
                           config.parallel().bucket_elements() * kFloatBytes);
}

// The weight files that a rank writes, the moments, and what a tensor goes
// through on its way (TensorAssembler).
struct SnapshotBytes {
  int64_t most = 0;  // of the rank that writes most weights
  int64_t mean = 0;
};
SnapshotBytes PlanSnapshot(const TrainConfig& config, const Mesh& mesh,
                           int64_t moments) {
  const ParameterTable table = LargestRanksTable(config, mesh);
  const WeightsPlan plan = PlanWeights(table, mesh);
  std::vector<int64_t> written(static_cast<size_t>(mesh.world()), 0);
  int64_t largest = 0;
  int64_t all = 0;
  for (size_t i = 0; i < table.parameters().size(); ++i) {
    const int64_t bytes = table.parameters()[i].size * kFloatBytes;
    const auto file = static_cast<size_t>(plan.file_of_parameter[i]);
    written[static_cast<size_t>(plan.files[file].rank)] += bytes;
    largest = std::max(largest, bytes);
    all += bytes;
  }
  const int64_t piece = std::min(largest, Snapshot::Options().max_piece_bytes);
  const int64_t others = moments + piece * (mesh.tensor() > 1 ? 3 : 1);
  return {.most = *std::max_element(written.begin(), written.end()) + others,
          .mean = all / mesh.world() + others};
}

}  // namespace

int64_t RankMemory::Total() const {
  return weights + gradients + masters + moments + activations + scratch +
         exchange + snapshot + process;
}

RankMemory PlanMemory(const TrainConfig& config, const Mesh& mesh) {
  RankMemory memory{.process = kProcessBytes};
  AddParameters(memory, config, mesh);
  memory.snapshot = PlanSnapshot(config, mesh, memory.moments).most;
  const int rank = mesh.world() - 1;
  const StepPlan even = PlanStep(config, mesh, rank);
  memory.activations = even.saved_bytes + even.routing_bytes;
  memory.scratch = even.scratch_bytes;
  // A sum over the tensor group: contributions to this rank's tokens.
  const int64_t tokens = MostSequences(config, mesh) *
                         config.batch().sequence_length() / mesh.tensor();
  const int64_t width = config.model().hidden_size();
  memory.exchange += (mesh.tensor() - 1) * tokens * width * kFloatBytes;
  if (mesh.expert() == 1) return memory;  // All rows are here already.
  const StepPlan twice = PlanStep(config, mesh, rank, ExpertShare::kDouble);
  const int64_t row_bytes = width * SizeOf(ComputeDType(config)) + kFloatBytes;
  memory.received_rows = even.received_rows * row_bytes;
  memory.received_rows_at_double_load = twice.received_rows * row_bytes;
  memory.double_load = twice.saved_bytes + twice.scratch_bytes -
                       even.saved_bytes - even.scratch_bytes;
  return memory;
}

RankMemory PlanMeanMemory(const TrainConfig& config, const Mesh& mesh) {
  RankMemory memory = PlanMemory(config, mesh);
  memory.snapshot = PlanSnapshot(config, mesh, memory.moments).mean;
  // Ranks that have as many sequences, and whose expert groups have, hold as
  // much in a step: one of each kind is planned.
  const BatchPlan batch(config.batch().global_size(),
                        config.batch().micro_size(), mesh.data());
  struct Kind {
    int rank = 0;
    int64_t count = 0;
  };
  std::map<std::vector<int64_t>, Kind> kinds;
  for (int rank = 0; rank < mesh.world(); ++rank) {
    std::vector<int64_t> sequences;
    sequences.push_back(
        batch.OfMicroStep(mesh.Index(Axis::kData, rank), 0).count);
    for (int member : mesh.Members(Axis::kExpert, rank)) {
      sequences.push_back(
          batch.OfMicroStep(mesh.Index(Axis::kData, member), 0).count);
    }
    std::sort(sequences.begin() + 1, sequences.end());
    Kind& kind = kinds[sequences];
    kind.rank = rank;  // the last: of the largest slice of the vocabulary
    ++kind.count;
  }
  int64_t activations = 0;
  int64_t scratch = 0;
  for (const auto& [sequences, kind] : kinds) {
    const StepPlan step = PlanStep(config, mesh, kind.rank);
    activations += kind.count * (step.saved_bytes + step.routing_bytes);
    scratch += kind.count * step.scratch_bytes;
  }
  memory.activations = activations / mesh.world();
  memory.scratch = scratch / mesh.world();
  return memory;
}

}  // namespace moe
