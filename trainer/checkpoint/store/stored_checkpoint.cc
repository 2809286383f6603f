#include "trainer/checkpoint/store/stored_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "data/storage/digest.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/config/config_text.h"

namespace moe {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{1} << 20;
// Elements read at a time, so that they stay in the cache.
constexpr int64_t kPieceElements = int64_t{1} << 16;

bool HasOptimizerState(const CheckpointManifest& manifest) {
  return std::any_of(manifest.file().begin(), manifest.file().end(),
                     [](const CheckpointManifest::File& file) {
                       return absl::StartsWith(file.name(), kStateFilePrefix);
                     });
}

// Whether the manifest has the digest of this text of a file.
bool IsAsWritten(FileSystem& files, const std::string& directory,
                 absl::string_view name, absl::string_view text) {
  const auto manifest = LoadManifest(files, directory);
  if (!manifest.ok()) return false;
  for (const CheckpointManifest::File& file : manifest->file())
    if (file.name() == name) return file.xxh3() == Digest(text);
  return false;
}

}  // namespace

absl::StatusOr<std::string> LocateCheckpoint(FileSystem& files,
                                             const std::string& typed) {
  std::string path = typed;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (files.Exists(JoinPath(path, kManifestFile))) return path;
  if (files.Exists(path) && !files.IsDirectory(path))
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is no directory, so no checkpoint"));
  return FindCheckpoint(files, path);
}

absl::StatusOr<StoredCheckpoint> OpenStoredCheckpoint(FileSystem& files,
                                                      const std::string& path) {
  StoredCheckpoint stored;
  ASSIGN_OR_RETURN(stored.path, LocateCheckpoint(files, path));
  if (files.Exists(JoinPath(stored.path, kManifestFile))) {
    ASSIGN_OR_RETURN(stored.manifest, ReadManifest(files, stored.path));
  }
  ASSIGN_OR_RETURN(stored.config, ReadModelConfig(files, stored.path));
  ASSIGN_OR_RETURN(stored.weights, WeightsLoader::Open(files, stored.path));
  if (stored.manifest.has_value() && HasOptimizerState(*stored.manifest)) {
    ASSIGN_OR_RETURN(stored.moments,
                     StateLoader::Open(files, stored.path, *stored.manifest));
  }
  return stored;
}

absl::StatusOr<HuggingFaceConfig> ReadModelConfig(FileSystem& files,
                                                  const std::string& directory,
                                                  std::string* text) {
  const std::string path = JoinPath(directory, kConfigFile);
  ASSIGN_OR_RETURN(std::string read, files.ReadFile(path, kMaxConfigBytes));
  absl::StatusOr<HuggingFaceConfig> config = ParseConfigJson(read);
  if (!config.ok()) return Annotate(config.status(), path);
  if (text != nullptr) *text = std::move(read);
  return config;
}

absl::StatusOr<TrainConfig> ReadTrainConfig(FileSystem& files,
                                            const std::string& directory,
                                            std::vector<std::string>* unknown) {
  const std::string path = JoinPath(directory, kTrainConfigFile);
  ASSIGN_OR_RETURN(const std::string text,
                   files.ReadFile(path, kMaxConfigBytes));
  std::vector<std::string> passed_over;
  absl::StatusOr<TrainConfig> config =
      ParseStoredConfig(text, path, passed_over);
  if (!config.ok()) {
    return IsAsWritten(files, directory, kTrainConfigFile, text)
               ? absl::UnimplementedError(absl::StrCat(
                     path, " was written by a newer version of this program: ",
                     config.status().message()))
               : absl::DataLossError(config.status().message());
  }
  if (unknown != nullptr) *unknown = std::move(passed_over);
  return config;
}

ParameterTable WholeTable(const ModelConfig& model) {
  const Mesh mesh = *Mesh::Create(1, 1, 1, model.num_local_experts());
  return ParameterTable(model, DType::kFloat32, mesh, /*rank=*/0);
}

int64_t NumElements(const WeightsLoader::Entry& entry) {
  int64_t elements = 1;
  for (const uint64_t dim : entry.shape) elements *= static_cast<int64_t>(dim);
  return elements;
}

int64_t NumColumns(const WeightsLoader::Entry& entry) {
  return entry.shape.size() < 2 ? 1 : static_cast<int64_t>(entry.shape.back());
}

absl::Status ReadInPieces(
    int64_t size,
    absl::FunctionRef<absl::Status(int64_t begin, absl::Span<float> out)> read,
    absl::FunctionRef<absl::Status(absl::Span<const float> piece)> use) {
  std::vector<float> buffer(
      static_cast<size_t>(std::min(size, kPieceElements)));
  for (int64_t begin = 0; begin < size; begin += kPieceElements) {
    const int64_t count = std::min(kPieceElements, size - begin);
    const absl::Span<float> piece =
        absl::MakeSpan(buffer).first(static_cast<size_t>(count));
    RETURN_IF_ERROR(read(begin, piece));
    RETURN_IF_ERROR(use(piece));
  }
  return absl::OkStatus();
}

absl::StatusOr<ElementsScan> ScanElements(
    int64_t size,
    absl::FunctionRef<absl::Status(int64_t begin, absl::Span<float> out)>
        read) {
  ElementsScan scan;
  int64_t index = 0;
  RETURN_IF_ERROR(ReadInPieces(size, read, [&](absl::Span<const float> piece) {
    for (const float value : piece) {
      const double x = value;
      scan.sum_of_squares += x * x;
      scan.num_negative += value < 0 ? 1 : 0;
      if (!std::isfinite(value)) {
        if (scan.num_not_finite == 0) scan.first_not_finite = index;
        ++scan.num_not_finite;
      }
      ++index;
    }
    return absl::OkStatus();
  }));
  return scan;
}

}  // namespace moe
