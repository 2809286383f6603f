#ifndef TRAINER_CHECKPOINT_STORE_CHECKPOINT_SAVER_H_
#define TRAINER_CHECKPOINT_STORE_CHECKPOINT_SAVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "data/storage/file_system.h"
#include "data/storage/temporary_path.h"
#include "data/text/hf_tokenizer.h"
#include "data/text/tokenizer.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/store/background_job.h"
#include "trainer/checkpoint/store/retention.h"
#include "trainer/checkpoint/store/snapshot.h"
#include "trainer/checkpoint/store/source_words.h"

namespace moe {

// The files beside the weights by which transformers knows a checkpoint:
// config.json, generation_config.json and, if `tokenizer` is not null, the
// tokenizer's. `source`, of the checkpoint that the run began or goes on with,
// or null: its ids of special tokens, sliding window and generation_config.json
// are carried on, and its tokenizer's files: all where the run has no
// tokenizer, else added_tokens.json and chat_template.jinja. Ids that it does
// not name are the tokenizer's.
std::vector<NamedFile> ModelFiles(const ModelConfig& model,
                                  const RouterConfig& router,
                                  int64_t sequence_length,
                                  const Tokenizer* tokenizer, bool add_bos,
                                  const SourceWords* source = nullptr);

// How a save ended. OK: the checkpoint is durable under its name. Aborted: a
// disk refused on some rank, said where; nothing stands under the name, and a
// later save may work.
struct SaveResult {
  int64_t step = 0;
  std::string path;
  absl::Status status;
};

// Saves the whole state of a run, while it goes on: protocol in
// checkpoint_saver.cc. All methods but busy are collective over the world; an
// error that they return themselves is of the messages, and the ranks cannot go
// on together.
class CheckpointSaver {
 public:
  // `files` and the snapshot's environment outlive the saver.
  static absl::StatusOr<std::unique_ptr<CheckpointSaver>> Create(
      FileSystem& files, const Snapshot::Environment& environment,
      const Retention& retention, const Snapshot::Options& options = {});

  // Takes the snapshot and starts writing DIRECTORY/step_NNNNNNNN. No save may
  // be under way. `manifest` has everything but layout and files; `text_files`
  // (of rank 0) stand beside the weights. A result: the save has ended already,
  // because the directory could not be prepared.
  absl::StatusOr<std::optional<SaveResult>> Start(
      const std::string& directory, const CheckpointManifest& manifest,
      std::vector<NamedFile> text_files);

  // A save is under way; the same on all ranks.
  bool busy() const { return phase_ != Phase::kIdle; }

  // Moves on without waiting for a disk; the result once the save has ended.
  absl::StatusOr<std::optional<SaveResult>> Poll();
  // Waits for the end of the save under way, however long disks take. While it
  // waits `still_saving` is told now and then, on all ranks, how long it has
  // been and a rank whose disk is not done.
  using StillSaving = std::function<void(absl::Duration waited, int rank)>;
  absl::StatusOr<SaveResult> Finish(
      const StillSaving& still_saving = nullptr,
      absl::Duration now_and_then = absl::Minutes(1));

  // Start and Finish: where the checkpoint is.
  absl::StatusOr<std::string> Save(const std::string& directory,
                                   const CheckpointManifest& manifest,
                                   std::vector<NamedFile> text_files);

 private:
  enum class Phase { kIdle, kWriting, kCommitting };

  CheckpointSaver(FileSystem& files, const Snapshot::Environment& environment,
                  const Retention& retention)
      : files_(files), environment_(environment), retention_(retention) {}

  ProcessGroup& world() const { return environment_.groups.world(); }
  absl::Status Prepare();
  absl::Status WriteMyFiles();
  absl::Status AgreeOnManifest();
  absl::Status Commit();
  absl::StatusOr<std::optional<SaveResult>> Advance();
  SaveResult End(const absl::Status& status);

  FileSystem& files_;
  const Snapshot::Environment environment_;
  const Retention retention_;
  std::unique_ptr<Snapshot> snapshot_;

  // Of the save under way.
  Phase phase_ = Phase::kIdle;
  int64_t slowest_rank_ = 0;  // that was writing at the last Poll
  std::string directory_;
  std::string final_;
  std::string temporary_;
  std::optional<TemporaryPath> unfinished_;  // of rank 0: that directory
  CheckpointManifest manifest_;
  std::vector<NamedFile> text_files_;
  // What this rank has written: by number of the file, and rank 0's texts.
  std::vector<std::pair<int, CheckpointManifest::File>> written_;
  std::vector<CheckpointManifest::File> written_texts_;

  BackgroundJob job_;  // the last, so that it ends before what it uses goes
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_CHECKPOINT_SAVER_H_
