#ifndef COMM_PHASE_H_
#define COMM_PHASE_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace moe {

// What part of a run a process is in. The table in phase.cc says of each phase
// what it is called, what its time counts for and what it is in tags.
enum class Phase {
  kStart,
  kData,
  kEmbedding,
  kEmbeddingBackward,
  kBlock,
  kBlockBackward,
  kAttention,
  kAttentionBackward,
  kRouter,
  kRouterBackward,
  kRowCounts,
  kDispatch,
  kDispatchBackward,
  kDispatchWeights,
  kDispatchWeightsBackward,
  kExperts,
  kExpertsBackward,
  kCombine,
  kCombineBackward,
  kAuxiliaryLosses,
  kHead,
  kSumOfGradients,
  kSumOfLosses,
  kOptimizer,
  kNonFiniteSearch,
  kMetrics,
  kCheckpoint,
  kValidation,
  kBench,
  kWaiting,  // of clocks alone: the time that others took
  kUnknown,  // of messages alone: what another process calls otherwise
};
inline constexpr size_t kNumPhases = static_cast<size_t>(Phase::kUnknown) + 1;

// What metrics add up: forward and backward together.
enum class PhaseGroup {
  kData,
  kEmbedding,
  kAttention,
  kRouter,
  kDispatch,
  kExperts,
  kCombine,
  kAuxiliaryLosses,
  kHead,
  kOptimizer,
  kSumOfGradients,
  kCheckpoint,
  kValidation,
  kWaiting,
  kOther,
};
inline constexpr size_t kNumPhaseGroups =
    static_cast<size_t>(PhaseGroup::kOther) + 1;

// "dispatch weights backward": in reports, errors and traces. A literal.
const char* Name(Phase phase);
// The key in metrics: "dispatch". A literal.
const char* Name(PhaseGroup group);

PhaseGroup GroupOf(Phase phase);

// What tags of messages are made of; it stays when phases come or go.
uint32_t WireNumber(Phase phase);

// The phase of that name; kUnknown if there is none.
Phase PhaseNamed(absl::string_view name);

}  // namespace moe

#endif  // COMM_PHASE_H_
