#ifndef TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_AUDIT_H_
#define TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_AUDIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/corpus.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/manifest.h"

namespace moe {

// What a reading of every byte says of a checkpoint.
struct CheckpointAudit {
  // What the problems mean.
  enum class Trouble {
    kDamaged,
    kNotThere,  // no checkpoint, or no weights in it
    kNewer,     // written by a newer version of this program
    kNotRead,   // a model of a kind that we do not compute, quantized weights
  };

  std::string path;
  // False: a Hugging Face directory, of which only the structure can be told.
  bool has_manifest = false;
  int64_t step = 0;
  int num_files = 0;
  int64_t num_bytes = 0;
  int num_tensors = 0;  // of weights
  bool has_moments = false;
  // Empty: it is whole. Each names a file or a tensor.
  std::vector<std::string> problems = {};
  Trouble trouble = Trouble::kDamaged;
};

// "damaged", "not there", "newer than this program",
// "of a kind that is not read".
absl::string_view Name(CheckpointAudit::Trouble trouble);

// 1. Files: each that the manifest lists is as it was written, and no other
//    weights or state lie beside them.
// 2. Model: config.json is readable and that of train_config.textproto.
// 3. Tensors: those of the model, all of them, in their shapes; moments too.
// 4. Values: finite, second moments not negative.
//
// A step is taken if the ones before found nothing. Not OK: the path leads to
// no checkpoint, or to one of a newer version of this program (Unimplemented).
absl::StatusOr<CheckpointAudit> AuditCheckpoint(
    FileSystem& files, const std::string& path, int threads,
    const ProgressFunction& progress);

// Only 1, of these files: a problem each.
std::vector<std::string> DigestProblems(
    FileSystem& files, const std::string& directory,
    const std::vector<CheckpointManifest::File>& listed, int threads,
    const ProgressFunction& progress);

// That what is read of a checkpoint is what was written: all that its manifest
// lists, or all but the optimizer's state. OK where there is no manifest.
// DataLoss names the first file that is not.
enum class Verified { kWeights, kWeightsAndMoments };
absl::Status VerifyAsWritten(FileSystem& files, const std::string& directory,
                             Verified what, int threads,
                             const ProgressFunction& progress);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_TOOLS_CHECKPOINT_AUDIT_H_
