#ifndef MOE_LAYERS_TOKEN_DISPATCHER_H_
#define MOE_LAYERS_TOKEN_DISPATCHER_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/device_context.h"
#include "comm/process_group.h"
#include "comm/process_groups.h"
#include "moe/layers/dispatch_plan.h"
#include "moe/layers/layer_context.h"
#include "moe/tensor.h"

namespace moe {

// Takes each token's row to the experts that it chose, wherever they live, and
// the results back. Every row arrives; an expert or a rank may get none or all
// of them. A choice of -1, dropped by the capacity, has no row: it adds nothing
// to its token, and its weight's gradient is 0.
//
//   1. rows are sorted by (expert, token), so that those for one rank are
//      adjacent: ranks of the group hold consecutive experts
//   2. counts [P, e] are exchanged, so that each rank knows what it gets, and
//      checked: they are of the same step and layer, and their sums agree
//   3. rows are exchanged by one all-to-all
//   4. arrivals, ordered (source, expert), are put in the order (expert,
//      source): each expert's rows lie together, sorted by (source, token)
//   and back by the inverse of 4, 3, 1.
//
// The way there and the way back are each other's gradient: a plan is made
// once for a layer and micro-step. Where the layer is computed again, or its
// rows go in chunks, tensors are made again; the counts stay those that were
// exchanged, which say what is in each chunk too.
//
// Letters: T tokens, K experts per token, N rows leaving (T K but for those
// dropped), R rows arriving, D width, P ranks, E experts, e = E / P experts of
// this rank.

// What goes before a rank's counts for another: its step, its layer, their sum.
inline constexpr int64_t kCountsHeader = 3;

// Rows on their way back from the experts.
struct ReturningRows {
  Tensor sorted_ND;            // what arrives, in the order in which it left
  std::unique_ptr<Work> work;  // null: a group of one rank, nothing moves

  // Moves what can be moved.
  void Progress() const;
  absl::Status Wait() const;
};

// Rows that leave, sorted, and the routing weight that travels with each. Where
// the plan's tensors have room for T K rows these have, too: 0 beyond N.
struct SortedRows {
  Tensor rows_ND;
  Tensor weight_N1;
};

struct ReturningGradients {
  ReturningRows rows;
  ReturningRows weights;  // of width 1

  void Progress() const;
};

class TokenDispatcher {
 public:
  TokenDispatcher(const ProcessGroups& groups, int64_t num_experts);

  // Collective (steps 1 and 2). Tensors of the plan lie in context.saved.
  // dispatched_ids: each choice's expert, or -1. Internal: a rank's counts are
  // of another step or layer, or contradict themselves.
  absl::Status MakePlan(LayerContext& context, DispatchPlan& plan,
                        const Tensor& dispatched_ids_TK) const;
  // The same in two halves, so that the device has something to do while the
  // counts go to the host: StartPlan sorts, and returns the counts on their
  // way. Until FinishPlan the plan is of T K rows, those beyond N nowhere.
  absl::StatusOr<HostCopy> StartPlan(LayerContext& context, DispatchPlan& plan,
                                     const Tensor& dispatched_ids_TK) const;
  absl::Status FinishPlan(LayerContext& context, DispatchPlan& plan,
                          HostCopy counts_E) const;
  // The tensors of a plan whose counts are known: of the same ids once more, or
  // of one chunk (ChunkOf, ChunkIds). Exchanges nothing and waits for nothing.
  absl::Status RemakePlan(LayerContext& context, DispatchPlan& plan,
                          const Tensor& dispatched_ids_TK) const;

  // In how many parts a dispatch must go so that no rank of the group takes
  // more than `max_rows` rows at once (0: one). Collective.
  absl::StatusOr<int64_t> NumChunks(const DispatchPlan& plan,
                                    int64_t max_rows) const;
  // The choices of one part, in context.scratch, for a plan of its own
  // (ChunkOf): of those of `plan`, which was made of dispatched_ids.
  absl::StatusOr<Tensor> ChunkIds(LayerContext& context,
                                  const Tensor& dispatched_ids_TK,
                                  const DispatchPlan& plan, int64_t chunk,
                                  int64_t num_chunks) const;

  // rows_RD (in context.saved) = the tokens' rows at their experts; weight_R
  // the routing weight that travels with each.
  absl::Status Dispatch(LayerContext& context, Tensor& rows_RD,
                        Tensor& weight_R, const DispatchPlan& plan,
                        const Tensor& x_TD, const Tensor& weights_TK) const;
  // Its two halves. SortRows needs no more than StartPlan's part of the plan;
  // what it returns may lie in context.scratch.
  absl::StatusOr<SortedRows> SortRows(LayerContext& context,
                                      const DispatchPlan& plan,
                                      const Tensor& x_TD,
                                      const Tensor& weights_TK) const;
  absl::Status SendRows(LayerContext& context, Tensor& rows_RD,
                        Tensor& weight_R, const DispatchPlan& plan,
                        const SortedRows& sorted) const;

  // out_TD += each token's rows, in order k. out is float32.
  absl::Status Combine(LayerContext& context, Tensor out_TD,
                       const DispatchPlan& plan, const Tensor& rows_RD) const;

  // d_rows_RD (in context.scratch) from d_out, compute.
  absl::Status CombineBackward(LayerContext& context, Tensor& d_rows_RD,
                               const DispatchPlan& plan,
                               const Tensor& d_out_TD) const;

  // d_rows and d_weight, which must stay as they are, set out; they arrive in
  // context.scratch, which the caller keeps until they have been taken.
  absl::StatusOr<ReturningGradients> StartDispatchBackward(
      LayerContext& context, const DispatchPlan& plan, const Tensor& d_rows_RD,
      const Tensor& d_weight_R) const;
  // Takes them: d_x (float32) and d_weights, overwritten or added to.
  absl::Status FinishDispatchBackward(LayerContext& context, Tensor d_x_TD,
                                      Tensor d_weights_TK,
                                      const DispatchPlan& plan,
                                      ReturningGradients returning,
                                      bool accumulate = false) const;

 private:
  // Step 1: allocates and fills the tensors that it is about, [T K]; returns
  // the counts, int64.
  absl::StatusOr<Tensor> Sort(LayerContext& context, DispatchPlan& plan,
                              const Tensor& dispatched_ids_TK) const;
  // What is left of the plan once all counts are known.
  absl::Status OrderRows(LayerContext& context, DispatchPlan& plan) const;
  // Step 2: writes the messages, sends them, and reads those of the others.
  absl::Status ExchangeCounts(DispatchPlan& plan) const;
  void PackCounts(DispatchPlan& plan) const;
  absl::Status TakeCounts(DispatchPlan& plan) const;
  absl::Status CheckCounts(const DispatchPlan& plan, int source) const;
  // Steps 3 and 4 for rows of any width: [N, width] -> [R, width], made in
  // `arena`. A group of one rank returns sorted_ND itself.
  absl::StatusOr<Tensor> ToExperts(LayerContext& context, Arena& arena,
                                   const DispatchPlan& plan,
                                   const Tensor& sorted_ND) const;
  // The inverse, begun. `rows` may have moved to context.scratch, like what
  // arrives.
  absl::StatusOr<ReturningRows> FromExperts(LayerContext& context,
                                            const DispatchPlan& plan,
                                            const Tensor& rows_RD) const;
  absl::StatusOr<std::unique_ptr<Work>> StartExchange(
      const Tensor& receive, const Tensor& send,
      absl::Span<const int64_t> receive_rows_P,
      absl::Span<const int64_t> send_rows_P) const;

  ProcessGroup& group_;       // of the host: counts
  ProcessGroup& rows_group_;  // of the device
  int64_t num_experts_;
  int64_t num_local_experts_;
};

}  // namespace moe

#endif  // MOE_LAYERS_TOKEN_DISPATCHER_H_
