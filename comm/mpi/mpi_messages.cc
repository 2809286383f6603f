#include "comm/mpi/mpi_messages.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/mpi_status.h"

namespace moe {
namespace {

// MPI's type of an element. A BFloat16 is 16 bits to MPI, which adds nothing.
MPI_Datatype MpiType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return MPI_FLOAT;
    case DType::kFloat64:
      return MPI_DOUBLE;
    case DType::kBFloat16:
      return MPI_UINT16_T;
    case DType::kInt32:
      return MPI_INT32_T;
    case DType::kInt64:
      return MPI_INT64_T;
  }
  CHECK(false && "not a DType");
  return MPI_DATATYPE_NULL;
}

}  // namespace

MpiMessages::MpiMessages(MpiChannel* channel)
    : channel_(channel),
      pending_receives_(static_cast<size_t>(channel->size), 0) {}

absl::Status MpiMessages::Receive(MemoryView into, int source, int tag) {
  const int64_t limit = channel_->max_message_elements;
  for (int64_t begin = 0; begin < into.count; begin += limit) {
    const MemoryView piece =
        into.Slice(begin, std::min(limit, into.count - begin));
    MPI_Request request = MPI_REQUEST_NULL;
    RETURN_IF_ERROR(MpiStatus(
        MPI_Irecv(piece.data, static_cast<int>(piece.count),
                  MpiType(piece.dtype), source, tag, channel_->comm, &request),
        "posting a receive"));
    Append(request, {.peer = source,
                     .receives = true,
                     .count = static_cast<int>(piece.count),
                     .dtype = piece.dtype});
    expected_bytes_ += piece.count * SizeOf(piece.dtype);
    ++pending_receives_[static_cast<size_t>(source)];
  }
  return absl::OkStatus();
}

absl::Status MpiMessages::Send(ConstMemoryView from, int destination, int tag) {
  const int64_t limit = channel_->max_message_elements;
  for (int64_t begin = 0; begin < from.count; begin += limit) {
    const ConstMemoryView piece =
        from.Slice(begin, std::min(limit, from.count - begin));
    MPI_Request request = MPI_REQUEST_NULL;
    RETURN_IF_ERROR(
        MpiStatus(MPI_Isend(piece.data, static_cast<int>(piece.count),
                            MpiType(piece.dtype), destination, tag,
                            channel_->comm, &request),
                  "posting a send"));
    Append(request, {.peer = destination,
                     .count = static_cast<int>(piece.count),
                     .dtype = piece.dtype});
  }
  channel_->traffic.sent_bytes += from.count * SizeOf(from.dtype);
  return absl::OkStatus();
}

void MpiMessages::Add(MPI_Request request) { Append(request, {}); }

void MpiMessages::Append(MPI_Request request, Message message) {
  requests_.push_back(request);
  messages_.push_back(message);
  ++num_pending_;
}

absl::Status MpiMessages::Poll() {
  if (AllDone()) return absl::OkStatus();
  completed_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int num_completed = 0;
  const int error =
      MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(),
                   &num_completed, completed_.data(), statuses_.data());
  if (error != MPI_ERR_IN_STATUS)
    RETURN_IF_ERROR(MpiStatus(error, "moving messages"));
  CHECK(num_completed != MPI_UNDEFINED);
  for (int i = 0; i < num_completed; ++i) {
    const auto index = static_cast<size_t>(completed_[static_cast<size_t>(i)]);
    MPI_Status& status = statuses_[static_cast<size_t>(i)];
    // Only then has it been set.
    if (error == MPI_SUCCESS) status.MPI_ERROR = MPI_SUCCESS;
    --num_pending_;
    RETURN_IF_ERROR(Complete(messages_[index], status));
  }
  return absl::OkStatus();
}

absl::Status MpiMessages::Complete(const Message& message,
                                   const MPI_Status& status) {
  int error_class = MPI_SUCCESS;
  MPI_Error_class(status.MPI_ERROR, &error_class);
  if (error_class == MPI_ERR_TRUNCATE) {
    return absl::InternalError(
        absl::StrCat(PeerName(message), " sent more than the ",
                     message.num_bytes(), " bytes expected of it"));
  }
  RETURN_IF_ERROR(MpiStatus(status.MPI_ERROR, message.receives
                                                  ? "receiving a message"
                                                  : "sending a message"));
  if (!message.receives) return absl::OkStatus();
  int count = 0;
  MPI_Get_count(&status, MpiType(message.dtype), &count);
  if (count != message.count) {
    return absl::InternalError(
        absl::StrCat(PeerName(message), " sent ", count * SizeOf(message.dtype),
                     " of the ", message.num_bytes(), " bytes expected of it"));
  }
  --pending_receives_[static_cast<size_t>(message.peer)];
  arrived_bytes_ += message.num_bytes();
  return absl::OkStatus();
}

std::string MpiMessages::PeerName(const Message& message) const {
  if (message.peer < 0) return "MPI";
  return absl::StrCat("rank ",
                      channel_->members[static_cast<size_t>(message.peer)]);
}

void MpiMessages::AddMissing(WaitRecord& wait) const {
  std::vector<bool> is_counted(static_cast<size_t>(channel_->size), false);
  for (size_t i = 0; i < requests_.size(); ++i) {
    const Message& message = messages_[i];
    if (requests_[i] == MPI_REQUEST_NULL || message.peer < 0) continue;
    const int rank = channel_->members[static_cast<size_t>(message.peer)];
    const auto listed_end =
        wait.missing.begin() +
        std::min(wait.num_missing, WaitRecord::kMostMissing);
    const auto listed =
        std::find_if(wait.missing.begin(), listed_end,
                     [&](const MissingRank& m) { return m.rank == rank; });
    if (listed != listed_end) {
      listed->num_bytes += message.num_bytes();
      continue;
    }
    const auto peer = static_cast<size_t>(message.peer);
    if (is_counted[peer]) continue;
    is_counted[peer] = true;
    if (wait.num_missing++ < WaitRecord::kMostMissing)
      *listed_end = {rank, message.num_bytes()};
  }
}

void MpiMessages::Abandon() {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (messages_[i].receives) MPI_Cancel(&requests_[i]);
    MPI_Request_free(&requests_[i]);
  }
  num_pending_ = 0;
}

}  // namespace moe
