#ifndef COMM_WATCH_START_WATCH_H_
#define COMM_WATCH_START_WATCH_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/watch/watch_report.h"

namespace moe {

// A process of this job on this host, as the system shows it.
struct SeenProcess {
  int rank = -1;
  int pid = 0;
  char state = '\0';  // see ProcessState
};

// All of them, this process included, by rank and pid. The launcher tells each
// process its job and rank in the environment.
std::vector<SeenProcess> FindProcessesOfJob();

// What `self` of `world` ranks, which has waited for `limit` in the start of
// the job, can say of the reason. Pure.
LostRankReport MakeStartReport(int self, int world, const std::string& host,
                               const std::string& operation,
                               const std::vector<SeenProcess>& seen,
                               absl::Duration limit);

// Whether a rank that had a process before has none now. Pure.
bool HasLeft(const std::vector<SeenProcess>& before,
             const std::vector<SeenProcess>& now);

// That a rank of this host tells of the start, which one at a time can: a name
// that the system gives to one process and takes back when that ends. Ranks
// count from their own beginnings, and on a busy machine two take their turns
// at once. Without PMIx, or on other hosts, nobody shares it.
class TellersClaim {
 public:
  TellersClaim() = default;
  ~TellersClaim() { Release(); }
  TellersClaim(const TellersClaim&) = delete;
  TellersClaim& operator=(const TellersClaim&) = delete;

  // Of the job called `job`. False: another process has it.
  bool Take(const std::string& job);
  void Release();

 private:
  int socket_ = -1;
};

// When a rank tells of a start that takes too long: the lower ranks before it,
// and those that have left before all. Each that leaves, or that tells just
// now, is waited for anew: a busy launcher has not ended the job yet.
class StartPatience {
 public:
  StartPatience(int rank, absl::Duration limit);
  // After `counted` of the start: what `look` sees, to tell of it now; or
  // nothing as long as it is the turn of others, or another one has the claim
  // to tell, which `claim` says.
  std::optional<std::vector<SeenProcess>> Ask(
      absl::Duration counted, absl::FunctionRef<bool()> claim,
      absl::FunctionRef<std::vector<SeenProcess>()> look);

 private:
  const absl::Duration limit_;
  absl::Duration patience_;
  std::vector<SeenProcess> before_;  // at the limit, or when one had left
};

// Ends a job whose ranks do not come together. Until the watchdog (watchdog.h)
// stands they meet in calls of MPI, which wait for ever for a rank that does
// not come, and no rank knows more of the others than the system of its host
// shows. A thread, which never calls MPI, counts how long the start takes while
// the process runs; after `limit` and then some, so that rank 0 speaks first,
// it tells what it sees and ends the process with the report's exit code, and
// with it the job: launchers end the other ranks. A rank that sees another one
// gone waits for that longer, so that one of them tells.
class StartWatch {
 public:
  struct Options {
    int rank = 0;   // as the launcher numbers them
    int world = 1;  // ranks
    absl::Duration limit;
    // Called on the thread of the watch.
    std::function<void(const LostRankReport&)> report;
  };
  // ResourceExhausted: no thread can be had.
  static absl::StatusOr<std::unique_ptr<StartWatch>> Start(Options options);
  // The start is over, or somebody else watches from here on.
  ~StartWatch();
  StartWatch(const StartWatch&) = delete;
  StartWatch& operator=(const StartWatch&) = delete;

 private:
  explicit StartWatch(Options options);
  void Run();
  // Waits for one tick; whether the start is over.
  bool IsOverAfterTick();

  const Options options_;
  // Not absl's: those wait by a clock that can be set.
  std::mutex mutex_;
  std::condition_variable ends_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace moe

#endif  // COMM_WATCH_START_WATCH_H_
