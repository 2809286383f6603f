#ifndef COMM_MPI_MPI_WORK_H_
#define COMM_MPI_MPI_WORK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "comm/base/buffer.h"
#include "comm/mpi/mpi_messages.h"
#include "comm/mpi/mpi_progress.h"
#include "comm/mpi/staging_pool.h"
#include "comm/ordered_reduction.h"
#include "comm/pieces.h"
#include "comm/process_group.h"

namespace moe {

// What the Works of a group share; outlives them.
struct MpiShared {
  MpiProgress& progress;
  std::string name;
  MpiChannel channel;
  StagingPool pool = {};
  int64_t num_works = 0;  // so far
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
  // The next collective of the group. `operation` for messages: "all-reduce"; a
  // literal.
  MpiWork(MpiShared* shared, const char* operation);
  ~MpiWork() override;
  MpiWork(const MpiWork&) = delete;
  MpiWork& operator=(const MpiWork&) = delete;

  bool Test() override;
  absl::Status Wait() override;
  int64_t arrived_bytes() const override { return messages_.arrived_bytes(); }

  // The set-up, by the group. What it posts goes into `messages`.
  MpiMessages& messages() { return messages_; }
  // This one and the next are the Work's own.
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
  WaitRecord Describe() const;
  void Complete(absl::Status status);

  MpiShared* shared_;
  const char* operation_;
  const Position position_;
  const int64_t sequence_;  // of the group; the first is 1
  const uint32_t signature_;
  const int64_t started_;  // ClockNanos
  const int tag_;
  MpiMessages messages_;
  Buffer staging_;
  std::optional<OrderedReduction> reduction_;
  std::optional<Gather> stage2_;
  bool complete_ = false;
  absl::Status status_;
};

}  // namespace moe

#endif  // COMM_MPI_MPI_WORK_H_
