#include "trainer/memory_plan.h"

#include <algorithm>

#include "comm/dtype.h"
#include "moe/model_config.h"
#include "moe/parameter_table.h"
#include "trainer/activation_plan.h"
#include "trainer/batch_plan.h"
#include "trainer/gradient_reducer.h"

namespace moe {
namespace {

// Resident memory of a rank that has started MPI and the libraries and made
// nothing yet.
constexpr int64_t kProcessBytes = int64_t{72} << 20;

constexpr int64_t kFloatBytes = 4;

DType ComputeDType(const TrainConfig& config) {
  return config.run().compute_dtype() == RunConfig::BFLOAT16 ? DType::kBFloat16
                                                             : DType::kFloat32;
}

// Of the largest rank: slices of the vocabulary are as equal as they can be,
// the last one is never the smaller.
ParameterTable AnyRanksTable(const TrainConfig& config, const Mesh& mesh) {
  return ParameterTable(config.model(), ComputeDType(config), mesh,
                        /*rank=*/mesh.world() - 1);
}

BatchPlan PlanBatch(const TrainConfig& config, const Mesh& mesh) {
  return BatchPlan(config.batch().global_size(), config.batch().micro_size(),
                   mesh.data());
}

// Sequences of the fullest rank: BatchPlan deals the odd ones to the last.
BatchPlan::Range MostSequences(const BatchPlan& plan, const Mesh& mesh) {
  return plan.OfMicroStep(mesh.data() - 1, 0);
}

// Rows of a sequence that reach experts when tokens are spread evenly.
int64_t RowsPerSequence(const TrainConfig& config) {
  const int64_t length = config.batch().sequence_length();
  const ModelConfig& model = config.model();
  return std::min(length * model.num_experts_per_tok(),
                  model.num_local_experts() *
                      ExpertCapacity(model, config.router(), length));
}

// What of n equal parts, one for each of n ranks, goes to the others.
int64_t ToOthers(int64_t bytes, int ranks) {
  return bytes / ranks * (ranks - 1);
}

}  // namespace

int64_t RankMemory::Total() const {
  return weights + gradients + optimizer + activations + scratch + exchange +
         process;
}

RankMemory PlanMemory(const TrainConfig& config, const Mesh& mesh) {
  RankMemory memory{.process = kProcessBytes};
  const ParameterTable table = AnyRanksTable(config, mesh);
  for (ArenaKind kind : kAllArenaKinds) {
    const int64_t size = table.ArenaSize(kind);
    const int64_t shard = size / mesh.Size(ReductionAxis(kind));
    const bool has_masters = table.ArenaDType(kind) != DType::kFloat32;
    memory.weights += size * SizeOf(table.ArenaDType(kind));
    memory.gradients += size * kFloatBytes;
    memory.optimizer += shard * kFloatBytes * (has_masters ? 3 : 2);
    memory.exchange += (size - shard) * kFloatBytes;
  }
  // Contributions wait to be added in order; some buckets are under way.
  memory.exchange = std::min(
      memory.exchange, GradientReducer::kMaxOpenBuckets *
                           config.parallel().bucket_elements() * kFloatBytes);
  const int64_t sequences = MostSequences(PlanBatch(config, mesh), mesh).count;
  const int64_t rows = sequences * RowsPerSequence(config) / mesh.tensor();
  ActivationShape shape{.model = config.model(),
                        .router = config.router(),
                        .compute_dtype = ComputeDType(config),
                        .sequences = sequences,
                        .length = config.batch().sequence_length(),
                        .tensor_ranks = mesh.tensor(),
                        .expert_ranks = mesh.expert(),
                        .sent_rows = rows,
                        .received_rows = rows};
  const ActivationBytes even = PlanActivations(shape);
  memory.activations = even.saved.capacity;
  memory.scratch = even.scratch.capacity;
  if (mesh.expert() == 1) return memory;  // All rows are here already.
  const int64_t most_rows =
      sequences * config.model().num_local_experts() *
      ExpertCapacity(config.model(), config.router(), shape.length) /
      mesh.tensor();
  shape.received_rows = std::min(2 * rows, most_rows);
  const ActivationBytes twice = PlanActivations(shape);
  memory.double_load = twice.saved.capacity + twice.scratch.capacity -
                       even.saved.capacity - even.scratch.capacity;
  return memory;
}

RankTraffic PlanTraffic(const TrainConfig& config, const Mesh& mesh) {
  RankTraffic traffic;
  const ParameterTable table = AnyRanksTable(config, mesh);
  for (ArenaKind kind : kAllArenaKinds) {
    const int ranks = mesh.Size(ReductionAxis(kind));
    const int64_t size = table.ArenaSize(kind);
    const int64_t down = ToOthers(size * kFloatBytes, ranks);
    const int64_t up = ToOthers(size * SizeOf(table.ArenaDType(kind)), ranks);
    const bool is_expert = kind == ArenaKind::kExpert;
    (is_expert ? traffic.expert_gradients : traffic.replicated_gradients) +=
        down;
    (is_expert ? traffic.expert_weights : traffic.replicated_weights) += up;
  }
  const BatchPlan plan = PlanBatch(config, mesh);
  const ModelConfig& model = config.model();
  const int64_t rows =
      plan.OfRank(mesh.data() - 1).count * RowsPerSequence(config);
  // A row goes out and comes back, and so does its gradient; its routing
  // weight goes out and that one's gradient comes back.
  const int64_t row_bytes =
      4 * model.hidden_size() * SizeOf(ComputeDType(config)) + 2 * kFloatBytes;
  const int64_t count_bytes = plan.num_micro_steps() *
                              model.num_local_experts() * SizeOf(DType::kInt64);
  traffic.dispatch =
      model.num_hidden_layers() * (ToOthers(rows * row_bytes, mesh.expert()) +
                                   ToOthers(count_bytes, mesh.expert()));
  return traffic;
}

}  // namespace moe
