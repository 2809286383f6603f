#ifndef TRAINER_RUN_DIRECTORY_H_
#define TRAINER_RUN_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "comm/process_group.h"
#include "data/file_lock.h"
#include "data/file_system.h"
#include "trainer/checkpoint/checkpoint_directory.h"
#include "trainer/train_config.pb.h"

namespace moe {

// Where a run's files lie:
//
//   config.textproto  metrics.jsonl  checkpoints/step_NNNNNNNN/  lock
//   data/      vocabulary and token caches of raw text
//   failure/   after a loss that was not finite: report.txt, batch.safetensors
//              (see SaveFailure) and step_NNNNNNNN/, the weights before it
class RunDirectory {
 public:
  explicit RunDirectory(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string config() const { return Join("config.textproto"); }
  std::string metrics() const { return Join("metrics.jsonl"); }
  std::string checkpoints() const { return CheckpointsDirectory(path_); }
  std::string data() const { return Join("data"); }
  std::string failure() const { return Join("failure"); }
  std::string lock() const { return Join("lock"); }

 private:
  std::string Join(absl::string_view name) const {
    return JoinPath(path_, name);
  }
  std::string path_;
};

// Makes the directory, locks it against other jobs for as long as rank 0 has
// the lock, and writes config.textproto. AlreadyExists: another job is alive in
// it. Aborted: the disk refuses. Collective; the same status on all ranks, the
// lock on rank 0. Every rank must see what rank 0 wrote: a node with another
// file system is told by the lowest rank on it.
absl::StatusOr<std::unique_ptr<FileLock>> ClaimRunDirectory(
    FileSystem& files, const RunDirectory& run, const TrainConfig& config,
    ProcessGroup& world);

}  // namespace moe

#endif  // TRAINER_RUN_DIRECTORY_H_
