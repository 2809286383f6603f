#ifndef TESTS_MOE_REFERENCE_ATTENTION_H_
#define TESTS_MOE_REFERENCE_ATTENTION_H_

#include <cstddef>

#include "tests/moe/reference_ops.h"

namespace moe::reference {

struct Heads {
  size_t query = 0;      // query heads
  size_t key_value = 0;  // each shared by query / key_value of them
  size_t dim = 0;
  double theta = 0;  // of the rotary embedding
};

// Causal attention of one sequence. A row of q holds its query heads one after
// another, a row of k or v its key/value heads; q and k come unrotated.
Rows Attention(const Rows& q, const Rows& k, const Rows& v, const Heads& heads);

struct AttentionGradients {
  Rows q;
  Rows k;
  Rows v;
};
AttentionGradients AttentionBackward(const Rows& d_y, const Rows& q,
                                     const Rows& k, const Rows& v,
                                     const Heads& heads);

}  // namespace moe::reference

#endif  // TESTS_MOE_REFERENCE_ATTENTION_H_
