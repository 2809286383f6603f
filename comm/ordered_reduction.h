#ifndef COMM_ORDERED_REDUCTION_H_
#define COMM_ORDERED_REDUCTION_H_

#include <cstdint>
#include <vector>

#include "comm/process_group.h"

namespace moe {

// ((x0 + x1) + x2) + ... over the ranks' contributions, one at a time as they
// arrive: the order of additions is fixed by rank, never by arrival. Sums of
// bfloat16 are kept in float32 and rounded once. The maximum of anything and a
// NaN is NaN.
class OrderedReduction {
 public:
  struct Arguments {
    ReduceOp op = ReduceOp::kSum;
    // contributions[r]: the elements of rank r, as many as in `output`.
    std::vector<const void*> contributions;
    // The position whose contribution `output` may be itself.
    int own_index = 0;
    MemoryView output;
    // Room for partial sums: as many elements as `output`, of its dtype or, for
    // bfloat16, float32. May be contributions[0] itself if that is not
    // bfloat16. Needed by three contributions or more of bfloat16, and by
    // others if own_index > 0.
    void* partial = nullptr;
  };
  explicit OrderedReduction(Arguments arguments);

  // Index of the contribution that Add takes next.
  int next() const { return next_; }
  bool done() const {
    return next_ == static_cast<int>(arguments_.contributions.size());
  }
  // Adds contribution next(), which must be there.
  void Add();

 private:
  template <typename T, typename Accumulator>
  void AddTyped();

  Arguments arguments_;
  int next_ = 0;
};

}  // namespace moe

#endif  // COMM_ORDERED_REDUCTION_H_
