// How a step becomes durable
//
//   1. Start. Rank 0 makes step_N.tmp/ anew. All ranks take the snapshot into
//      memory (Snapshot): the weights travel to their writers, each rank copies
//      its own optimizer state. From here on training may go on.
//   2. Writing, a thread on each rank, which never calls MPI: the rank's files,
//      each synced and closed, with sizes and digests of what stood in memory.
//      Rank 0 writes the model's texts too.
//   3. When all threads have ended, which the ranks learn together in Poll,
//      they agree whether all is well and bring sizes and digests together.
//   4. Committing, rank 0's thread: manifest.textproto, synced; step_N.tmp/
//      synced; renamed to step_N/; the directory above synced. Only then are
//      old checkpoints deleted, each renamed to *.tmp first, so that no half of
//      one ever stands under a name that counts.
//
// A directory has its name only after everything in it is durable, and its
// manifest only after every other file is: a reader that finds a manifest whose
// files agree with it has found a checkpoint, whole. There is no pointer to the
// newest one that could be wrong.
//
// After a failure rank 0 removes step_N.tmp/, also where it is refused memory
// and ends; and step_N/ if it was renamed but the name could not be made
// durable: who is told of a failure must not find a checkpoint. What a lost
// rank or a crash leaves is named *.tmp; readers pass over it and the next
// start removes it.

#include "trainer/checkpoint/store/checkpoint_saver.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/base/check.h"
#include "comm/base/monotonic_time.h"
#include "comm/base/status_macros.h"
#include "comm/process_groups.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/hf_config.h"

namespace moe {
namespace {

void SetIfNone(int id, std::vector<int>& ids) {
  if (ids.empty() && id >= 0) ids.push_back(id);
}

// The files of another's tokenizer, as they are; beside a tokenizer of the run
// only those of its chat: tokenizer.model and what belongs to it are the run's.
void CarryTokenizerFiles(const SourceWords& source, bool has_tokenizer,
                         std::vector<NamedFile>& files) {
  for (const NamedFile& file : source.tokenizer_files) {
    if (!has_tokenizer || !IsTokenizerFile(file.name)) files.push_back(file);
  }
}

}  // namespace

std::vector<NamedFile> ModelFiles(const ModelConfig& model,
                                  const RouterConfig& router,
                                  int64_t sequence_length,
                                  const Tokenizer* tokenizer, bool add_bos,
                                  const SourceWords* source) {
  HuggingFaceConfig config =
      MakeHuggingFaceConfig(model, router, sequence_length);
  std::vector<NamedFile> files;
  if (source != nullptr) {
    config.bos_ids = source->config.bos_ids;
    config.eos_ids = source->config.eos_ids;
    config.pad_ids = source->config.pad_ids;
    config.sliding_window = source->config.sliding_window;
  }
  if (tokenizer != nullptr) {
    SetIfNone(tokenizer->bos_id(), config.bos_ids);
    SetIfNone(tokenizer->eos_id(), config.eos_ids);
    files = HuggingFaceTokenizerFiles(*tokenizer, add_bos);
  }
  if (source != nullptr)
    CarryTokenizerFiles(*source, tokenizer != nullptr, files);
  files.push_back({kConfigFile, ConfigJson(config)});
  files.push_back({kGenerationConfigFile,
                   source != nullptr && !source->generation_config.empty()
                       ? source->generation_config
                       : GenerationConfigJson(config)});
  return files;
}

absl::StatusOr<std::unique_ptr<CheckpointSaver>> CheckpointSaver::Create(
    FileSystem& files, const Snapshot::Environment& environment,
    const Retention& retention, const Snapshot::Options& options) {
  std::unique_ptr<CheckpointSaver> saver(
      new CheckpointSaver(files, environment, retention));
  ASSIGN_OR_RETURN(saver->snapshot_, Snapshot::Create(environment, options));
  return saver;
}

absl::StatusOr<std::optional<SaveResult>> CheckpointSaver::Start(
    const std::string& directory, const CheckpointManifest& manifest,
    std::vector<NamedFile> text_files) {
  CHECK(!busy());
  directory_ = directory;
  final_ = JoinPath(directory, StepDirectoryName(manifest.step()));
  temporary_ = absl::StrCat(final_, kTemporarySuffix);
  manifest_ = manifest;
  manifest_.set_version(kManifestVersion);
  manifest_.set_ranks(environment_.mesh.world());
  manifest_.set_tensor_parallel(environment_.mesh.tensor());
  manifest_.set_expert_parallel(environment_.mesh.expert());
  manifest_.clear_file();
  text_files_ = std::move(text_files);

  const absl::Status prepared = AgreeOnStatus(Prepare(), world());
  if (!prepared.ok()) {
    if (!IsAgreed(prepared)) return prepared;
    return End(prepared);
  }
  RETURN_IF_ERROR(Annotate(snapshot_->Take(), "snapshot for a checkpoint"));
  phase_ = Phase::kWriting;
  job_.Start([this] { return WriteMyFiles(); });
  return std::nullopt;
}

// Step 1.
absl::Status CheckpointSaver::Prepare() {
  if (world().rank() != 0) return absl::OkStatus();
  if (files_.Exists(final_))
    return absl::AlreadyExistsError(absl::StrCat(final_, " is there already"));
  RETURN_IF_ERROR(files_.Remove(temporary_));
  unfinished_.emplace(files_, temporary_);
  RETURN_IF_ERROR(files_.MakeDirectories(temporary_));
  // `directory_` itself may be new.
  return files_.SyncDirectory(JoinPath(directory_, ".."));
}

// Step 2, on the writing thread.
absl::Status CheckpointSaver::WriteMyFiles() {
  written_.clear();
  written_texts_.clear();
  for (const Snapshot::File& file : snapshot_->files()) {
    ASSIGN_OR_RETURN(CheckpointManifest::File written,
                     file.image.Write(files_, temporary_));
    written_.emplace_back(file.index, std::move(written));
  }
  if (environment_.groups.world().rank() != 0) return absl::OkStatus();
  text_files_.push_back(
      {kWeightsIndexFile,
       WeightsIndexJson(snapshot_->weights_plan(), environment_.table)});
  for (const NamedFile& file : text_files_) {
    ASSIGN_OR_RETURN(CheckpointManifest::File written,
                     WriteListed(files_, temporary_, file.name, file.contents));
    written_texts_.push_back(std::move(written));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<SaveResult>> CheckpointSaver::Poll() {
  if (!busy()) return std::nullopt;
  int64_t running = job_.running() ? world().rank() + 1 : 0;
  RETURN_IF_ERROR(Annotate(
      world().AllReduce(ViewOf(absl::MakeSpan(&running, 1)), ReduceOp::kMax),
      "progress of a checkpoint"));
  if (running == 0) return Advance();
  slowest_rank_ = running - 1;
  return std::nullopt;
}

absl::StatusOr<SaveResult> CheckpointSaver::Finish(
    const StillSaving& still_saving, absl::Duration now_and_then) {
  CHECK(busy());
  // A disk may take longer than a collective may: the ranks ask each other
  // again and again instead of waiting in one.
  constexpr absl::Duration kLongestPause = absl::Milliseconds(20);
  absl::Duration pause = absl::Microseconds(100);
  const absl::Duration begin = MonotonicTime();
  absl::Duration told_at = begin;
  while (true) {
    ASSIGN_OR_RETURN(std::optional<SaveResult> result, Poll());
    if (result.has_value()) return *std::move(result);
    if (still_saving && MonotonicTime() - told_at >= now_and_then) {
      told_at = MonotonicTime();
      still_saving(told_at - begin, static_cast<int>(slowest_rank_));
    }
    absl::SleepFor(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

absl::StatusOr<std::string> CheckpointSaver::Save(
    const std::string& directory, const CheckpointManifest& manifest,
    std::vector<NamedFile> text_files) {
  ASSIGN_OR_RETURN(std::optional<SaveResult> result,
                   Start(directory, manifest, std::move(text_files)));
  if (!result.has_value()) {
    ASSIGN_OR_RETURN(result, Finish());
  }
  RETURN_IF_ERROR(result->status);
  return result->path;
}

// From one phase to the next, when all ranks' threads have ended.
absl::StatusOr<std::optional<SaveResult>> CheckpointSaver::Advance() {
  const absl::Status status = AgreeOnStatus(job_.Wait(), world());
  if (!status.ok()) {
    if (!IsAgreed(status)) return status;
    return End(status);
  }
  if (phase_ == Phase::kCommitting) return End(absl::OkStatus());
  RETURN_IF_ERROR(AgreeOnManifest());
  phase_ = Phase::kCommitting;
  job_.Start([this] { return Commit(); });
  return std::nullopt;
}

// Step 3. Every file is one rank's: sums bring them together.
absl::Status CheckpointSaver::AgreeOnManifest() {
  const size_t num_files = static_cast<size_t>(snapshot_->num_files());
  std::vector<int64_t> sizes_and_digests(2 * num_files, 0);
  for (const auto& [index, file] : written_) {
    const size_t i = static_cast<size_t>(index);
    sizes_and_digests[i] = file.num_bytes();
    sizes_and_digests[num_files + i] = std::bit_cast<int64_t>(file.xxh3());
  }
  RETURN_IF_ERROR(
      Annotate(world().AllReduce(ViewOf(absl::MakeSpan(sizes_and_digests)),
                                 ReduceOp::kSum),
               "digests of a checkpoint"));
  const auto& weights = snapshot_->weights_plan().files;
  for (size_t i = 0; i < num_files; ++i) {
    if (sizes_and_digests[i] == 0) continue;  // a rank that owns no state
    CheckpointManifest::File& file = *manifest_.add_file();
    file.set_name(i < weights.size()
                      ? weights[i].name
                      : StateFileName(static_cast<int>(i - weights.size()),
                                      environment_.mesh.world()));
    file.set_num_bytes(sizes_and_digests[i]);
    file.set_xxh3(std::bit_cast<uint64_t>(sizes_and_digests[num_files + i]));
  }
  for (const CheckpointManifest::File& file : written_texts_)
    *manifest_.add_file() = file;
  return absl::OkStatus();
}

// Step 4, on the writing thread of rank 0.
absl::Status CheckpointSaver::Commit() {
  if (environment_.groups.world().rank() != 0) return absl::OkStatus();
  RETURN_IF_ERROR(WriteDurably(files_, JoinPath(temporary_, kManifestFile),
                               ManifestText(manifest_)));
  RETURN_IF_ERROR(files_.SyncDirectory(temporary_));
  RETURN_IF_ERROR(unfinished_->RenameTo(final_));
  const absl::Status synced = files_.SyncDirectory(directory_);
  if (!synced.ok()) {
    files_.Remove(final_).IgnoreError();  // synced is the news
    return synced;
  }
  // What cannot be deleted now is deleted after a later save.
  DeleteOldCheckpoints(files_, directory_, retention_).IgnoreError();
  return absl::OkStatus();
}

SaveResult CheckpointSaver::End(const absl::Status& status) {
  phase_ = Phase::kIdle;
  unfinished_.reset();  // removes it, unless it has its name
  return {.step = manifest_.step(), .path = final_, .status = status};
}

}  // namespace moe
