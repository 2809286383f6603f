#ifndef TRAINER_CHECKPOINT_STORE_STORED_CHECKPOINT_H_
#define TRAINER_CHECKPOINT_STORE_STORED_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/storage/file_system.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/format/hf_config.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/store/state_loader.h"
#include "trainer/checkpoint/store/weights_loader.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// A checkpoint as tools look at it, without ranks: headers are read, elements
// stay where they are.
struct StoredCheckpoint {
  std::string path;
  // Nothing: not one of ours, as Hugging Face's own.
  std::optional<CheckpointManifest> manifest;
  HuggingFaceConfig config;
  std::unique_ptr<WeightsLoader> weights;
  // Null without optimizer state.
  std::unique_ptr<StateLoader> moments;
};

// The directory of a checkpoint that a user means by a path: as FindCheckpoint,
// and a directory that has our manifest, whatever else it lacks. NotFound and
// FailedPrecondition say what is wrong with the path.
absl::StatusOr<std::string> LocateCheckpoint(FileSystem& files,
                                             const std::string& path);

// Opens what LocateCheckpoint finds. All files that the manifest lists must be
// there in their sizes; errors as those of the parts.
absl::StatusOr<StoredCheckpoint> OpenStoredCheckpoint(FileSystem& files,
                                                      const std::string& path);

// DIRECTORY/config.json, and its text if that is asked for. Errors as
// ParseConfigJson, with the path.
absl::StatusOr<HuggingFaceConfig> ReadModelConfig(FileSystem& files,
                                                  const std::string& directory,
                                                  std::string* text = nullptr);

// DIRECTORY/train_config.textproto, and the keys in it that only a newer
// version of this program knows, if they are asked for. DataLoss: it is none.
absl::StatusOr<TrainConfig> ReadTrainConfig(
    FileSystem& files, const std::string& directory,
    std::vector<std::string>* unknown = nullptr);

// All of the model's parameters, as one rank that holds all.
ParameterTable WholeTable(const ModelConfig& model);

int64_t NumElements(const WeightsLoader::Entry& entry);
int64_t NumColumns(const WeightsLoader::Entry& entry);

// Reads elements [0, size) of something piece by piece and hands each to `use`:
// tensors need not fit the memory.
absl::Status ReadInPieces(
    int64_t size,
    absl::FunctionRef<absl::Status(int64_t begin, absl::Span<float> out)> read,
    absl::FunctionRef<absl::Status(absl::Span<const float> piece)> use);

// What one pass over elements finds.
struct ElementsScan {
  double sum_of_squares = 0;  // of all, so not finite if one of them is not
  int64_t num_not_finite = 0;
  int64_t first_not_finite = -1;
  int64_t num_negative = 0;
};
absl::StatusOr<ElementsScan> ScanElements(
    int64_t size,
    absl::FunctionRef<absl::Status(int64_t begin, absl::Span<float> out)> read);

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_STORED_CHECKPOINT_H_
