#include <algorithm>

#include "moe/cpu/attention_unit.h"
#include "moe/cpu/block_product.h"
#include "moe/cpu/vector.h"

// With p = exp(score - log_sum_exp), computed again block by block:
//   d_v = p^T d_y,  d_p = d_y v^T,  d_score = p (d_p - sum_d d_y y),
//   d_q = scale d_score k,  d_k = scale d_score^T q  (Dao et al., 2022).

namespace moe::cpu {
namespace {

// What a tile's rows bring along.
struct TileInputs {
  float* q_Md;  // times scale
  float* d_y_Md;
  float* log_sum_exp_M;
  float* d_y_dot_y_M;
};

template <typename T>
float DotRow(const T* a, const T* b, int64_t d) {
  Float8 sum8 = {};
  ForEachVector(d, [&](int64_t i, int64_t lanes) {
    sum8 += Load(a + i, lanes) * Load(b + i, lanes);
  });
  return Sum(sum8);
}

template <typename T>
void ReadTile(const TileInputs& inputs, const AttentionCall<T>& call,
              const AttentionUnit& unit, const AttentionTile& tile) {
  const int64_t d = unit.d;
  for (int64_t m = 0; m < tile.rows; ++m) {
    const int64_t j = m / tile.n;
    const int64_t t = tile.first + m % tile.n;
    const int64_t in_y = unit.InY(t, j);
    CopyScaled(inputs.q_Md + m * d, d, call.qkv_TC + unit.InQkv(t, j), unit.C,
               1, d, unit.scale);
    CopyScaled(inputs.d_y_Md + m * d, d, call.d_y_TA + in_y, unit.A, 1, d);
    inputs.d_y_dot_y_M[m] = DotRow(call.d_y_TA + in_y, call.y_TA + in_y, d);
    inputs.log_sum_exp_M[m] =
        call.log_sum_exp_HT[(unit.first_head + j) * call.num_tokens +
                            unit.first_token + t];
  }
}

// Row m: scores become p, d_p becomes d_score; both zero where not visible.
void ScoreGradients(float* scores, float* d_p, const TileInputs& inputs,
                    const AttentionTile& tile, int64_t m) {
  const KeyRange visible = tile.Visible(m);
  const KeyRange whole = MaskEnds(scores, visible);
  const float log_sum_exp = inputs.log_sum_exp_M[m];
  const float d_y_dot_y = inputs.d_y_dot_y_M[m];
  for (int64_t i = whole.begin; i < whole.end; i += kLanes) {
    const Float8 p = Exp(Load(scores + i) - log_sum_exp);
    Store(scores + i, p);
    Store(d_p + i, p * (Load(d_p + i) - d_y_dot_y));
  }
  ClearInvisible(scores, visible, tile.num_keys);
  ClearInvisible(d_p, visible, tile.num_keys);
}

}  // namespace

int64_t AttentionBackwardScratch(const AttentionShape& shape) {
  const AttentionScratchSizes sizes(shape);
  return 4 * sizes.sequence + 3 * sizes.tile + 2 * sizes.scores +
         2 * sizes.rows;
}

template <typename T>
bool AttentionBackwardUnit(const AttentionCall<T>& call, int64_t sequence,
                           int64_t kv_head, float* scratch) {
  const AttentionUnit unit(call.shape, call.positions_T, sequence, kv_head);
  const AttentionScratchSizes sizes(call.shape);
  const int64_t d = unit.d;
  float* k_Ld = Take(scratch, sizes.sequence);
  float* v_Ld = Take(scratch, sizes.sequence);
  float* d_k_Ld = Take(scratch, sizes.sequence);
  float* d_v_Ld = Take(scratch, sizes.sequence);
  float* d_q_Md = Take(scratch, sizes.tile);
  float* scores_MN = Take(scratch, sizes.scores);
  float* d_p_MN = Take(scratch, sizes.scores);
  TileInputs inputs;
  inputs.q_Md = Take(scratch, sizes.tile);
  inputs.d_y_Md = Take(scratch, sizes.tile);
  inputs.log_sum_exp_M = Take(scratch, sizes.rows);
  inputs.d_y_dot_y_M = Take(scratch, sizes.rows);

  CopyScaled(k_Ld, d, call.qkv_TC + unit.Keys(), unit.C, unit.L, d);
  CopyScaled(v_Ld, d, call.qkv_TC + unit.Values(), unit.C, unit.L, d);
  std::fill_n(d_k_Ld, unit.L * d, 0.0f);
  std::fill_n(d_v_Ld, unit.L * d, 0.0f);
  const bool ok = ForEachTile(unit, [&](const AttentionTile& whole) {
    ReadTile(inputs, call, unit, whole);
    const Block q = Dense(inputs.q_Md, whole.rows, d);
    const Block d_y = Dense(inputs.d_y_Md, whole.rows, d);
    const Block d_q = Dense(d_q_Md, whole.rows, d);
    const auto in_keys = [&](float* x_Ld, const AttentionTile& tile) {
      return Dense(x_Ld + tile.key * d, tile.num_keys, d);
    };
    const bool tile_ok =
        ForEachKeyBlock(unit, whole, [&](const AttentionTile& tile) {
          const Block k = in_keys(k_Ld, tile);
          const Block v = in_keys(v_Ld, tile);
          const Block p{scores_MN, tile.rows, tile.num_keys, kKeyBlock};
          const Block d_score{d_p_MN, tile.rows, tile.num_keys, kKeyBlock};
          if (!Multiply(p, q, false, k, true, /*beta=*/0) ||
              !Multiply(d_score, d_y, false, v, true, /*beta=*/0))
            return false;
          for (int64_t m = 0; m < tile.rows; ++m)
            ScoreGradients(scores_MN + m * kKeyBlock, d_p_MN + m * kKeyBlock,
                           inputs, tile, m);
          return Multiply(in_keys(d_v_Ld, tile), p, true, d_y, false, 1) &&
                 Multiply(in_keys(d_k_Ld, tile), d_score, true, q, false, 1) &&
                 Multiply(d_q, d_score, false, k, false,
                          tile.first_block ? 0 : 1.0f);
        });
    for (int64_t j = 0; j < unit.J; ++j)
      CopyScaled(call.d_qkv_TC + unit.InQkv(whole.first, j), unit.C,
                 d_q_Md + j * whole.n * d, d, whole.n, d, unit.scale);
    return tile_ok;
  });
  CopyScaled(call.d_qkv_TC + unit.Keys(), unit.C, d_k_Ld, d, unit.L, d);
  CopyScaled(call.d_qkv_TC + unit.Values(), unit.C, d_v_Ld, d, unit.L, d);
  return ok;
}

template bool AttentionBackwardUnit(const AttentionCall<float>&, int64_t,
                                    int64_t, float*);
template bool AttentionBackwardUnit(const AttentionCall<BFloat16>&, int64_t,
                                    int64_t, float*);

}  // namespace moe::cpu
