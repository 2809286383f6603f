#ifndef MOE_CPU_ATTENTION_UNIT_H_
#define MOE_CPU_ATTENTION_UNIT_H_

// Attention of one unit: one sequence and one key/value head with the query
// heads that read it. Units share nothing, so threads divide them, and the
// gradients of a key/value head have one owner.
//
// A unit goes through tiles of queries, and each tile through blocks of keys,
// from the begin of its first token's document up to the diagonal. A tile holds
// a few tokens of all its query heads, head by head, under one another, so that
// its products are tall even when the tokens are few and little is computed
// above the diagonal.
//
// Letters: L tokens of the sequence, J = H / G query heads of the unit, d head
// width, M = J n rows of a tile of n tokens, N keys of a block.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "comm/base/round_up.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

namespace moe::cpu {

// Keys of a block. Wide blocks make the products faster; this wide, the scores
// of a tile stay in the second-level cache. A multiple of every TileTokens.
inline constexpr int64_t kKeyBlock = 256;
static_assert(kKeyBlock % kLanes == 0);

// n of a whole tile: about 64 rows. Taller ones are no faster and waste more
// above the diagonal.
inline int64_t TileTokens(int64_t heads_of_unit) {
  return heads_of_unit == 1 ? 64 : heads_of_unit == 2 ? 32 : 16;
}

// The tensors of one call, as pointers to rows of C or A elements.
template <typename T>
struct AttentionCall {
  AttentionShape shape;
  int64_t num_tokens = 0;
  const int32_t* positions_T = nullptr;  // null: t % L
  const T* qkv_TC = nullptr;
  T* y_TA = nullptr;
  float* log_sum_exp_HT = nullptr;
  const T* d_y_TA = nullptr;  // backward only
  T* d_qkv_TC = nullptr;      // backward only
};

// Floats of scratch for one unit.
int64_t AttentionForwardScratch(const AttentionShape& shape);
int64_t AttentionBackwardScratch(const AttentionShape& shape);

// False if the matrix library failed.
template <typename T>
bool AttentionForwardUnit(const AttentionCall<T>& call, int64_t sequence,
                          int64_t kv_head, float* scratch);
template <typename T>
bool AttentionBackwardUnit(const AttentionCall<T>& call, int64_t sequence,
                           int64_t kv_head, float* scratch);

// --- what forward and backward share ----------------------------------------

// Scratch is dense float32 whatever the dtype: the tensors' own rows often lie
// a power of two apart and would share a few sets of the cache.
struct AttentionScratchSizes {
  explicit AttentionScratchSizes(const AttentionShape& shape)
      : sequence(RoundUp(shape.length * shape.head_dim, kLineFloats)),
        rows(RoundUp(MaxRows(shape), kLineFloats)),
        tile(RoundUp(MaxRows(shape) * shape.head_dim, kLineFloats)),
        scores(MaxRows(shape) * kKeyBlock) {}

  int64_t sequence;  // [L, d]
  int64_t rows;      // [M]
  int64_t tile;      // [M, d]
  int64_t scores;    // [M, N]

 private:
  static constexpr int64_t kLineFloats = 16;  // of a cache line

  static int64_t MaxRows(const AttentionShape& shape) {
    const int64_t J = shape.heads / shape.kv_heads;
    return J * std::min(TileTokens(J), shape.length);
  }
};

// The next `n` floats of scratch.
inline float* Take(float*& scratch, int64_t n) {
  float* piece = scratch;
  scratch += n;
  return piece;
}

// Where a unit's elements lie in the tensors of its call.
struct AttentionUnit {
  AttentionUnit(const AttentionShape& shape, const int32_t* positions_T,
                int64_t sequence, int64_t kv_head)
      : L(shape.length),
        d(shape.head_dim),
        J(shape.heads / shape.kv_heads),
        C((shape.heads + 2 * shape.kv_heads) * d),
        A(shape.heads * d),
        first_token(sequence * L),
        first_head(kv_head * J),
        key_column((shape.heads + kv_head) * d),
        value_column((shape.heads + shape.kv_heads + kv_head) * d),
        positions_L(positions_T == nullptr ? nullptr
                                           : positions_T + first_token),
        scale(1 / std::sqrt(static_cast<float>(d))) {}

  // Offset of token t's query head j in tensors of A or C columns.
  int64_t InY(int64_t t, int64_t j) const {
    return (first_token + t) * A + (first_head + j) * d;
  }
  int64_t InQkv(int64_t t, int64_t j) const {
    return (first_token + t) * C + (first_head + j) * d;
  }
  int64_t Keys() const { return first_token * C + key_column; }
  int64_t Values() const { return first_token * C + value_column; }

  int64_t L, d, J, C, A;
  int64_t first_token, first_head;
  int64_t key_column, value_column;
  const int32_t* positions_L;  // null: the sequence is one document
  float scale;                 // of scores: 1 / sqrt(d)
};

// Keys [begin, end) of a block, begin <= end.
struct KeyRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// Tokens [first, first + n) of all J heads, against keys [key, key + num_keys).
// Row m is head m / n of token first + m % n.
struct AttentionTile {
  int64_t first = 0;
  int64_t n = 0;
  int64_t rows = 0;  // J n
  const int32_t* positions_L = nullptr;
  int64_t key = 0;
  int64_t num_keys = 0;
  bool first_block = false;  // of the tile's keys

  // Keys of this block that row m may look at: those of its document, not past
  // its token. The end is past the block's first key, because key blocks begin
  // where tiles begin; so only a row of a later document sees none.
  KeyRange Visible(int64_t m) const {
    const int64_t t = first + m % n;
    const int64_t end = std::min(num_keys, t - key + 1);
    if (positions_L == nullptr) return {0, end};
    return {std::clamp(t - positions_L[t] - key, int64_t{0}, end), end};
  }
};

// visit(tile) for every tile of the unit; false as soon as a visit is.
template <typename Visit>
bool ForEachTile(const AttentionUnit& unit, const Visit& visit) {
  const int64_t tile_tokens = TileTokens(unit.J);
  for (int64_t first = 0; first < unit.L; first += tile_tokens) {
    const int64_t n = std::min(tile_tokens, unit.L - first);
    if (!visit(AttentionTile{.first = first,
                             .n = n,
                             .rows = unit.J * n,
                             .positions_L = unit.positions_L}))
      return false;
  }
  return true;
}

// visit(tile) for every block of keys that some row of the tile may look at.
template <typename Visit>
bool ForEachKeyBlock(const AttentionUnit& unit, AttentionTile tile,
                     const Visit& visit) {
  // No row sees more of the past than the first; from where it begins, back to
  // the begin of a tile.
  int64_t begin = 0;
  if (tile.positions_L != nullptr) {
    begin = tile.first - tile.positions_L[tile.first];
    begin -= begin % TileTokens(unit.J);
  }
  const int64_t end = tile.first + tile.n;
  for (tile.key = begin; tile.key < end; tile.key += kKeyBlock) {
    tile.num_keys = std::min(kKeyBlock, end - tile.key);
    tile.first_block = tile.key == begin;
    if (!visit(tile)) return false;
  }
  return true;
}

// Scores of a row around the visible ones, up to whole vectors, become -inf, so
// that loops take whole vectors. Returns the range of those.
inline KeyRange MaskEnds(float* scores, const KeyRange& visible) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const KeyRange whole = {visible.begin / kLanes * kLanes,
                          RoundUp(visible.end, kLanes)};
  std::fill(scores + whole.begin, scores + visible.begin, -kInfinity);
  std::fill(scores + visible.end, scores + whole.end, -kInfinity);
  return whole;
}

// A row of N elements becomes zero where not visible.
inline void ClearInvisible(float* row, const KeyRange& visible, int64_t N) {
  std::fill(row, row + visible.begin, 0.0f);
  std::fill(row + visible.end, row + N, 0.0f);
}

// Asks for the cache lines of a row of d elements.
template <bool kForWriting, typename T>
void PrefetchRow(const T* row, int64_t d) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < d; i += kLine)
    __builtin_prefetch(row + i, kForWriting ? 1 : 0);
}

// n rows of d elements times `scale`, between dtypes; strides between rows.
// Rows of a tensor lie pages apart, where the processor foresees nothing by
// itself.
template <typename To, typename From>
void CopyScaled(To* to, int64_t to_stride, const From* from,
                int64_t from_stride, int64_t n, int64_t d, float scale = 1) {
  constexpr int64_t kAhead = 6;
  for (int64_t row = 0; row < n; ++row) {
    if (row + kAhead < n) {
      PrefetchRow<true>(to + (row + kAhead) * to_stride, d);
      PrefetchRow<false>(from + (row + kAhead) * from_stride, d);
    }
    ForEachVector(d, [&](int64_t i, int64_t lanes) {
      Store(to + row * to_stride + i,
            Load(from + row * from_stride + i, lanes) * scale, lanes);
    });
  }
}

}  // namespace moe::cpu

#endif  // MOE_CPU_ATTENTION_UNIT_H_
