#ifndef TRAINER_CONFIG_BATCH_PLAN_H_
#define TRAINER_CONFIG_BATCH_PLAN_H_

#include <cstdint>

namespace moe {

// How the g sequences of a step are dealt to n data ranks and cut into
// micro-steps; arithmetic alone, so that every rank knows every rank's part.
// Any n works: a rank that has run out takes part with no sequences.
//
//   g = 7, n = 3, micro size 2:   rank 0: {0 1}
//                                 rank 1: {2 3}
//                                 rank 2: {4 5} {6}
class BatchPlan {
 public:
  // `micro_size` 0: all of a rank's sequences at once.
  BatchPlan(int64_t global_size, int64_t micro_size, int num_ranks);

  // The same for all ranks.
  int num_micro_steps() const { return num_micro_steps_; }

  struct Range {
    int64_t begin = 0;  // within the step's sequences
    int64_t count = 0;
  };
  // All sequences of a rank, and those of one micro-step.
  Range OfRank(int rank) const;
  Range OfMicroStep(int rank, int micro_step) const;
  // Of all ranks together in one micro-step.
  int64_t SequencesInMicroStep(int micro_step) const;
  int64_t global_size() const { return global_size_; }

 private:
  int64_t global_size_;
  int64_t micro_size_;
  int num_ranks_;
  int num_micro_steps_;
};

}  // namespace moe

#endif  // TRAINER_CONFIG_BATCH_PLAN_H_
