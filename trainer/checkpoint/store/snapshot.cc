#include "trainer/checkpoint/store/snapshot.h"

#include <algorithm>
#include <string>
#include <utility>

#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/state_piece.h"

namespace moe {
namespace {

StoredTensor FloatTensor(std::string name, std::vector<uint64_t> shape) {
  StoredTensor tensor;
  tensor.name = std::move(name);
  tensor.shape = std::move(shape);
  return tensor;
}

std::string NameOf(const OwnedRun& run, const char* state) {
  return PieceName({.parameter = run.parameter.name,
                    .state = state,
                    .slice = run.parameter.slice,
                    .begin = run.begin,
                    .count = run.count});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Snapshot>> Snapshot::Create(
    const Environment& environment, const Options& options) {
  std::unique_ptr<Snapshot> snapshot(new Snapshot(environment, options));
  ASSIGN_OR_RETURN(snapshot->assembler_,
                   TensorAssembler::Create(
                       environment.table, environment.groups, environment.state,
                       options.max_piece_bytes / SizeOf(DType::kFloat32)));
  RETURN_IF_ERROR(snapshot->MakeWeightImages());
  RETURN_IF_ERROR(snapshot->MakeStateImage());
  return snapshot;
}

Snapshot::Snapshot(const Environment& environment, const Options& options)
    : environment_(environment),
      options_(options),
      plan_(PlanWeights(environment.table, environment.mesh, options.plan)),
      weight_images_(plan_.files.size(), -1) {}

absl::Status Snapshot::MakeWeightImages() {
  const auto& parameters = environment_.table.parameters();
  for (size_t i = 0; i < plan_.files.size(); ++i) {
    const WeightsFile& planned = plan_.files[i];
    if (planned.rank != environment_.groups.world().rank()) continue;
    std::vector<StoredTensor> tensors;
    for (int index : planned.parameters) {
      const Parameter& parameter = parameters[static_cast<size_t>(index)];
      tensors.push_back(FloatTensor(
          parameter.name, {parameter.shape.begin(), parameter.shape.end()}));
    }
    ASSIGN_OR_RETURN(FileImage image,
                     FileImage::Create(planned.name, std::move(tensors)));
    weight_images_[i] = static_cast<int>(files_.size());
    files_.push_back({static_cast<int>(i), std::move(image)});
  }
  return absl::OkStatus();
}

absl::Status Snapshot::MakeStateImage() {
  std::vector<StoredTensor> tensors;
  environment_.state.ForEachOwned([&](const OwnedRun& run) {
    for (const OptimizerState& state : kOptimizerStates)
      tensors.push_back(FloatTensor(NameOf(run, state.name),
                                    {static_cast<uint64_t>(run.count)}));
  });
  if (tensors.empty()) return absl::OkStatus();
  const int rank = environment_.groups.world().rank();
  ASSIGN_OR_RETURN(
      FileImage image,
      FileImage::Create(StateFileName(rank, environment_.mesh.world()),
                        std::move(tensors)));
  state_image_ = static_cast<int>(files_.size());
  files_.push_back(
      {static_cast<int>(plan_.files.size()) + rank, std::move(image)});
  return absl::OkStatus();
}

absl::Status Snapshot::Take() {
  for (int index : plan_.order) {
    const size_t i = static_cast<size_t>(index);
    const Parameter& parameter = environment_.table.parameters()[i];
    if (parameter.local)
      RETURN_IF_ERROR(TakeWeights(parameter, plan_.file_of_parameter[i]));
  }
  return state_image_ >= 0 ? TakeState() : absl::OkStatus();
}

absl::Status Snapshot::TakeWeights(const Parameter& parameter,
                                   int planned_file) {
  const size_t file = static_cast<size_t>(planned_file);
  const int writer = plan_.files[file].rank;
  const int image = weight_images_[file];
  const int64_t rows_at_once = assembler_->RowsAtOnce(parameter);
  size_t taken = 0;
  for (int64_t row = 0; row < parameter.shape[0]; row += rows_at_once) {
    const int64_t num_rows = std::min(rows_at_once, parameter.shape[0] - row);
    ASSIGN_OR_RETURN(const absl::Span<const float> values,
                     assembler_->Assemble(parameter, row, num_rows, writer));
    if (values.empty()) continue;
    const absl::Span<float> whole =
        files_[static_cast<size_t>(image)].image.Elements(parameter.name);
    std::copy(values.begin(), values.end(),
              whole.begin() + static_cast<std::ptrdiff_t>(taken));
    taken += values.size();
  }
  return absl::OkStatus();
}

absl::Status Snapshot::TakeState() {
  const FileImage& image = files_[static_cast<size_t>(state_image_)].image;
  absl::Status status;
  environment_.state.ForEachOwned([&](const OwnedRun& run) {
    for (const OptimizerState& state : kOptimizerStates) {
      if (!status.ok()) return;
      status = environment_.state.CopyState(
          run, state.name, image.Elements(NameOf(run, state.name)));
    }
  });
  return status;
}

}  // namespace moe
