#ifndef TRAINER_RUN_RUN_DIRECTORY_H_
#define TRAINER_RUN_RUN_DIRECTORY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/process_group.h"
#include "data/storage/file_lock.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// Where a run's files lie:
//
//   config.textproto  metrics.jsonl  checkpoints/step_NNNNNNNN/
//   lock       lock.ranks: see RunDirectoryLocks
//   data/      vocabulary and token caches of raw text
//   trace/     what each rank did in the steps of log.trace_steps
//   failure/   after a loss or gradient that was not finite: report.txt,
//              report.json, batch.safetensors (see SaveFailure) and
//              step_NNNNNNNN/, the state before it; lost_rank.txt after the
//              loss of a rank (SaveLostRankReport)
class RunDirectory {
 public:
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string config() const { return Join("config.textproto"); }
  std::string metrics() const { return Join("metrics.jsonl"); }
  std::string checkpoints() const { return CheckpointsDirectory(path_); }
  std::string data() const { return Join("data"); }
  std::string failure() const { return Join("failure"); }
  std::string trace() const { return Join("trace"); }
  std::string lock() const { return Join("lock"); }
  std::string ranks_lock() const { return Join("lock.ranks"); }

 private:
  std::string Join(absl::string_view name) const {
    return JoinPath(path_, name);
  }
  std::string path_;
};

// Aborted: the directory cannot be made, or nothing can be made in it. Only
// looks.
absl::Status CheckRunDirectory(const RunDirectory& run);

// How long to wait for the locks of another job, and to whom to say that; `say`
// is for rank 0.
struct Patience {
  // A killed job's ranks are gone a few seconds after it.
  absl::Duration time = absl::Seconds(15);
  std::function<void(const std::string&)> say;
};

// Keeps other jobs out. Rank 0 holds `lock` alone, which tells two jobs apart;
// every rank shares `lock.ranks`, for which the next job waits: after rank 0
// was killed another rank may live on for a while, on another node for longer,
// and its writing thread writes.
struct RunDirectoryLocks {
  std::unique_ptr<FileLock> job;  // rank 0
  std::unique_ptr<FileLock> ranks;
};

// Makes the directory, locks it against other jobs, and writes
// config.textproto. AlreadyExists: a rank of another job is alive in it.
// Aborted: the disk refuses. Collective; the same status on all ranks. Every
// rank must see what rank 0 wrote: a node with another file system is told by
// the lowest rank on it.
absl::StatusOr<RunDirectoryLocks> ClaimRunDirectory(FileSystem& files,
                                                    const RunDirectory& run,
                                                    const TrainConfig& config,
                                                    ProcessGroup& world,
                                                    const Patience& patience);

}  // namespace moe

#endif  // TRAINER_RUN_RUN_DIRECTORY_H_
