#include "tests/trainer/small_checkpoint.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/store/checkpoint_finder.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"
#include "trainer/checkpoint/store/state_loader.h"
#include "trainer/checkpoint/store/weights_loader.h"

namespace moe {
namespace {

constexpr int kExperts = 2;

ModelConfig Model() {
  ModelConfig model;
  model.set_vocab_size(10);
  model.set_hidden_size(4);
  model.set_intermediate_size(6);
  model.set_num_hidden_layers(1);
  model.set_num_attention_heads(2);
  model.set_num_key_value_heads(2);
  model.set_head_dim(2);
  model.set_num_local_experts(kExperts);
  return model;
}

// Exact in float32; `kind` tells arenas and moments apart.
float Value(int64_t step, int kind, int64_t element) {
  return static_cast<float>(step * 64 + kind) +
         static_cast<float>(element) / 4096;
}

constexpr int kFirstMomentKind = 40;
constexpr int kSecondMomentKind = 50;

absl::Status Expect(const std::string& what, absl::Span<const float> values,
                    int64_t step, int kind, int64_t begin) {
  for (size_t i = 0; i < values.size(); ++i) {
    const float value = Value(step, kind, begin + static_cast<int64_t>(i));
    if (values[i] == value) continue;
    return absl::DataLossError(absl::StrCat(what, " element ", i, " is ",
                                            values[i], ", must be ", value));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status StateAtStep::Gather(ArenaKind kind, int64_t begin,
                                 absl::Span<float> out) {
  for (size_t i = 0; i < out.size(); ++i)
    out[i] =
        Value(step_, static_cast<int>(kind), begin + static_cast<int64_t>(i));
  return absl::OkStatus();
}

void StateAtStep::ForEachOwned(OwnedVisitor visit) const {
  for (const Parameter& parameter : table_.parameters())
    visit({.parameter = parameter, .begin = 0, .count = parameter.size});
}

absl::Status StateAtStep::CopyState(const OwnedRun& run,
                                    absl::string_view state,
                                    absl::Span<float> out) const {
  const int kind = state == kFirstMoment ? kFirstMomentKind : kSecondMomentKind;
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = Value(step_, kind, run.begin + static_cast<int64_t>(i));
  return absl::OkStatus();
}

SmallCheckpoint::SmallCheckpoint()
    : mesh_(*Mesh::Create(1, 1, 1, kExperts)),
      groups_(ProcessGroups::CreateSingle()),
      table_(Model(), DType::kFloat32, mesh_, /*rank=*/0),
      state_(table_) {}

absl::Status SmallCheckpoint::Save(FileSystem& files,
                                   const std::string& directory, int64_t step,
                                   int keep) {
  state_.set_step(step);
  // Two files of weights.
  ASSIGN_OR_RETURN(
      const std::unique_ptr<CheckpointSaver> saver,
      CheckpointSaver::Create(
          files,
          {.table = table_, .mesh = mesh_, .groups = groups_, .state = state_},
          {.keep = keep},
          {.plan = {.min_file_bytes = 1, .max_file_bytes = 1200}}));
  CheckpointManifest manifest;
  manifest.set_step(step);
  return saver
      ->Save(directory, manifest,
             ModelFiles(Model(), RouterConfig(), 32, nullptr, false))
      .status();
}

absl::StatusOr<int64_t> SmallCheckpoint::Find(const std::string& directory,
                                              std::vector<std::string>* said) {
  ASSIGN_OR_RETURN(
      const std::optional<FoundCheckpoint> found,
      FindNewestCheckpoint(PosixFileSystem(), directory, Damaged::kSetAside,
                           groups_.world(), [&](const std::string& line) {
                             if (said != nullptr) said->push_back(line);
                           }));
  if (!found.has_value())
    return absl::NotFoundError(absl::StrCat(directory, " has no checkpoint"));
  const int64_t step = found->manifest.step();
  RETURN_IF_ERROR(CheckState(found->path, step));
  return step;
}

absl::Status SmallCheckpoint::CheckState(const std::string& path,
                                         int64_t step) const {
  FileSystem& files = PosixFileSystem();
  ASSIGN_OR_RETURN(const CheckpointManifest manifest,
                   ReadManifest(files, path));
  ASSIGN_OR_RETURN(const std::unique_ptr<WeightsLoader> weights,
                   WeightsLoader::Open(files, path));
  RETURN_IF_ERROR(weights->Check(table_));
  ASSIGN_OR_RETURN(const std::unique_ptr<StateLoader> moments,
                   StateLoader::Open(files, path, manifest));
  RETURN_IF_ERROR(moments->Check(table_));
  for (const Parameter& parameter : table_.parameters()) {
    std::vector<float> values(static_cast<size_t>(parameter.size));
    const absl::Span<float> all = absl::MakeSpan(values);
    const std::string& name = parameter.name;
    const int64_t columns = parameter.num_columns();
    RETURN_IF_ERROR(weights->LoadParameter(name, 0, all));
    RETURN_IF_ERROR(Expect(name, values, step,
                           static_cast<int>(parameter.arena),
                           parameter.offset));
    RETURN_IF_ERROR(moments->Load(name, kFirstMoment, columns, 0, all));
    RETURN_IF_ERROR(Expect(name, values, step, kFirstMomentKind, 0));
    RETURN_IF_ERROR(moments->Load(name, kSecondMoment, columns, 0, all));
    RETURN_IF_ERROR(Expect(name, values, step, kSecondMomentKind, 0));
  }
  return absl::OkStatus();
}

}  // namespace moe
