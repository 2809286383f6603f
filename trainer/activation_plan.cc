#include "trainer/activation_plan.h"

#include <algorithm>

#include "comm/round_up.h"
#include "moe/arena.h"
#include "moe/loss_head.h"
#include "moe/model_config.h"

namespace moe {
namespace {

// An Arena without memory.
struct ArenaModel : ArenaLayout {
  void Allocate(int64_t elements, DType dtype) {
    Push(elements * SizeOf(dtype));
  }
};

constexpr DType kF32 = DType::kFloat32;
constexpr DType kIndex = DType::kInt32;

// One function for each of the network's that allocates.
class Walk {
 public:
  explicit Walk(const ActivationShape& shape)
      : t(shape.tensor_ranks),
        B(shape.sequences),
        S(shape.sequences * shape.length),
        T(S / t),
        D(shape.model.hidden_size()),
        V(CeilDiv(shape.model.vocab_size(), t)),
        H(shape.model.num_attention_heads() / t),
        A(H * HeadDim(shape.model)),
        C(A + 2 * shape.model.num_key_value_heads() / t * HeadDim(shape.model)),
        E(shape.model.num_local_experts()),
        K(shape.model.num_experts_per_tok()),
        N(shape.sent_rows),
        R(shape.received_rows),
        F(shape.model.intermediate_size()),
        chunk_(std::min(T, LossChunkRows(shape.model.vocab_size()))),
        layers_(shape.model.num_hidden_layers()),
        exchanges_(shape.expert_ranks > 1),
        reorders_(exchanges_ && E > shape.expert_ranks),
        drops_(ExpertCapacity(shape.model, shape.router, shape.length) <
               shape.length),
        by_probability_(shape.router.drop_policy() ==
                        RouterConfig::PROBABILITY),
        compute_(shape.compute_dtype),
        recompute_(shape.recompute) {}

  ActivationBytes Run() {
    saved_.Allocate(layers_ * 2 * B * E, kF32);  // load
    saved_.Allocate(T * D, kF32);                // the embedded tokens
    SumOverTensorGroup(S, kF32, /*accumulate=*/false);
    for (int i = 0; i < layers_; ++i) {
      saved_.Allocate(T * D, kF32);  // the residual stream going out
      const Arena::Mark before = saved_.mark();
      BlockForward();
      if (recompute_ == Recompute::kBlock) saved_.Release(before);
    }
    saved_.Allocate(1 + 2 * layers_, DType::kFloat64);  // sums of losses
    saved_.Allocate(layers_ * B * E, kF32);             // balance
    saved_.Allocate(T * D, compute_);                   // the final norm
    saved_.Allocate(T, kF32);
    saved_.Allocate(T * D, compute_);  // gradient of the final norm's output
    LossHead();
    ArenaScope scope(scratch_);
    scratch_.Allocate(T * D, kF32);  // gradient of the residual stream
    BlockBackward();
    EmbeddingBackward();
    return {.saved = saved_.peak_bytes(),
            .routing = routing_.peak_bytes(),
            .scratch = scratch_.peak_bytes()};
  }

 private:
  void BlockForward() {
    ArenaScope scope(scratch_);
    UpToPlan(recompute_ == Recompute::kBlock ? routing_ : saved_);
    const Arena::Mark before_experts = saved_.mark();
    ExpertsGateUp();
    scratch_.Allocate(R * D, compute_);  // the experts' outputs
    {
      ArenaScope hidden(scratch_);
      scratch_.Allocate(R * F, compute_);
    }
    {
      ArenaScope combine(scratch_);
      FromExperts(D, compute_);
    }
    if (recompute_ == Recompute::kExperts) saved_.Release(before_experts);
  }

  void UpToPlan(ArenaModel& routing) {
    saved_.Allocate(T, kF32);
    saved_.Allocate(T * D, kF32);  // the residual stream's middle
    saved_.Allocate(T, kF32);
    Attention();
    scratch_.Allocate(T * D, compute_);  // the experts' input
    RouterForward(routing);
    MakePlan();
  }

  void ExpertsGateUp() {
    Dispatch();
    saved_.Allocate(R * 2 * F, compute_);
  }

  void BlockBackward() {
    ArenaScope again(saved_);
    if (recompute_ == Recompute::kBlock) {
      ArenaScope scope(scratch_);
      UpToPlan(saved_);
      ExpertsGateUp();
    }
    BackwardExperts();
    BackwardAttention();
  }

  void Attention() {
    ArenaScope scope(scratch_);
    scratch_.Allocate(T * D, compute_);
    Gather(S * D, compute_);
    saved_.Allocate(S * C, compute_);
    saved_.Allocate(S * A, compute_);
    saved_.Allocate(H * S, kF32);
    SumOverTensorGroup(S, kF32, /*accumulate=*/true);
  }

  void Gather(int64_t elements, DType dtype) {
    if (t > 1) scratch_.Allocate(elements, dtype);
  }
  // What TensorParallel takes beside its result, which has D columns and
  // `dtype`, for `rows` of the group.
  void SumOverTensorGroup(int64_t rows, DType dtype, bool accumulate) {
    if (t == 1) return;
    ArenaScope scope(scratch_);
    scratch_.Allocate(rows * D, kF32);
    if (accumulate || dtype != kF32) scratch_.Allocate(rows / t * D, kF32);
  }

  void RouterForward(ArenaModel& routing) {
    routing.Allocate(T * E, kF32);
    routing.Allocate(T * K, kIndex);
    routing.Allocate(T * K, kF32);
    routing.Allocate(T, kF32);
    {
      ArenaScope choose(scratch_);
      scratch_.Allocate(T * E, kF32);
      CopyUnless(kF32, kF32);
    }
    Capacity(routing);
  }

  void Capacity(ArenaModel& routing) {
    if (!drops_) return;
    routing.Allocate(T * K, kIndex);
    ArenaScope scope(scratch_);
    Gather(S * K, kIndex);
    if (!by_probability_) return;
    scratch_.Allocate(T * K, kF32);
    Gather(S * K, kF32);
  }

  void MakePlan() {
    for (int i = 0; i < 3; ++i) saved_.Allocate(T * K, kIndex);
    saved_.Allocate(E, DType::kInt64);  // counts
    for (int i = 0; i < (reorders_ ? 2 : 0); ++i) saved_.Allocate(R, kIndex);
  }

  void Dispatch() {
    ArenaScope scope(scratch_);
    ArenaModel& arena = exchanges_ ? scratch_ : saved_;
    arena.Allocate(N * D, compute_);
    arena.Allocate(N, kF32);
    ToExperts(saved_, D, compute_);
    ToExperts(saved_, 1, kF32);
  }

  void ToExperts(ArenaModel& arena, int64_t width, DType dtype) {
    if (!exchanges_) return;
    arena.Allocate(R * width, dtype);
    ArenaScope scope(scratch_);
    if (reorders_) scratch_.Allocate(R * width, dtype);
  }

  void FromExperts(int64_t width, DType dtype) {
    if (!exchanges_) return;
    scratch_.Allocate(N * width, dtype);
    if (reorders_) scratch_.Allocate(R * width, dtype);
  }

  // [T, D] in `dtype`, which exists already if the compute dtype is `free`.
  void CopyUnless(DType free, DType dtype) {
    if (compute_ != free) scratch_.Allocate(T * D, dtype);
  }

  void LossHead() {
    ArenaScope scope(scratch_);
    const int64_t rows = t * chunk_;
    Gather(rows * D, compute_);
    scratch_.Allocate(rows * V, kF32);
    scratch_.Allocate(rows * 3, kF32);
    Gather(t * rows * 3, kF32);
    if (compute_ != kF32) scratch_.Allocate(rows * V, compute_);
    SumOverTensorGroup(rows, compute_, /*accumulate=*/false);
  }

  void BackwardExperts() {
    ArenaScope scope(scratch_);
    ArenaScope again(saved_);
    CopyUnless(kF32, compute_);
    scratch_.Allocate(T * D, kF32);
    scratch_.Allocate(T * D, compute_);
    MoeBackward();
    CopyUnless(kF32, compute_);
  }

  void MoeBackward() {
    ArenaScope scope(scratch_);
    scratch_.Allocate(T * K, kF32);
    if (recompute_ == Recompute::kExperts) ExpertsGateUp();
    BackwardThroughExperts();
    ArenaScope router(scratch_);
    scratch_.Allocate(T * E, kF32);
    CopyUnless(kF32, kF32);
  }

  void BackwardThroughExperts() {
    ArenaScope scope(scratch_);
    scratch_.Allocate(N * D, compute_);
    ToExperts(scratch_, D, compute_);
    scratch_.Allocate(R * D, compute_);
    scratch_.Allocate(R, kF32);
    scratch_.Allocate(R * F, compute_);
    FromExperts(D, compute_);
    FromExperts(1, kF32);
  }

  void BackwardAttention() {
    ArenaScope scope(scratch_);
    CopyUnless(kF32, compute_);
    for (int i = 0; i < 2; ++i) scratch_.Allocate(T * D, compute_);
    Gather(S * D, compute_);
    Gather(S * D, compute_);
    scratch_.Allocate(S * A, compute_);
    scratch_.Allocate(S * C, compute_);
    SumOverTensorGroup(S, compute_, /*accumulate=*/false);
  }

  void EmbeddingBackward() {
    ArenaScope scope(scratch_);
    Gather(S * D, kF32);
  }

  // As in moe/kernels.h, of this rank; t ranks of the tensor group have B
  // sequences and S tokens.
  const int64_t t, B, S, T, D, V, H, A, C, E, K, N, R, F;
  const int64_t chunk_;  // tokens of this rank in a chunk of the loss head
  const int layers_;
  const bool exchanges_;  // rows go to other ranks
  const bool reorders_;   // and arrive in another order than the experts'
  const bool drops_;      // experts take only so many rows of a sequence
  const bool by_probability_;
  const DType compute_;
  const Recompute recompute_;
  ArenaModel saved_;
  ArenaModel routing_;
  ArenaModel scratch_;
};

}  // namespace

ActivationBytes PlanActivations(const ActivationShape& shape) {
  return Walk(shape).Run();
}

}  // namespace moe
