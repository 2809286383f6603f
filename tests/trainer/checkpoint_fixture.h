#ifndef TESTS_TRAINER_CHECKPOINT_FIXTURE_H_
#define TESTS_TRAINER_CHECKPOINT_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/mpi/mpi_group.h"
#include "comm/process_groups.h"
#include "tests/mpi_test.h"
#include "trainer/checkpoint/format/state_piece.h"
#include "trainer/checkpoint/store/checkpoint_saver.h"

namespace moe {

inline ModelConfig SmallModel() {
  ModelConfig model;
  model.set_vocab_size(50);
  model.set_hidden_size(12);
  model.set_intermediate_size(20);
  model.set_num_hidden_layers(1);
  model.set_num_attention_heads(4);
  model.set_num_key_value_heads(4);
  model.set_head_dim(2);
  model.set_num_local_experts(16);
  return model;
}

// Element `element` of parameter `index`, exact in float32 and unlike any
// other's.
inline float ValueOf(size_t index, int64_t element) {
  return static_cast<float>(index) + static_cast<float>(element) / 4096;
}

// Master weights that are a function of the global element, and that see
// whether the ranks of an arena ask for the same at the same time.
class FakeState : public TrainingState {
 public:
  FakeState(const ParameterTable& table, const ProcessGroups& groups)
      : table_(table), groups_(groups) {}

  absl::Status Gather(ArenaKind kind, int64_t begin,
                      absl::Span<float> out) override {
    const int64_t size = static_cast<int64_t>(out.size());
    const int64_t k = static_cast<int64_t>(kind);
    std::vector<int64_t> range = {k, begin, size, -k, -begin, -size};
    const absl::Status status = groups_[ReductionAxis(kind)].AllReduce(
        ViewOf(absl::MakeSpan(range)), ReduceOp::kMax);
    if (!status.ok()) return status;
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(range[i], -range[i + 3]);
    largest_ = std::max(largest_, size);
    for (int64_t i = 0; i < size; ++i)
      out[static_cast<size_t>(i)] = ArenaValue(kind, begin + i);
    return absl::OkStatus();
  }

  // Every rank's slices of the moments, each element its own.
  void ForEachOwned(OwnedVisitor visit) const override {
    for (const Parameter& parameter : table_.parameters()) {
      if (!parameter.local ||
          groups_[ReductionAxis(parameter.arena)].rank() > 0)
        continue;
      visit({.parameter = parameter,
             .begin = 0,
             .count = parameter.slice.size()});
    }
  }
  absl::Status CopyState(const OwnedRun& run, absl::string_view state,
                         absl::Span<float> out) const override {
    const auto index =
        static_cast<size_t>(&run.parameter - table_.parameters().data());
    const float base = state == kFirstMoment ? 1000.0f : 2000.0f;
    ForEachRun(run.parameter.slice, run.parameter.num_columns(), run.begin,
               run.count,
               [&](int64_t in_tensor, int64_t in_slice, int64_t count) {
                 for (int64_t e = 0; e < count; ++e)
                   out[static_cast<size_t>(in_slice - run.begin + e)] =
                       base + ValueOf(index, in_tensor + e);
               });
    return absl::OkStatus();
  }
  absl::Status SetState(const OwnedRun&, absl::string_view,
                        absl::Span<const float>) override {
    return absl::UnimplementedError("nobody restores it");
  }

  int64_t largest() const { return largest_; }

 private:
  float ArenaValue(ArenaKind kind, int64_t element) const {
    for (size_t i = 0; i < table_.parameters().size(); ++i) {
      const Parameter& parameter = table_.parameters()[i];
      if (!parameter.local || parameter.arena != kind ||
          element < parameter.offset ||
          element >= parameter.offset + parameter.slice.size())
        continue;
      int64_t in_tensor = -1;
      ForEachRun(parameter.slice, parameter.num_columns(),
                 element - parameter.offset, 1,
                 [&](int64_t begin, int64_t, int64_t) { in_tensor = begin; });
      return ValueOf(i, in_tensor);
    }
    ADD_FAILURE() << "element " << element << " is of no parameter";
    return 0;
  }

  const ParameterTable& table_;
  const ProcessGroups& groups_;
  int64_t largest_ = 0;
};

// One layout of the world, with all that a save needs.
class Layout {
 public:
  explicit Layout(int expert, int tensor = 1)
      : mesh_(*Mesh::Create(TestRuntime().world(), tensor, expert, 16)),
        groups_(*MakeMpiGroups(TestRuntime(), mesh_)),
        table_(SmallModel(), DType::kFloat32, mesh_, TestRuntime().rank()),
        state_(table_, groups_) {}

  absl::StatusOr<std::unique_ptr<CheckpointSaver>> MakeSaver(
      FileSystem& files, const Snapshot::Options& options) {
    return CheckpointSaver::Create(
        files,
        {.table = table_, .mesh = mesh_, .groups = groups_, .state = state_},
        {.keep = 1000}, options);
  }

  absl::StatusOr<std::string> Save(FileSystem& files,
                                   const std::string& directory, int64_t step,
                                   const Snapshot::Options& options) {
    const auto saver = MakeSaver(files, options);
    if (!saver.ok()) return saver.status();
    CheckpointManifest manifest;
    manifest.set_step(step);
    return (*saver)->Save(
        directory, manifest,
        ModelFiles(SmallModel(), RouterConfig(), 32, nullptr, false));
  }

  // This rank's slice.
  absl::Status Gather(const Parameter& parameter, absl::Span<float> out) {
    return state_.Gather(parameter.arena, parameter.offset, out);
  }

  const ParameterTable& table() const { return table_; }
  ProcessGroup& world() const { return groups_.world(); }
  int64_t largest_gather() const { return state_.largest(); }

 private:
  Mesh mesh_;
  ProcessGroups groups_;
  ParameterTable table_;
  FakeState state_;
};

}  // namespace moe

#endif  // TESTS_TRAINER_CHECKPOINT_FIXTURE_H_
