#ifndef COMM_MPI_MPI_MESSAGES_H_
#define COMM_MPI_MPI_MESSAGES_H_

#include <mpi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "comm/activity.h"
#include "comm/process_group.h"

namespace moe {

// What messages of a group travel through; borrowed by its Works.
struct MpiChannel {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
  std::vector<int> members;  // world ranks, in group order
  int max_tag = 0;
  int64_t max_message_elements = 0;
  TrafficCounters traffic;
};

// Point-to-point messages under way. Memory must stay put until AllDone, or
// until Abandon. Messages between two ranks with the same tag match in the
// order in which they were posted.
class MpiMessages {
 public:
  explicit MpiMessages(MpiChannel* channel);

  // Post a message, in pieces of at most max_message_elements; nothing if it
  // has no elements.
  absl::Status Receive(MemoryView into, int source, int tag);
  absl::Status Send(ConstMemoryView from, int destination, int tag);
  // Takes a request that carries no data of ours.
  void Add(MPI_Request request);

  // Lets MPI move things, and takes note of what is complete. Never blocks.
  // Internal: a rank sent more or fewer elements than were to be received.
  absl::Status Poll();

  bool AllDone() const { return num_pending_ == 0; }
  // Whether all that was posted from `source` is here.
  bool HasReceived(int source) const {
    return pending_receives_[static_cast<size_t>(source)] == 0;
  }
  int64_t arrived_bytes() const { return arrived_bytes_; }
  // Of all that was posted to be received.
  int64_t expected_bytes() const { return expected_bytes_; }
  // Adds the ranks that are still to send, or to take what was sent, and their
  // bytes, to `wait`.
  void AddMissing(WaitRecord& wait) const;

  // Gives up what is pending, after an error.
  void Abandon();

 private:
  // What a request stands for; peer -1 if it carries no data of ours.
  struct Message {
    int peer = -1;  // of the group
    bool receives = false;
    int count = 0;
    DType dtype = DType::kFloat32;

    int64_t num_bytes() const { return count * SizeOf(dtype); }
  };
  void Append(MPI_Request request, Message message);
  absl::Status Complete(const Message& message, const MPI_Status& status);
  // "rank 3", of the world.
  std::string PeerName(const Message& message) const;

  MpiChannel* channel_;
  std::vector<MPI_Request> requests_;
  std::vector<Message> messages_;      // beside requests_
  std::vector<int> pending_receives_;  // by source
  int num_pending_ = 0;
  int64_t arrived_bytes_ = 0;
  int64_t expected_bytes_ = 0;
  // Where MPI_Testsome writes.
  std::vector<int> completed_;
  std::vector<MPI_Status> statuses_;
};

}  // namespace moe

#endif  // COMM_MPI_MPI_MESSAGES_H_
