#ifndef COMM_TRAFFIC_H_
#define COMM_TRAFFIC_H_

#include <cstdint>

#include "absl/types/span.h"
#include "comm/base/dtype.h"

namespace moe {

// What a collective costs, by arithmetic alone: the bytes that one rank of a
// group sends to the others, to the byte what TrafficCounters count. The
// algorithms are those of mpi_group.cc, which asks here which one to take.

// A rank of a group.
struct GroupPlace {
  int size = 1;
  int rank = 0;
};

// Up to 4 KiB a collective in one stage with more bytes beats one of two stages
// with fewer: MPI sends such messages without asking the receiver.
bool AllReduceHasOneStage(int64_t count, DType dtype);
bool BroadcastHasOneStage(int size, int64_t count, DType dtype);

// Counts are those of ProcessGroup's arguments: of `data`, of a
// reduce-scatter's output, of an all-gather's input. 0 in a group of one.
int64_t AllReduceBytes(GroupPlace place, int64_t count, DType dtype);
int64_t ReduceScatterBytes(GroupPlace place, int64_t output_count, DType dtype);
int64_t AllGatherBytes(GroupPlace place, int64_t input_count, DType dtype);
int64_t BroadcastBytes(GroupPlace place, int root, int64_t count, DType dtype);
int64_t AllToAllVBytes(GroupPlace place, absl::Span<const int64_t> send_counts,
                       DType dtype);

}  // namespace moe

#endif  // COMM_TRAFFIC_H_
