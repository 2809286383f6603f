#ifndef MOE_RECOMPUTE_H_
#define MOE_RECOMPUTE_H_

namespace moe {

// What backward computes again instead of keeping, for memory, besides the
// norms and SwiGLU, which it always does: nothing; the experts' rows, which are
// dispatched again, and gate and up products; or all of a block but its input
// and what its router chose. Results are the same bits, but for rounding where
// rows come in parts.
enum class Recompute { kNone, kExperts, kBlock };

}  // namespace moe

#endif  // MOE_RECOMPUTE_H_
