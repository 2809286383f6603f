#ifndef TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_EXPORT_H_
#define TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_EXPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/store/stored_checkpoint.h"

namespace moe {

struct ExportOptions {
  std::string output;                      // a directory that is not there yet
  StoredDType dtype = StoredDType::kBF16;  // or kF16, kF32
  // A file of weights is no larger, but for one tensor that is.
  int64_t max_shard_bytes = int64_t{5'000'000'000};
  // That verify, then write files of weights, one each: the bytes do not depend
  // on how many.
  int threads = 1;
};

struct ExportedCheckpoint {
  std::vector<std::string> weight_files;
  int64_t num_tensors = 0;
  int64_t num_bytes = 0;  // of the tensors
};

// Writes a checkpoint's weights under Hugging Face's names in another dtype,
// with config.json, generation_config.json and the tokenizer's files:
//
// 1. the bytes that the manifest lists are verified, but for the moments;
// 2. OUTPUT.tmp/ is written, every file synced, tensors piece by piece;
// 3. it is synced and renamed, and its parent synced.
//
// On an error nothing stays. AlreadyExists: OUTPUT or OUTPUT.tmp is there.
// DataLoss, FailedPrecondition: the checkpoint is damaged, or lacks tensors of
// its model, or a value is not finite or does not fit the dtype; names the
// tensor. Aborted: the disk refused.
absl::StatusOr<ExportedCheckpoint> ExportCheckpoint(
    FileSystem& files, const StoredCheckpoint& stored,
    const ExportOptions& options, const ProgressFunction& progress);

// The bytes of the values in kBF16, kF16 or kF32, rounded to nearest, ties to
// even, appended to `bytes`. FailedPrecondition: a finite value becomes
// infinite; says which and the largest value that does not.
absl::Status AppendRounded(absl::Span<const float> values, StoredDType dtype,
                           std::string& bytes);

// "bfloat16" of kBF16, "float16", "float32": as config.json has them.
absl::string_view HuggingFaceDTypeName(StoredDType dtype);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_EXPORT_H_
