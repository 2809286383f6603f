#include "trainer/config/batch_plan.h"

#include <algorithm>

#include "comm/base/check.h"
#include "comm/base/round_up.h"

namespace moe {

BatchPlan::BatchPlan(int64_t global_size, int64_t micro_size, int num_ranks)
    : global_size_(global_size), num_ranks_(num_ranks) {
  CHECK(global_size >= 1 && micro_size >= 0 && num_ranks >= 1);
  int64_t most = 0;
  for (int rank = 0; rank < num_ranks; ++rank)
    most = std::max(most, OfRank(rank).count);
  micro_size_ = micro_size == 0 ? most : micro_size;
  num_micro_steps_ = static_cast<int>(CeilDiv(most, micro_size_));
}

BatchPlan::Range BatchPlan::OfRank(int rank) const {
  const int64_t begin = rank * global_size_ / num_ranks_;
  return {begin, (rank + 1) * global_size_ / num_ranks_ - begin};
}

BatchPlan::Range BatchPlan::OfMicroStep(int rank, int micro_step) const {
  const Range all = OfRank(rank);
  const int64_t skipped = std::min(all.count, micro_step * micro_size_);
  return {all.begin + skipped, std::min(micro_size_, all.count - skipped)};
}

int64_t BatchPlan::SequencesInMicroStep(int micro_step) const {
  int64_t count = 0;
  for (int rank = 0; rank < num_ranks_; ++rank)
    count += OfMicroStep(rank, micro_step).count;
  return count;
}

}  // namespace moe
