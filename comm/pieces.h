#ifndef COMM_PIECES_H_
#define COMM_PIECES_H_

#include <cstdint>

namespace moe {

// `total` elements cut into one piece for each rank, as even as can be.
struct Pieces {
  int64_t total = 0;
  int num = 1;

  int64_t Begin(int piece) const { return piece * total / num; }
  int64_t Count(int piece) const { return Begin(piece + 1) - Begin(piece); }
  template <typename View>
  View Of(const View& whole, int piece) const {
    return whole.Slice(Begin(piece), Count(piece));
  }
};

}  // namespace moe

#endif  // COMM_PIECES_H_
