#ifndef LAUNCH_COMMAND_CHECKPOINT_TEXT_H_
#define LAUNCH_COMMAND_CHECKPOINT_TEXT_H_

#include <string>
#include <vector>

#include "trainer/checkpoint/tools/checkpoint_audit.h"
#include "trainer/checkpoint/tools/checkpoint_diff.h"
#include "trainer/checkpoint/tools/checkpoint_list.h"

namespace moe {

// What moe-checkpoint prints: a text for people, or JSON, an object a line, in
// which a number that is not finite is null.

std::string ListText(const std::vector<ListedCheckpoint>& all);
std::string ListJson(const std::vector<ListedCheckpoint>& all);

// Of one checkpoint.
std::string AuditText(const CheckpointAudit& audit);
std::string AuditJson(const CheckpointAudit& audit);

// The text leaves out tensors that are equal and counts them.
std::string DiffText(const std::vector<TensorDifference>& differences);
std::string DiffJson(const std::vector<TensorDifference>& differences);

}  // namespace moe

#endif  // LAUNCH_COMMAND_CHECKPOINT_TEXT_H_
