#ifndef TESTS_GUARDED_GROUP_H_
#define TESTS_GUARDED_GROUP_H_

#include "comm/process_groups.h"
#include "tests/guarded_context.h"

namespace moe {

// Gives the groups device groups for memory of the context: they go through
// memory of the host and the groups that are there, and until Wait what a
// collective yields is kGuardedPoison.
void GuardDeviceGroups(ProcessGroups& groups, GuardedContext& context);

}  // namespace moe

#endif  // TESTS_GUARDED_GROUP_H_
