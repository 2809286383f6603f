#include "comm/process_groups.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/status_macros.h"
#include "comm/single_group.h"

namespace moe {
namespace {

// A status as it travels: code, bytes of the message, the message.
struct StatusMessage {
  static constexpr int32_t kMaxBytes = 4096;

  int32_t code = 0;
  int32_t num_bytes = 0;
  char text[kMaxBytes] = {};
};
static_assert(sizeof(StatusMessage) % sizeof(int32_t) == 0);

StatusMessage Pack(const absl::Status& status) {
  StatusMessage message;
  message.code = static_cast<int32_t>(status.raw_code());
  message.num_bytes = static_cast<int32_t>(
      status.message().copy(message.text, StatusMessage::kMaxBytes));
  return message;
}

// Marks a status that every rank of a group has.
constexpr absl::string_view kAgreedUrl = "moe/agreed";

// One small sum over the group, whose result is known.
absl::Status Exercise(ProcessGroup& group) {
  const int64_t size = group.size();
  int64_t sum = group.rank() + 1;
  RETURN_IF_ERROR(
      Annotate(group.AllReduce(ViewOf(absl::MakeSpan(&sum, 1)), ReduceOp::kSum),
               absl::StrCat("first message in group ", group.name())));
  const int64_t expected = size * (size + 1) / 2;
  if (sum == expected) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(
      "first message in group ", group.name(), ": the sum of the numbers of ",
      size, " ranks came as ", sum, ", must be ", expected));
}

}  // namespace

absl::StatusOr<ProcessGroups> ProcessGroups::Create(const Mesh& mesh, int rank,
                                                    Maker make) {
  ProcessGroups groups;
  for (Axis axis : kAllAxes) {
    const auto index = static_cast<size_t>(axis);
    const std::vector<int> members = mesh.Members(axis, rank);
    if (members.size() == 1) {
      groups.groups_[index] = MakeSingleGroup(Name(axis));
    } else {
      ASSIGN_OR_RETURN(groups.groups_[index], make(axis, members));
    }
    RETURN_IF_ERROR(Exercise(groups[axis]));
  }
  return groups;
}

ProcessGroups ProcessGroups::CreateSingle() {
  ProcessGroups groups;
  for (Axis axis : kAllAxes)
    groups.groups_[static_cast<size_t>(axis)] = MakeSingleGroup(Name(axis));
  return groups;
}

absl::Status AgreeOnStatus(const absl::Status& mine, ProcessGroup& group) {
  if (group.size() == 1) return MarkAgreed(mine);
  // The largest is of the lowest rank with an error; 0: all are well.
  int32_t ranks_from_end = mine.ok() ? 0 : group.size() - group.rank();
  RETURN_IF_ERROR(group.AllReduce(ViewOf(absl::MakeSpan(&ranks_from_end, 1)),
                                  ReduceOp::kMax));
  if (ranks_from_end == 0) return absl::OkStatus();

  const int failed_rank = group.size() - ranks_from_end;
  StatusMessage message = Pack(mine);
  const MemoryView view = {&message, sizeof(message) / sizeof(int32_t),
                           DType::kInt32};
  RETURN_IF_ERROR(group.Broadcast(view, failed_rank));
  const absl::Status agreed(
      static_cast<absl::StatusCode>(message.code),
      absl::string_view(message.text, static_cast<size_t>(message.num_bytes)));
  if (failed_rank == 0) return MarkAgreed(agreed);
  return MarkAgreed(Annotate(agreed, absl::StrCat("rank ", failed_rank)));
}

absl::Status MarkAgreed(absl::Status status) {
  status.SetPayload(kAgreedUrl, absl::Cord());
  return status;
}

bool IsAgreed(const absl::Status& status) {
  return status.GetPayload(kAgreedUrl).has_value();
}

}  // namespace moe
