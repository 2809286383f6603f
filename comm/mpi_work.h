#ifndef COMM_MPI_WORK_H_
#define COMM_MPI_WORK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "comm/buffer.h"
#include "comm/mpi_messages.h"
#include "comm/ordered_reduction.h"
#include "comm/pieces.h"
#include "comm/process_group.h"
#include "comm/staging_pool.h"

namespace moe {

// What the Works of a group share; outlives them.
struct MpiShared {
  std::string name;
  MpiChannel channel;
  StagingPool pool;
  // A Work has failed: its messages may still be on their way.
  bool is_broken = false;
};

// One collective on its way through at most two stages:
//
//   1. Messages that its group has posted, which are added in rank order if
//      it reduces.
//   2. If asked for: every rank sends its piece of some memory to all others.
//
// Stage 2 starts inside Test or Wait of any Work of this process: a rank may
// wait for one Work while others wait for another one first, and each needs
// the sends of both.
class MpiWork : public Work {
 public:
  // `operation` for messages: "all-reduce"; a literal. `tag` and `tag` + 1 are
  // this Work's own.
  MpiWork(MpiShared* shared, const char* operation, int tag);
  ~MpiWork() override;
  MpiWork(const MpiWork&) = delete;
  MpiWork& operator=(const MpiWork&) = delete;

  bool Test() override;
  absl::Status Wait() override;
  int64_t arrived_bytes() const override { return messages_.arrived_bytes(); }

  // The set-up, by the group. What it posts goes into `messages`.
  MpiMessages& messages() { return messages_; }
  int tag() const { return tag_; }
  // Memory that this Work keeps until it is complete.
  absl::StatusOr<void*> TakeStaging(int64_t num_bytes);
  void ReduceInStage1(OrderedReduction::Arguments arguments);
  // Stage 1 leaves this rank's piece of `data` in place. Rank `full_rank`, if
  // not -1, has all of it already: nothing is sent to it.
  void GatherInStage2(MemoryView data, int full_rank);
  // Posts the exchange of pieces of `data`, this rank's being `own`.
  absl::Status PostGather(ConstMemoryView own, MemoryView data, int full_rank,
                          int tag);
  // Ends this Work with an error, which is returned with the operation's name.
  absl::Status Fail(const absl::Status& error);

 private:
  struct Gather {
    MemoryView data;
    int full_rank = -1;
  };

  // Moves this Work alone on; true once complete.
  bool Step();
  absl::Status StepOrError();
  std::string Description() const;
  void Complete(absl::Status status);

  MpiShared* shared_;
  const char* operation_;
  int tag_;
  MpiMessages messages_;
  Buffer staging_;
  std::optional<OrderedReduction> reduction_;
  std::optional<Gather> stage2_;
  bool complete_ = false;
  absl::Status status_;
};

}  // namespace moe

#endif  // COMM_MPI_WORK_H_
