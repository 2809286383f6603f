#include "comm/mpi_messages.h"

#include <algorithm>

#include "comm/check.h"
#include "comm/mpi_status.h"
#include "comm/status_macros.h"

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
    Append(request, {source, piece.count * SizeOf(piece.dtype)});
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
    Append(request, {});
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
  if (error == MPI_ERR_IN_STATUS) {
    for (int i = 0; i < num_completed; ++i)
      RETURN_IF_ERROR(MpiStatus(statuses_[static_cast<size_t>(i)].MPI_ERROR,
                                "moving a message"));
  }
  RETURN_IF_ERROR(MpiStatus(error, "moving messages"));
  CHECK(num_completed != MPI_UNDEFINED);
  for (int i = 0; i < num_completed; ++i) {
    const auto index = static_cast<size_t>(completed_[static_cast<size_t>(i)]);
    const Message& message = messages_[index];
    --num_pending_;
    if (message.source < 0) continue;
    --pending_receives_[static_cast<size_t>(message.source)];
    arrived_bytes_ += message.num_bytes;
  }
  return absl::OkStatus();
}

void MpiMessages::Abandon() {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (messages_[i].source >= 0) MPI_Cancel(&requests_[i]);
    MPI_Request_free(&requests_[i]);
  }
  num_pending_ = 0;
}

}  // namespace moe
