#ifndef COMM_SINGLE_GROUP_H_
#define COMM_SINGLE_GROUP_H_

#include <memory>
#include <string>

#include "comm/process_group.h"

namespace moe {

// A group of one rank: every collective is a copy or nothing.
std::unique_ptr<ProcessGroup> MakeSingleGroup(std::string name);

}  // namespace moe

#endif  // COMM_SINGLE_GROUP_H_
