#include "trainer/traffic_plan.h"

#include <algorithm>
#include <vector>

#include "comm/traffic.h"
#include "moe/model_config.h"
#include "moe/parameter_table.h"
#include "moe/token_dispatcher.h"
#include "trainer/batch_plan.h"
#include "trainer/config_resolve.h"
#include "trainer/routing_statistics.h"
#include "trainer/step_totals.h"

// Letters: as in moe/kernels.h; S tokens of the tensor group in a micro-step, T
// of them this rank's, N = T K of its rows leave, R arrive.

namespace moe {
namespace {

constexpr DType kF32 = DType::kFloat32;

// The collectives of a step in their order, one function for each part of the
// network or the trainer that has any.
class Walk {
 public:
  Walk(const TrainConfig& config, const Mesh& mesh, int rank)
      : config_(config),
        mesh_(mesh),
        rank_(rank),
        plan_(config.batch().global_size(), config.batch().micro_size(),
              mesh.data()),
        table_(config.model(), ComputeDType(config), mesh, rank),
        compute_(table_.compute_dtype()),
        D(config.model().hidden_size()),
        E(config.model().num_local_experts()),
        K(config.model().num_experts_per_tok()),
        layers_(config.model().num_hidden_layers()) {}

  RankTraffic Run() {
    // Whether the tokens could be read.
    traffic_[Axis::kTensor] +=
        AllReduceBytes(Place(Axis::kTensor), 1, DType::kInt32);
    if (config_.data().reset_attention())
      AllReduce(Axis::kData, 1);  // number of targets, as wide as a double
    for (int micro = 0; micro < plan_.num_micro_steps(); ++micro)
      MicroStep(micro);
    for (ArenaKind kind : kAllArenaKinds) Reduce(kind);
    AllReduce(Axis::kWorld,
              kNumStepTotals + RoutingStatistics::NumTotals(layers_, E));
    for (ArenaKind kind : kAllArenaKinds) GatherWeights(kind);
    return traffic_;
  }

 private:
  void MicroStep(int micro) {
    const int64_t T = Tokens(rank_, micro);
    SumOverTensorGroup(T * D);  // embedding
    for (int64_t layer = 0; layer < layers_; ++layer) {
      Attention(T);
      Capacity(T);
      Dispatch(micro);
      Again(T, micro);
    }
    Balance(micro);
    LossHead(T);
    GatherTensorGroup(T * D, kF32);  // embedding's gradient
  }

  // Forward, then backward.
  void Attention(int64_t T) {
    GatherTensorGroup(T * D, compute_);  // x
    SumOverTensorGroup(T * D);           // y
    GatherTensorGroup(T * D, compute_);  // gradient of y
    GatherTensorGroup(T * D, compute_);  // x
    SumOverTensorGroup(T * D);           // gradient of x
  }

  // What backward computes again.
  void Again(int64_t T, int micro) {
    const Recompute recompute = RecomputeOf(config_);
    if (recompute == Recompute::kNone) return;
    if (recompute == Recompute::kBlock) {
      GatherTensorGroup(T * D, compute_);  // x
      SumOverTensorGroup(T * D);           // y
      Capacity(T);
    }
    if (recompute == Recompute::kExperts)
      AllReduce(Axis::kExpert, 1);  // in how many parts: one, at even load
    const std::vector<int64_t> leaving = Leaving(micro);
    Exchange(leaving, D, compute_);
    Exchange(leaving, 1, kF32);
  }

  // Choices, and their probabilities where these decide.
  void Capacity(int64_t T) {
    const int64_t L = config_.batch().sequence_length();
    const RouterConfig& router = config_.router();
    if (ExpertCapacity(config_.model(), router, L) == L) return;
    GatherTensorGroup(T * K, DType::kInt32);
    if (router.drop_policy() == RouterConfig::PROBABILITY)
      GatherTensorGroup(T * K, kF32);
  }

  // How many rows will come.
  void ExchangeCounts() {
    Exchange(std::vector<int64_t>(static_cast<size_t>(mesh_.expert()),
                                  E / mesh_.expert() + kCountsHeader),
             1, DType::kInt64);
  }
  std::vector<int64_t> Leaving(int micro) const {
    std::vector<int64_t> rows;
    for (int other : mesh_.Members(Axis::kExpert, rank_))
      rows.push_back(Rows(micro, rank_, other));
    return rows;
  }

  void Dispatch(int micro) {
    ExchangeCounts();
    const std::vector<int64_t> leaving = Leaving(micro);
    std::vector<int64_t> arriving;
    for (int other : mesh_.Members(Axis::kExpert, rank_))
      arriving.push_back(Rows(micro, other, rank_));
    Exchange(leaving, D, compute_);
    Exchange(leaving, 1, kF32);       // routing weights
    Exchange(arriving, D, compute_);  // results
    Exchange(leaving, D, compute_);   // gradients of results
    Exchange(arriving, D, compute_);  // of rows
    Exchange(arriving, 1, kF32);      // of routing weights
  }

  // Choices and probabilities, in double.
  void Balance(int micro) {
    if (config_.router().aux_loss_scope() == RouterConfig::SEQUENCE) {
      AllReduce(Axis::kTensor, layers_ * 2 * Sequences(rank_, micro) * E);
    } else {
      AllReduce(Axis::kWorld, layers_ * 2 * E);
    }
  }

  // Chunks of tokens, which sum to all. Each rank has statistics of all of the
  // group's.
  void LossHead(int64_t T) {
    GatherTensorGroup(T * D, compute_);
    GatherTensorGroup(mesh_.tensor() * T * 3, kF32);
    SumOverTensorGroup(T * D);  // gradient
  }

  // Buckets, which sum to the arena.
  void Reduce(ArenaKind kind) {
    const Axis axis = ReductionAxis(kind);
    traffic_[axis] += ReduceScatterBytes(Place(axis), ShardSize(kind), kF32);
  }
  void GatherWeights(ArenaKind kind) {
    const Axis axis = ReductionAxis(kind);
    traffic_[axis] +=
        AllGatherBytes(Place(axis), ShardSize(kind), table_.ArenaDType(kind));
  }

  void AllReduce(Axis axis, int64_t doubles) {
    traffic_[axis] += AllReduceBytes(Place(axis), doubles, DType::kFloat64);
  }
  void GatherTensorGroup(int64_t elements, DType dtype) {
    traffic_[Axis::kTensor] +=
        AllGatherBytes(Place(Axis::kTensor), elements, dtype);
  }
  // Of float32, `elements` for each rank.
  void SumOverTensorGroup(int64_t elements) {
    traffic_[Axis::kTensor] +=
        ReduceScatterBytes(Place(Axis::kTensor), elements, kF32);
  }
  void Exchange(std::vector<int64_t> rows_P, int64_t width, DType dtype) {
    for (int64_t& count : rows_P) count *= width;
    traffic_[Axis::kExpert] +=
        AllToAllVBytes(Place(Axis::kExpert), rows_P, dtype);
  }

  // Rows of `source`'s tokens for the experts of `destination`: its choice
  // i = t K + k is expert i mod E.
  int64_t Rows(int micro, int source, int destination) const {
    const int64_t local_experts = E / mesh_.expert();
    const int64_t first_expert =
        mesh_.Index(Axis::kExpert, destination) * local_experts;
    const int64_t L = config_.batch().sequence_length();
    const int64_t choices =
        Tokens(source, micro) *
        EvenRowsOfSequence(config_.model(), config_.router(), L) / L;
    return choices / E * local_experts +
           std::clamp<int64_t>(choices % E - first_expert, 0, local_experts);
  }

  int64_t Sequences(int rank, int micro) const {
    return plan_.OfMicroStep(mesh_.Index(Axis::kData, rank), micro).count;
  }
  int64_t Tokens(int rank, int micro) const {
    return Sequences(rank, micro) * config_.batch().sequence_length() /
           mesh_.tensor();
  }
  GroupPlace Place(Axis axis) const {
    return {mesh_.Size(axis), mesh_.Index(axis, rank_)};
  }
  int64_t ShardSize(ArenaKind kind) const {
    return table_.ArenaSize(kind) / mesh_.Size(ReductionAxis(kind));
  }

  const TrainConfig& config_;
  const Mesh mesh_;
  const int rank_;
  const BatchPlan plan_;
  const ParameterTable table_;
  const DType compute_;
  const int64_t D, E, K;
  const int64_t layers_;
  RankTraffic traffic_;
};

}  // namespace

RankTraffic PlanTraffic(const TrainConfig& config, const Mesh& mesh, int rank) {
  return Walk(config, mesh, rank).Run();
}

}  // namespace moe
