#ifndef COMM_MPI_MESSAGES_H_
#define COMM_MPI_MESSAGES_H_

#include <mpi.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "comm/process_group.h"

namespace moe {

// What messages of a group travel through; borrowed by its Works.
struct MpiChannel {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
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
  absl::Status Poll();

  bool AllDone() const { return num_pending_ == 0; }
  // Whether all that was posted from `source` is here.
  bool HasReceived(int source) const {
    return pending_receives_[static_cast<size_t>(source)] == 0;
  }
  int64_t arrived_bytes() const { return arrived_bytes_; }

  // Gives up what is pending, after an error.
  void Abandon();

 private:
  // What a request stands for; source -1 if it receives nothing.
  struct Message {
    int source = -1;
    int64_t num_bytes = 0;
  };
  void Append(MPI_Request request, Message message);

  MpiChannel* channel_;
  std::vector<MPI_Request> requests_;
  std::vector<Message> messages_;      // beside requests_
  std::vector<int> pending_receives_;  // by source
  int num_pending_ = 0;
  int64_t arrived_bytes_ = 0;
  // Where MPI_Testsome writes.
  std::vector<int> completed_;
  std::vector<MPI_Status> statuses_;
};

}  // namespace moe

#endif  // COMM_MPI_MESSAGES_H_
