// The collectives are ours, made of non-blocking messages between any two
// ranks, because MPI's own add in an order that it picks.
//
//   all-reduce      small: everybody's data to everybody, added by each.
//                   Else: piece p of everybody to rank p, which adds
//                   them; then all pieces to everybody.
//   reduce-scatter  the first half of that, all-gather the second half.
//   broadcast       small: from the root to each. Else piece p from the root
//                   to rank p; then all pieces to everybody but the root.
//   all-to-all-v    each rank's rows to each.
//
// What each sends, in bytes, is in traffic.h.
//
// Each collective takes two tags of its own (work_tag.h), so that any number
// may be open, and ranks that are in different ones do not take each other's
// messages.

#include "comm/mpi/mpi_group.h"

#include <mpi.h>

#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "comm/base/check.h"
#include "comm/base/status_macros.h"
#include "comm/mpi/await.h"
#include "comm/mpi/mpi_messages.h"
#include "comm/mpi/mpi_status.h"
#include "comm/mpi/mpi_work.h"
#include "comm/traffic.h"

namespace moe {
namespace {

int64_t NumBytes(ConstMemoryView view) {
  return view.count * SizeOf(view.dtype);
}

void CopyUnlessSame(ConstMemoryView from, MemoryView to) {
  CHECK(from.count == to.count && from.dtype == to.dtype);
  if (from.data != to.data && from.count > 0)
    std::memcpy(to.data, from.data, static_cast<size_t>(NumBytes(from)));
}

class MpiGroup : public ProcessGroup {
 public:
  MpiGroup(MpiProgress& progress, std::string name, const MpiChannel& channel)
      : shared_{.progress = progress,
                .name = std::move(name),
                .channel = channel} {}

  ~MpiGroup() override {
    int is_finalized = 0;
    MPI_Finalized(&is_finalized);
    // Late messages to a communicator that is gone crash Open MPI.
    if (is_finalized || shared_.is_broken) return;
    const BlockingCall call("release of the communicator", shared_.name,
                            shared_.channel.members.front());
    MPI_Comm_free(&shared_.channel.comm);
  }

  int rank() const override { return shared_.channel.rank; }
  int size() const override { return shared_.channel.size; }
  const std::string& name() const override { return shared_.name; }
  TrafficCounters traffic() const override { return shared_.channel.traffic; }

  absl::StatusOr<std::unique_ptr<Work>> StartAllReduce(MemoryView data,
                                                       ReduceOp op) override;
  absl::StatusOr<std::unique_ptr<Work>> StartReduceScatter(
      ConstMemoryView input, MemoryView output) override;
  absl::StatusOr<std::unique_ptr<Work>> StartAllGather(
      ConstMemoryView input, MemoryView output) override;
  absl::StatusOr<std::unique_ptr<Work>> StartBroadcast(MemoryView data,
                                                       int root) override;
  absl::StatusOr<std::unique_ptr<Work>> StartAllToAllV(
      ConstMemoryView send, absl::Span<const int64_t> send_counts,
      MemoryView receive, absl::Span<const int64_t> receive_counts) override;
  absl::StatusOr<std::unique_ptr<Work>> StartBarrier() override;

 private:
  // Neighbours first, so that not all ranks send to rank 0 at once.
  int Source(int step) const { return (rank() + step) % size(); }
  int Destination(int step) const { return (rank() + size() - step) % size(); }

  std::unique_ptr<MpiWork> NewWork(const char* operation);
  // The work, as it is after its set-up.
  static absl::StatusOr<std::unique_ptr<Work>> Started(
      std::unique_ptr<MpiWork> work, const absl::Status& set_up);

  absl::Status ReduceWhole(MpiWork& work, MemoryView data, ReduceOp op);
  absl::Status ReducePieces(MpiWork& work, ConstMemoryView input,
                            MemoryView output, ReduceOp op);
  absl::Status SendWhole(MpiWork& work, MemoryView data, int root);
  absl::Status ScatterPieces(MpiWork& work, MemoryView data, int root);
  absl::Status Exchange(MpiWork& work, ConstMemoryView send,
                        absl::Span<const int64_t> send_counts,
                        MemoryView receive,
                        absl::Span<const int64_t> receive_counts);

  MpiShared shared_;
};

std::unique_ptr<MpiWork> MpiGroup::NewWork(const char* operation) {
  ++shared_.channel.traffic.calls;
  return std::make_unique<MpiWork>(&shared_, operation);
}

absl::StatusOr<std::unique_ptr<Work>> MpiGroup::Started(
    std::unique_ptr<MpiWork> work, const absl::Status& set_up) {
  if (!set_up.ok()) return work->Fail(set_up);
  return work;
}

absl::StatusOr<std::unique_ptr<Work>> MpiGroup::StartAllReduce(MemoryView data,
                                                               ReduceOp op) {
  std::unique_ptr<MpiWork> work = NewWork("all-reduce");
  if (size() == 1 || data.count == 0) return work;
  if (AllReduceHasOneStage(data.count, data.dtype)) {
    const absl::Status set_up = ReduceWhole(*work, data, op);
    return Started(std::move(work), set_up);
  }
  const Pieces pieces = {data.count, size()};
  const absl::Status set_up =
      ReducePieces(*work, data, pieces.Of(data, rank()), op);
  work->GatherInStage2(data, /*full_rank=*/-1);
  return Started(std::move(work), set_up);
}

absl::Status MpiGroup::ReduceWhole(MpiWork& work, MemoryView data,
                                   ReduceOp op) {
  // Everybody's data in order, then float32 partial sums for bfloat16. This
  // rank's is sent from there: `data` may be overwritten before it has left.
  const int64_t partial_bytes =
      data.dtype == DType::kBFloat16 ? data.count * SizeOf(DType::kFloat32) : 0;
  // float32 after an odd number of bfloat16 would not be aligned: it is first.
  ASSIGN_OR_RETURN(void* const staging,
                   work.TakeStaging(partial_bytes + size() * NumBytes(data)));
  const MemoryView all = {static_cast<char*>(staging) + partial_bytes,
                          size() * data.count, data.dtype};
  const auto slot = [&](int source) {
    return all.Slice(source * data.count, data.count);
  };

  OrderedReduction::Arguments reduction;
  reduction.op = op;
  for (int source = 0; source < size(); ++source)
    reduction.contributions.push_back(slot(source).data);
  reduction.own_index = rank();
  reduction.output = data;
  reduction.partial = staging;
  CopyUnlessSame(data, slot(rank()));
  for (int step = 1; step < size(); ++step)
    RETURN_IF_ERROR(
        work.messages().Receive(slot(Source(step)), Source(step), work.tag()));
  for (int step = 1; step < size(); ++step)
    RETURN_IF_ERROR(
        work.messages().Send(slot(rank()), Destination(step), work.tag()));
  work.ReduceInStage1(std::move(reduction));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Work>> MpiGroup::StartReduceScatter(
    ConstMemoryView input, MemoryView output) {
  CHECK(input.count == size() * output.count && input.dtype == output.dtype);
  std::unique_ptr<MpiWork> work = NewWork("reduce-scatter");
  const absl::Status set_up =
      ReducePieces(*work, input, output, ReduceOp::kSum);
  return Started(std::move(work), set_up);
}

// output = the sum over ranks of their piece rank() of `input`.
absl::Status MpiGroup::ReducePieces(MpiWork& work, ConstMemoryView input,
                                    MemoryView output, ReduceOp op) {
  const Pieces pieces = {input.count, size()};
  // Float32 partial sums for bfloat16, then the others' contributions in order.
  // Two contributions are added at once: nothing is partial.
  const bool has_partial = output.dtype == DType::kBFloat16 && size() > 2;
  const int64_t partial_bytes =
      has_partial ? output.count * SizeOf(DType::kFloat32) : 0;
  ASSIGN_OR_RETURN(
      void* const staging,
      work.TakeStaging(partial_bytes + (size() - 1) * NumBytes(output)));
  const MemoryView others = {static_cast<char*>(staging) + partial_bytes,
                             (size() - 1) * output.count, output.dtype};

  OrderedReduction::Arguments reduction;
  reduction.op = op;
  reduction.own_index = rank();
  reduction.output = output;
  reduction.partial = staging;
  for (int source = 0; source < size(); ++source) {
    const int index = source < rank() ? source : source - 1;
    reduction.contributions.push_back(
        source == rank()
            ? pieces.Of(input, source).data
            : others.Slice(index * output.count, output.count).data);
  }
  for (int step = 1; step < size(); ++step) {
    const int source = Source(step);
    const int index = source < rank() ? source : source - 1;
    RETURN_IF_ERROR(work.messages().Receive(
        others.Slice(index * output.count, output.count), source, work.tag()));
  }
  for (int step = 1; step < size(); ++step)
    RETURN_IF_ERROR(work.messages().Send(pieces.Of(input, Destination(step)),
                                         Destination(step), work.tag()));
  work.ReduceInStage1(std::move(reduction));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Work>> MpiGroup::StartAllGather(
    ConstMemoryView input, MemoryView output) {
  CHECK(output.count == size() * input.count && input.dtype == output.dtype);
  std::unique_ptr<MpiWork> work = NewWork("all-gather");
  CopyUnlessSame(input, output.Slice(rank() * input.count, input.count));
  const absl::Status set_up =
      work->PostGather(input, output, /*full_rank=*/-1, work->tag());
  return Started(std::move(work), set_up);
}

absl::StatusOr<std::unique_ptr<Work>> MpiGroup::StartBroadcast(MemoryView data,
                                                               int root) {
  CHECK(root >= 0 && root < size());
  std::unique_ptr<MpiWork> work = NewWork("broadcast");
  if (BroadcastHasOneStage(size(), data.count, data.dtype)) {
    const absl::Status set_up = SendWhole(*work, data, root);
    return Started(std::move(work), set_up);
  }
  const absl::Status set_up = ScatterPieces(*work, data, root);
  work->GatherInStage2(data, root);
  return Started(std::move(work), set_up);
}

absl::Status MpiGroup::SendWhole(MpiWork& work, MemoryView data, int root) {
  if (rank() != root) return work.messages().Receive(data, root, work.tag());
  for (int step = 1; step < size(); ++step)
    RETURN_IF_ERROR(work.messages().Send(data, Destination(step), work.tag()));
  return absl::OkStatus();
}

absl::Status MpiGroup::ScatterPieces(MpiWork& work, MemoryView data, int root) {
  const Pieces pieces = {data.count, size()};
  if (rank() != root)
    return work.messages().Receive(pieces.Of(data, rank()), root, work.tag());
  for (int step = 1; step < size(); ++step)
    RETURN_IF_ERROR(work.messages().Send(pieces.Of(data, Destination(step)),
                                         Destination(step), work.tag()));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Work>> MpiGroup::StartAllToAllV(
    ConstMemoryView send, absl::Span<const int64_t> send_counts,
    MemoryView receive, absl::Span<const int64_t> receive_counts) {
  CHECK(send_counts.size() == static_cast<size_t>(size()));
  CHECK(receive_counts.size() == static_cast<size_t>(size()));
  CHECK(send.dtype == receive.dtype);
  std::unique_ptr<MpiWork> work = NewWork("all-to-all-v");
  const absl::Status set_up =
      Exchange(*work, send, send_counts, receive, receive_counts);
  return Started(std::move(work), set_up);
}

absl::Status MpiGroup::Exchange(MpiWork& work, ConstMemoryView send,
                                absl::Span<const int64_t> send_counts,
                                MemoryView receive,
                                absl::Span<const int64_t> receive_counts) {
  ConstMemoryView own_send;
  MemoryView own_receive;
  int64_t begin = 0;
  for (int source = 0; source < size(); ++source) {
    const int64_t count = receive_counts[static_cast<size_t>(source)];
    CHECK(count >= 0 && begin + count <= receive.count);
    const MemoryView rows = receive.Slice(begin, count);
    begin += count;
    if (source == rank())
      own_receive = rows;
    else
      RETURN_IF_ERROR(work.messages().Receive(rows, source, work.tag()));
  }
  begin = 0;
  for (int destination = 0; destination < size(); ++destination) {
    const int64_t count = send_counts[static_cast<size_t>(destination)];
    CHECK(count >= 0 && begin + count <= send.count);
    const ConstMemoryView rows = send.Slice(begin, count);
    begin += count;
    if (destination == rank())
      own_send = rows;
    else
      RETURN_IF_ERROR(work.messages().Send(rows, destination, work.tag()));
  }
  CopyUnlessSame(own_send, own_receive);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Work>> MpiGroup::StartBarrier() {
  std::unique_ptr<MpiWork> work = NewWork("barrier");
  MPI_Request request = MPI_REQUEST_NULL;
  const absl::Status set_up = MpiStatus(
      MPI_Ibarrier(shared_.channel.comm, &request), "posting a barrier");
  if (set_up.ok()) work->messages().Add(request);
  return Started(std::move(work), set_up);
}

// A communicator of `members`, which returns errors. Collective over them.
absl::StatusOr<MPI_Comm> MakeCommunicator(const std::vector<int>& members,
                                          int tag) {
  MPI_Group world = MPI_GROUP_NULL;
  MPI_Group group = MPI_GROUP_NULL;
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  int error = MPI_Group_incl(world, static_cast<int>(members.size()),
                             members.data(), &group);
  MPI_Group_free(&world);
  RETURN_IF_ERROR(MpiStatus(error, "choosing the ranks"));
  error = MPI_Comm_create_group(MPI_COMM_WORLD, group, tag, &comm);
  MPI_Group_free(&group);
  RETURN_IF_ERROR(MpiStatus(error, "creating a communicator"));
  RETURN_IF_ERROR(MpiStatus(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN),
                            "setting its error handler"));
  return comm;
}

// The largest tag that this MPI has; the standard promises 32767.
int MaxTag() {
  int* largest = nullptr;
  int found = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &largest, &found);
  return found ? *largest : 32767;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProcessGroup>> MakeMpiGroup(
    MpiProgress& progress, std::string name, const std::vector<int>& members,
    int tag, const MpiGroupOptions& options) {
  CHECK(options.max_message_elements > 0 &&
        options.max_message_elements <= std::numeric_limits<int>::max());
  const BlockingCall call("creation of the communicator", name,
                          members.front());
  absl::StatusOr<MPI_Comm> comm = MakeCommunicator(members, tag);
  RETURN_IF_ERROR(Annotate(comm.status(), absl::StrCat("group ", name)));
  MpiChannel channel;
  channel.comm = *comm;
  channel.max_message_elements = options.max_message_elements;
  MPI_Comm_rank(channel.comm, &channel.rank);
  MPI_Comm_size(channel.comm, &channel.size);
  channel.members = members;
  channel.max_tag = MaxTag();
  return std::make_unique<MpiGroup>(progress, std::move(name), channel);
}

absl::StatusOr<ProcessGroups> MakeMpiGroups(const MpiRuntime& runtime,
                                            const Mesh& mesh) {
  CHECK(mesh.world() == runtime.world());
  return ProcessGroups::Create(
      mesh, runtime.rank(), [&](Axis axis, const std::vector<int>& members) {
        return MakeMpiGroup(runtime.progress(), Name(axis), members,
                            static_cast<int>(axis));
      });
}

}  // namespace moe
