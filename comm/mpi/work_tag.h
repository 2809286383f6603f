#ifndef COMM_MPI_WORK_TAG_H_
#define COMM_MPI_WORK_TAG_H_

#include <cstdint>

#include "comm/activity.h"

namespace moe {

// What a collective is: ranks that come to the same one of a group agree in its
// operation, step, layer and phase. Different ones have the same signature by a
// chance of one in 2^32.
uint32_t Signature(const char* operation, const Position& position);

// The first of a collective's two tags, at most `max_tag` - 1 (at least 32766,
// which MPI promises): of its sequence in the group and, as far as the tags
// reach, of its signature. So the messages of ranks that are in different
// collectives do not meet: they wait, and the watchdog tells why.
//
// Two collectives of the same tags would have to be 16384 of them apart and
// both open; even then messages match in order.
int WorkTag(int64_t sequence, uint32_t signature, int max_tag);

}  // namespace moe

#endif  // COMM_MPI_WORK_TAG_H_
