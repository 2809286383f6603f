#ifndef MOE_LAYERS_DISPATCH_PLAN_H_
#define MOE_LAYERS_DISPATCH_PLAN_H_

#include <cstdint>
#include <vector>

#include "moe/tensor.h"

namespace moe {

// Which rows go where in a dispatch. TokenDispatcher makes a plan once for a
// layer and micro-step; its backward and a layer that is computed again need
// no other counts.
//
// Rows are the device's, their counts the host's, which products and messages
// need.
//
// Letters: T tokens, K experts per token, N rows leaving (T K but for those
// dropped), R rows arriving, P ranks, E experts, e = E / P experts of this
// rank.
struct DispatchPlan {
  Tensor token_of_row_N;    // int32, rows sorted by (expert, token)
  Tensor choice_of_row_N;   // int32, t K + k
  Tensor row_of_choice_TK;  // int32, the inverse; -1: dropped
  // int32, rows in the order (expert, source) from the order of arrival, which
  // is (source, expert); null where both are the same.
  Tensor arrival_of_row_R;
  Tensor row_of_arrival_R;  // int32, its inverse

  std::vector<int64_t> counts_E;   // rows leaving, by expert
  std::vector<int64_t> counts_Pe;  // rows arriving, by source and expert
  // All below follows from the two above (CountLeaving, CountArriving).
  std::vector<int64_t> send_rows_P;     // rows leaving, by destination
  std::vector<int64_t> receive_rows_P;  // rows arriving, by source
  std::vector<int64_t> expert_offsets;  // e + 1: each expert's rows here
  int64_t num_sent_rows = 0;            // N
  int64_t num_received_rows = 0;        // R

  std::vector<int64_t> sent_counts;  // the message of counts, by destination
  std::vector<int64_t> received_counts;  // the same by source
};

// Set what follows from counts_E, and from counts_Pe.
void CountLeaving(DispatchPlan& plan, int num_ranks);
void CountArriving(DispatchPlan& plan, int num_ranks);

// The counts of one chunk of `whole`, without tensors. The rows of each rank
// for each other are cut into `num_chunks` parts like those of
// Kernels::ChoicesOfChunk, which the counts alone say on both sides: nobody
// need tell the other.
DispatchPlan ChunkOf(const DispatchPlan& whole, int64_t chunk,
                     int64_t num_chunks);

}  // namespace moe

#endif  // MOE_LAYERS_DISPATCH_PLAN_H_
