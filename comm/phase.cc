#include "comm/phase.h"

#include <iterator>

namespace moe {
namespace {

struct PhaseEntry {
  // All four or it does not compile: no phase is in a group unasked.
  constexpr PhaseEntry(Phase p, const char* n, PhaseGroup g, uint32_t w)
      : phase(p), name(n), group(g), wire_number(w) {}

  Phase phase;
  const char* name;
  PhaseGroup group;
  uint32_t wire_number;  // its own for ever: a new phase takes a new one
};

// One entry a phase, in the order of the enum.
constexpr PhaseEntry kPhases[] = {
    {Phase::kStart, "start", PhaseGroup::kOther, 1},
    {Phase::kData, "data", PhaseGroup::kData, 2},
    {Phase::kEmbedding, "embedding", PhaseGroup::kEmbedding, 3},
    {Phase::kEmbeddingBackward, "embedding backward", PhaseGroup::kEmbedding,
     4},
    {Phase::kBlock, "block", PhaseGroup::kOther, 5},
    {Phase::kBlockBackward, "block backward", PhaseGroup::kOther, 6},
    {Phase::kAttention, "attention", PhaseGroup::kAttention, 7},
    {Phase::kAttentionBackward, "attention backward", PhaseGroup::kAttention,
     8},
    {Phase::kRouter, "router", PhaseGroup::kRouter, 9},
    {Phase::kRouterBackward, "router backward", PhaseGroup::kRouter, 10},
    {Phase::kRowCounts, "row counts", PhaseGroup::kDispatch, 11},
    {Phase::kDispatch, "dispatch", PhaseGroup::kDispatch, 12},
    {Phase::kDispatchBackward, "dispatch backward", PhaseGroup::kDispatch, 13},
    {Phase::kDispatchWeights, "dispatch weights", PhaseGroup::kDispatch, 14},
    {Phase::kDispatchWeightsBackward, "dispatch weights backward",
     PhaseGroup::kDispatch, 15},
    {Phase::kExperts, "experts", PhaseGroup::kExperts, 16},
    {Phase::kExpertsBackward, "experts backward", PhaseGroup::kExperts, 17},
    {Phase::kCombine, "combine", PhaseGroup::kCombine, 18},
    {Phase::kCombineBackward, "combine backward", PhaseGroup::kCombine, 19},
    {Phase::kAuxiliaryLosses, "auxiliary losses", PhaseGroup::kAuxiliaryLosses,
     20},
    {Phase::kHead, "head", PhaseGroup::kHead, 21},
    {Phase::kSumOfGradients, "sum of gradients", PhaseGroup::kSumOfGradients,
     22},
    {Phase::kSumOfLosses, "sum of losses", PhaseGroup::kOther, 23},
    {Phase::kOptimizer, "optimizer", PhaseGroup::kOptimizer, 24},
    {Phase::kNonFiniteSearch, "search for what is not finite",
     PhaseGroup::kOther, 25},
    {Phase::kMetrics, "metrics", PhaseGroup::kOther, 26},
    {Phase::kCheckpoint, "checkpoint", PhaseGroup::kCheckpoint, 27},
    {Phase::kValidation, "validation", PhaseGroup::kValidation, 28},
    {Phase::kBench, "bench", PhaseGroup::kOther, 29},
    {Phase::kWaiting, "waiting", PhaseGroup::kWaiting, 30},
    {Phase::kUnknown, "unknown phase", PhaseGroup::kOther, 31},
};

struct GroupEntry {
  PhaseGroup group;
  const char* name;
};

constexpr GroupEntry kGroups[] = {
    {PhaseGroup::kData, "data"},
    {PhaseGroup::kEmbedding, "embedding"},
    {PhaseGroup::kAttention, "attention"},
    {PhaseGroup::kRouter, "router"},
    {PhaseGroup::kDispatch, "dispatch"},
    {PhaseGroup::kExperts, "experts"},
    {PhaseGroup::kCombine, "combine"},
    {PhaseGroup::kAuxiliaryLosses, "auxiliary losses"},
    {PhaseGroup::kHead, "head"},
    {PhaseGroup::kOptimizer, "optimizer"},
    {PhaseGroup::kSumOfGradients, "sum of gradients"},
    {PhaseGroup::kCheckpoint, "checkpoint"},
    {PhaseGroup::kValidation, "validation"},
    {PhaseGroup::kWaiting, "waiting"},
    {PhaseGroup::kOther, "other"},
};

constexpr bool PhasesAreInOrder() {
  for (size_t i = 0; i < std::size(kPhases); ++i)
    if (static_cast<size_t>(kPhases[i].phase) != i) return false;
  return std::size(kPhases) == kNumPhases;
}
static_assert(PhasesAreInOrder());

constexpr bool GroupsAreInOrder() {
  for (size_t i = 0; i < std::size(kGroups); ++i)
    if (static_cast<size_t>(kGroups[i].group) != i) return false;
  return std::size(kGroups) == kNumPhaseGroups;
}
static_assert(GroupsAreInOrder());

constexpr const PhaseEntry& EntryOf(Phase phase) {
  return kPhases[static_cast<size_t>(phase)];
}

}  // namespace

const char* Name(Phase phase) { return EntryOf(phase).name; }

const char* Name(PhaseGroup group) {
  return kGroups[static_cast<size_t>(group)].name;
}

PhaseGroup GroupOf(Phase phase) { return EntryOf(phase).group; }

uint32_t WireNumber(Phase phase) { return EntryOf(phase).wire_number; }

Phase PhaseNamed(absl::string_view name) {
  for (const PhaseEntry& entry : kPhases)
    if (entry.name == name) return entry.phase;
  return Phase::kUnknown;
}

}  // namespace moe
