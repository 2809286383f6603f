#include "trainer/checkpoint/store/state_loader.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"

namespace moe {
namespace {

// Elements from (row, column) on that lie in the piece one after another and
// in the tensor too; 0 if the piece has not even the first.
struct Run {
  int64_t in_piece = 0;
  int64_t length = 0;
};
Run RunAt(const StatePiece& piece, int64_t columns, int64_t row,
          int64_t column) {
  const Slice& slice = piece.slice;
  const int64_t slice_row = row - slice.first_row;
  const int64_t slice_column = column - slice.first_column;
  if (slice_row < 0 || slice_row >= slice.num_rows || slice_column < 0 ||
      slice_column >= slice.num_columns)
    return {};
  const int64_t element = slice_row * slice.num_columns + slice_column;
  const int64_t end = piece.begin + piece.count;
  if (element < piece.begin || element >= end) return {};
  const bool whole_rows = slice.num_columns == columns;
  const int64_t most =
      whole_rows ? end - element : slice.num_columns - slice_column;
  return {.in_piece = element - piece.begin,
          .length = std::min(most, end - element)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateLoader>> StateLoader::Open(
    FileSystem& files, const std::string& directory,
    const CheckpointManifest& manifest) {
  std::unique_ptr<StateLoader> loader(new StateLoader(directory));
  for (const CheckpointManifest::File& file : manifest.file()) {
    if (!absl::StartsWith(file.name(), kStateFilePrefix)) continue;
    ASSIGN_OR_RETURN(
        SafetensorsFile opened,
        SafetensorsFile::Open(files, JoinPath(directory, file.name())));
    loader->files_.push_back(std::move(opened));
  }
  // The files stay where they are from here on.
  for (size_t i = 0; i < loader->files_.size(); ++i)
    RETURN_IF_ERROR(loader->AddPieces(i));
  return loader;
}

absl::Status StateLoader::AddPieces(size_t file) {
  for (const StoredTensor& tensor : files_[file].tensors()) {
    const std::optional<StatePiece> piece = ParsePieceName(tensor.name);
    const bool fits = piece.has_value() && tensor.dtype == StoredDType::kF32 &&
                      tensor.end - tensor.begin ==
                          static_cast<uint64_t>(piece->count) * sizeof(float);
    if (!fits) {
      return absl::DataLossError(absl::StrCat(
          files_[file].path(), ": ", tensor.name, " is no piece of a state"));
    }
    pieces_[{piece->parameter, piece->state}].push_back(
        {*piece, file, &tensor});
  }
  return absl::OkStatus();
}

absl::Status StateLoader::Check(const ParameterTable& table) const {
  for (const Parameter& parameter : table.parameters()) {
    if (!parameter.trained) continue;
    for (const OptimizerState& state : kOptimizerStates) {
      int64_t total = 0;
      const auto found = pieces_.find({parameter.name, state.name});
      if (found != pieces_.end())
        for (const Stored& stored : found->second) total += stored.piece.count;
      if (total == parameter.size) continue;
      return absl::DataLossError(absl::StrCat(
          directory_, " holds ", total, " elements of the ", state.name, " of ",
          parameter.name, ", must be ", parameter.size));
    }
  }
  return absl::OkStatus();
}

absl::Status StateLoader::Load(const std::string& parameter,
                               const std::string& state, int64_t columns,
                               int64_t begin, absl::Span<float> out) const {
  const auto found = pieces_.find({parameter, state});
  const int64_t end = begin + static_cast<int64_t>(out.size());
  while (begin < end) {
    const Stored* stored = nullptr;
    Run run;
    if (found != pieces_.end()) {
      for (const Stored& candidate : found->second) {
        run = RunAt(candidate.piece, columns, begin / columns, begin % columns);
        if (run.length == 0) continue;
        stored = &candidate;
        break;
      }
    }
    if (stored == nullptr) {
      return absl::DataLossError(absl::StrCat(directory_, " lacks element ",
                                              begin, " of the ", state, " of ",
                                              parameter));
    }
    const int64_t count = std::min(run.length, end - begin);
    const absl::Span<float> part = out.first(static_cast<size_t>(count));
    RETURN_IF_ERROR(
        files_[stored->file].ReadFloats(*stored->tensor, run.in_piece, part));
    out.remove_prefix(static_cast<size_t>(count));
    begin += count;
  }
  return absl::OkStatus();
}

}  // namespace moe
