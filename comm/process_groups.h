#ifndef COMM_PROCESS_GROUPS_H_
#define COMM_PROCESS_GROUPS_H_

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "comm/mesh.h"
#include "comm/process_group.h"

namespace moe {

// This rank's group on every axis of a mesh, made in one fixed order and each
// exercised once, so that a broken fabric fails in the first second.
class ProcessGroups {
 public:
  // Makes the group of an axis over the ranks `members`, of which this rank is
  // one; asked for in the order of kAllAxes, for groups of two ranks or more.
  using Maker = absl::FunctionRef<absl::StatusOr<std::unique_ptr<ProcessGroup>>(
      Axis axis, const std::vector<int>& members)>;
  // Collective over the world, in which this rank is `rank`. A group of one
  // rank is made here, without `make`.
  static absl::StatusOr<ProcessGroups> Create(const Mesh& mesh, int rank,
                                              Maker make);
  // All groups of the one-rank mesh, without MPI.
  static ProcessGroups CreateSingle();

  ProcessGroup& operator[](Axis axis) const {
    return *groups_[static_cast<size_t>(axis)];
  }
  ProcessGroup& world() const { return (*this)[Axis::kWorld]; }

  // The same ranks, for collectives on memory of the device; the groups above
  // are for memory of the host. On a CPU it is one object for both.
  ProcessGroup& device(Axis axis) const {
    const auto& group = device_groups_[static_cast<size_t>(axis)];
    return group != nullptr ? *group : (*this)[axis];
  }

  // Puts `group` in an axis's place, and returns what was there: for plans, and
  // for tests that stand between. The first replaces device(axis) too where
  // that is the same.
  std::unique_ptr<ProcessGroup> Replace(Axis axis,
                                        std::unique_ptr<ProcessGroup> group) {
    std::swap(groups_[static_cast<size_t>(axis)], group);
    return group;
  }
  std::unique_ptr<ProcessGroup> ReplaceDevice(
      Axis axis, std::unique_ptr<ProcessGroup> group) {
    std::swap(device_groups_[static_cast<size_t>(axis)], group);
    return group;
  }

 private:
  ProcessGroups() = default;
  std::array<std::unique_ptr<ProcessGroup>, 5> groups_;
  // Null: the device's memory is the host's. A device group may go through the
  // host's group, so that it ends first.
  std::array<std::unique_ptr<ProcessGroup>, 5> device_groups_;
};

// OK if every rank passes OK. Else the error of the lowest rank that has one,
// the same on all ranks (code and message, prefixed "rank R: " when R > 0 and
// the world is larger than 1).
absl::Status AgreeOnStatus(const absl::Status& mine, ProcessGroup& group);

// Whether an error came out of AgreeOnStatus, with or without context added:
// all ranks know of it and can end in good order. Any other error is of this
// rank alone, and the others may be waiting for it (MpiRuntime::Abort).
bool IsAgreed(const absl::Status& status);
// For errors that all ranks came to know of otherwise, the same on each.
absl::Status MarkAgreed(absl::Status status);

}  // namespace moe

#endif  // COMM_PROCESS_GROUPS_H_
