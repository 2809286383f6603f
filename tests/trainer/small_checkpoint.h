#ifndef TESTS_TRAINER_SMALL_CHECKPOINT_H_
#define TESTS_TRAINER_SMALL_CHECKPOINT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/process_groups.h"
#include "data/storage/file_system.h"
#include "moe/parameters/parameter_table.h"
#include "trainer/checkpoint/store/training_state.h"

namespace moe {

// The state of one rank as if trained up to `step`: of two steps no element is
// the same.
class StateAtStep : public TrainingState {
 public:
  explicit StateAtStep(const ParameterTable& table) : table_(table) {}
  void set_step(int64_t step) { step_ = step; }

  absl::Status Gather(ArenaKind kind, int64_t begin,
                      absl::Span<float> out) override;
  void ForEachOwned(OwnedVisitor visit) const override;
  absl::Status CopyState(const OwnedRun& run, absl::string_view state,
                         absl::Span<float> out) const override;
  absl::Status SetState(const OwnedRun&, absl::string_view,
                        absl::Span<const float>) override {
    return absl::UnimplementedError("nobody restores it");
  }

 private:
  const ParameterTable& table_;
  int64_t step_ = 0;
};

// Saves and finds checkpoints of a few kilobytes without MPI, and knows what
// must be in them.
class SmallCheckpoint {
 public:
  SmallCheckpoint();

  // Saves `step` and keeps `keep` of what stands in `directory`.
  absl::Status Save(FileSystem& files, const std::string& directory,
                    int64_t step, int keep);

  // The step that a start would go on from, its whole state looked at: an error
  // if there is none, or if an element is not of that step. `said` gets what
  // the search says.
  absl::StatusOr<int64_t> Find(const std::string& directory,
                               std::vector<std::string>* said = nullptr);

  // OK if every element in `path` is that of `step`.
  absl::Status CheckState(const std::string& path, int64_t step) const;

 private:
  const Mesh mesh_;
  const ProcessGroups groups_;
  const ParameterTable table_;
  StateAtStep state_;
};

}  // namespace moe

#endif  // TESTS_TRAINER_SMALL_CHECKPOINT_H_
