#ifndef COMM_WATCH_WATCHDOG_H_
#define COMM_WATCH_WATCHDOG_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/mpi/mpi_runtime.h"
#include "comm/watch/start_watch.h"
#include "comm/watch/watch_report.h"

namespace moe {

// Ends a job in time, with a reason, when a rank of it is lost, stopped, stuck,
// crashed, or in another collective than the rest. A thread of each rank, which
// never calls MPI, tells three hubs (in rank 0, in a rank on another host if
// there is one, and in a further rank) over TCP what its rank does, twice a
// second.
//
//   1. Something happens: a connection closes without a goodbye (the process is
//      gone; of a lost host the system says so within a minute), ranks wait in
//      different collectives, or a rank raises an alarm: it has waited longer
//      than a collective may take, it crashes, cannot go on, or its launcher
//      is gone. Silence alone is nothing: a rank may be slow.
//   2. A hub asks all ranks what they do, and waits a second for answers, which
//      come with the stack of the thread that trains.
//   3. It finds the cause (watch_report.h) and tells it, once for the job; or
//      the ranks turn out to be in one collective, and it watches again.
//   4. All ranks are told to end with one exit code, and do so at once.
//
// The hubs are alike, and all know all ranks. Rank 0's decides; each further
// one does so when those before it are lost or do not act. Where a time limit
// is concerned, time counts only while the rank runs: a job that was suspended
// as a whole goes on.
class Watchdog {
 public:
  struct Options {
    // Longest wait in a collective.
    absl::Duration collective_timeout;
    // Called in one process, on the watchdog's thread.
    std::function<void(const LostRankReport&)> report;
  };
  // Collective over all ranks; call it on the thread that trains. `start_watch`
  // watches until this does; null: nothing does. On all ranks Unavailable: a
  // rank cannot reach a hub; ResourceExhausted: one has no thread or file left.
  static absl::StatusOr<std::unique_ptr<Watchdog>> Start(
      const MpiRuntime& runtime, Options options,
      std::unique_ptr<StartWatch> start_watch);
  // Leaves in good order; the other ranks do not mind.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Ends the job for an error of this rank alone, with its reason told and its
  // exit code.
  [[noreturn]] void Fail(const absl::Status& status);

 private:
  class Rank;
  explicit Watchdog(std::unique_ptr<Rank> rank);
  std::unique_ptr<Rank> rank_;
};

}  // namespace moe

#endif  // COMM_WATCH_WATCHDOG_H_
