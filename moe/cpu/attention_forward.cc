#include <algorithm>
#include <cmath>
#include <limits>

#include "moe/cpu/attention_unit.h"
#include "moe/cpu/block_product.h"
#include "moe/cpu/vector.h"

// Softmax over the keys seen so far, corrected whenever a larger score comes:
// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.

namespace moe::cpu {
namespace {

// The running state of a tile's rows.
struct OnlineSoftmax {
  float* largest_M;
  float* sum_M;  // of exp(score - largest)
  float* y_Md;   // sum of exp(score - largest) v
  int64_t d;

  // Row m's scores become exp(score - largest), zero where not visible.
  void Update(float* scores, const AttentionTile& tile, int64_t m) const {
    if (tile.first_block) {
      largest_M[m] = -std::numeric_limits<float>::infinity();
      sum_M[m] = 0;
    }
    const KeyRange visible = tile.Visible(m);
    if (visible.begin < visible.end) AddVisible(scores, visible, m);
    ClearInvisible(scores, visible, tile.num_keys);
  }

 private:
  void AddVisible(float* scores, const KeyRange& visible, int64_t m) const {
    const auto [begin, end] = MaskEnds(scores, visible);
    Float8 largest8 = Load(scores + begin);
    for (int64_t j = begin + kLanes; j < end; j += kLanes)
      largest8 = Max(largest8, Load(scores + j));
    const float largest = Raise(MaxLane(largest8), m);
    Float8 sum8 = {};
    for (int64_t j = begin; j < end; j += kLanes) {
      const Float8 p = Exp(Load(scores + j) - largest);
      Store(scores + j, p);
      sum8 += p;
    }
    sum_M[m] += Sum(sum8);
  }

  // The row's new maximum; what was summed under the old one shrinks. Before a
  // row's first visible key nothing is, and in a tile's first block its y is
  // not even written.
  float Raise(float largest, int64_t m) const {
    if (!(largest > largest_M[m])) return largest_M[m];
    if (sum_M[m] != 0) {
      const float factor = std::exp(largest_M[m] - largest);
      sum_M[m] *= factor;
      CopyScaled(y_Md + m * d, d, y_Md + m * d, d, 1, d, factor);
    }
    return largest_M[m] = largest;
  }
};

template <typename T>
void WriteTile(const AttentionCall<T>& call, const AttentionUnit& unit,
               const AttentionTile& tile, const OnlineSoftmax& softmax) {
  for (int64_t m = 0; m < tile.rows; ++m) {
    const int64_t j = m / tile.n;
    const int64_t t = tile.first + m % tile.n;
    CopyScaled(call.y_TA + unit.InY(t, j), unit.A, softmax.y_Md + m * unit.d,
               unit.d, 1, unit.d, 1 / softmax.sum_M[m]);
    call.log_sum_exp_HT[(unit.first_head + j) * call.num_tokens +
                        unit.first_token + t] =
        softmax.largest_M[m] + std::log(softmax.sum_M[m]);
  }
}

}  // namespace

int64_t AttentionForwardScratch(const AttentionShape& shape) {
  const AttentionScratchSizes sizes(shape);
  return 2 * sizes.sequence + 2 * sizes.tile + sizes.scores + 2 * sizes.rows;
}

template <typename T>
bool AttentionForwardUnit(const AttentionCall<T>& call, int64_t sequence,
                          int64_t kv_head, float* scratch) {
  const AttentionUnit unit(call.shape, call.positions_T, sequence, kv_head);
  const AttentionScratchSizes sizes(call.shape);
  const int64_t d = unit.d;
  float* k_Ld = Take(scratch, sizes.sequence);
  float* v_Ld = Take(scratch, sizes.sequence);
  float* q_Md = Take(scratch, sizes.tile);
  float* y_Md = Take(scratch, sizes.tile);
  float* scores_MN = Take(scratch, sizes.scores);
  float* largest_M = Take(scratch, sizes.rows);
  const OnlineSoftmax softmax{largest_M, Take(scratch, sizes.rows), y_Md, d};

  CopyScaled(k_Ld, d, call.qkv_TC + unit.Keys(), unit.C, unit.L, d);
  CopyScaled(v_Ld, d, call.qkv_TC + unit.Values(), unit.C, unit.L, d);
  return ForEachTile(unit, [&](const AttentionTile& whole) {
    for (int64_t j = 0; j < unit.J; ++j)
      CopyScaled(q_Md + j * whole.n * d, d,
                 call.qkv_TC + unit.InQkv(whole.first, j), unit.C, whole.n, d,
                 unit.scale);
    const Block q = Dense(q_Md, whole.rows, d);
    const Block y = Dense(y_Md, whole.rows, d);
    const bool ok =
        ForEachKeyBlock(unit, whole, [&](const AttentionTile& tile) {
          const Block k = Dense(k_Ld + tile.key * d, tile.num_keys, d);
          const Block v = Dense(v_Ld + tile.key * d, tile.num_keys, d);
          const Block scores{scores_MN, tile.rows, tile.num_keys, kKeyBlock};
          if (!Multiply(scores, q, false, k, true, /*beta=*/0)) return false;
          for (int64_t m = 0; m < tile.rows; ++m)
            softmax.Update(scores_MN + m * kKeyBlock, tile, m);
          return Multiply(y, scores, false, v, false,
                          tile.first_block ? 0.0f : 1.0f);
        });
    if (ok) WriteTile(call, unit, whole, softmax);
    return ok;
  });
}

template bool AttentionForwardUnit(const AttentionCall<float>&, int64_t,
                                   int64_t, float*);
template bool AttentionForwardUnit(const AttentionCall<BFloat16>&, int64_t,
                                   int64_t, float*);

}  // namespace moe::cpu
