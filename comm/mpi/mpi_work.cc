#include "comm/mpi/mpi_work.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/await.h"
#include "comm/mpi/work_tag.h"
#include "comm/trace.h"

namespace moe {

MpiWork::MpiWork(MpiShared* shared, const char* operation)
    : shared_(shared),
      operation_(operation),
      position_(CurrentPosition()),
      sequence_(++shared->num_works),
      signature_(Signature(operation, position_)),
      started_(ClockNanos()),
      tag_(WorkTag(sequence_, signature_, shared->channel.max_tag)),
      messages_(&shared->channel) {}

MpiWork::~MpiWork() {
  // The rank that another Work has waited for in vain would be waited for once
  // more by each that is open, hours in all, before the error reaches main.
  if (!complete_ && shared_->is_broken)
    Complete(absl::UnavailableError("its group is broken"));
  // Its memory must not be written to after this. An error was for Wait to
  // say; nobody has asked.
  Wait().IgnoreError();
}

bool MpiWork::Test() {
  // Backwards: a Work that starts its stage 2 leaves the list.
  std::vector<MpiWork*>& works = shared_->progress.works_before_stage2;
  for (size_t i = works.size(); i > 0; --i)
    if (works[i - 1] != this) works[i - 1]->Step();
  return Step();
}

absl::Status MpiWork::Wait() {
  if (complete_) return status_;
  const absl::Status awaited = Await(
      shared_->progress.await_options, [this] { return Test(); },
      [this] { return Describe(); });
  if (!complete_) Complete(awaited);  // it timed out
  return status_;
}

absl::StatusOr<void*> MpiWork::TakeStaging(int64_t num_bytes) {
  CHECK(staging_.num_bytes() == 0);
  ASSIGN_OR_RETURN(staging_, shared_->pool.Take(num_bytes));
  return staging_.data();
}

void MpiWork::ReduceInStage1(OrderedReduction::Arguments arguments) {
  reduction_.emplace(std::move(arguments));
}

void MpiWork::GatherInStage2(MemoryView data, int full_rank) {
  stage2_ = Gather{data, full_rank};
  shared_->progress.works_before_stage2.push_back(this);
}

absl::Status MpiWork::PostGather(ConstMemoryView own, MemoryView data,
                                 int full_rank, int tag) {
  const int rank = shared_->channel.rank;
  const int size = shared_->channel.size;
  const Pieces pieces = {data.count, size};
  for (int step = 1; step < size; ++step) {
    const int source = (rank + step) % size;
    if (rank != full_rank)
      RETURN_IF_ERROR(messages_.Receive(pieces.Of(data, source), source, tag));
  }
  for (int step = 1; step < size; ++step) {
    const int destination = (rank + size - step) % size;
    if (destination != full_rank)
      RETURN_IF_ERROR(messages_.Send(own, destination, tag));
  }
  return absl::OkStatus();
}

bool MpiWork::Step() {
  if (complete_) return true;
  const absl::Status status = StepOrError();
  if (!status.ok()) Fail(status).IgnoreError();
  return complete_;
}

absl::Status MpiWork::StepOrError() {
  RETURN_IF_ERROR(messages_.Poll());
  const int rank = shared_->channel.rank;
  while (
      reduction_ && !reduction_->done() &&
      (reduction_->next() == rank || messages_.HasReceived(reduction_->next())))
    reduction_->Add();
  // A piece that is still being sent must not be received into: stage 2 waits
  // for stage 1's sends, too.
  if (!messages_.AllDone()) return absl::OkStatus();
  if (!stage2_) {
    Complete(absl::OkStatus());
    return absl::OkStatus();
  }
  const Gather gather = *stage2_;
  stage2_.reset();
  std::erase(shared_->progress.works_before_stage2, this);
  const Pieces pieces = {gather.data.count, shared_->channel.size};
  return PostGather(pieces.Of(gather.data, rank), gather.data, gather.full_rank,
                    tag_ + 1);
}

absl::Status MpiWork::Fail(const absl::Status& error) {
  Complete(Annotate(
      error, absl::StrCat(operation_, " ", sequence_, " in group ",
                          shared_->name, " (", ToString(position_), ")")));
  return status_;
}

WaitRecord MpiWork::Describe() const {
  WaitRecord wait;
  wait.operation = operation_;
  wait.group = shared_->name;
  wait.first_rank = shared_->channel.members.front();
  wait.sequence = sequence_;
  wait.signature = signature_;
  wait.position = position_;
  wait.expected_bytes = messages_.expected_bytes();
  wait.arrived_bytes = messages_.arrived_bytes();
  messages_.AddMissing(wait);
  return wait;
}

void MpiWork::Complete(absl::Status status) {
  complete_ = true;
  status_ = std::move(status);
  if (Tracing()) {
    TraceEvent event = {.kind = TraceEvent::Kind::kWork,
                        .name = operation_,
                        .position = position_,
                        .begin = started_,
                        .end = ClockNanos(),
                        .bytes = arrived_bytes()};
    SetGroup(event, shared_->name);
    AddTraceEvent(event);
  }
  if (stage2_) std::erase(shared_->progress.works_before_stage2, this);
  if (status_.ok()) {
    shared_->pool.Return(std::move(staging_));
  } else {
    shared_->is_broken = true;
    messages_.Abandon();
    shared_->pool.Retire(std::move(staging_));
  }
}

}  // namespace moe
