#include "moe/cpu/swiglu_bfloat16.h"

#include "comm/base/check.h"

// Memory traffic: a row of gate_up is read once, front to back, and h written
// once; backward reads d_h beside and writes d_gate_up over gate_up, and over
// d_h what h was. Gate and up of an element stand F apart, so reading them
// together is two short streams, each begun anew with every row, which the
// processor's own prefetching does not follow. Hence each step fetches the next
// piece of the next row, as one stream through all of gate_up: without that
// half the time goes into waiting.
//
// Arithmetic: as many instructions for 32 elements as for 8 without AVX-512,
// so that enough elements are under way at once to hide a sigmoid's latency.

#if defined(__x86_64__)

#include <immintrin.h>

#define MOE_AVX512_BF16 \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512bf16")))
#define MOE_INLINE_AVX512_BF16 \
  MOE_AVX512_BF16 inline __attribute__((always_inline))

namespace moe::cpu {
namespace {

using Row = SwiGluRow<BFloat16>;

constexpr int64_t kStep = 32;  // elements
constexpr __mmask32 kWhole = 0xffffffff;

// 32 elements, those of even and those of odd index: a shift and a mask away
// from how they lie in memory.
struct Floats32 {
  __m512 even;
  __m512 odd;
};

MOE_INLINE_AVX512_BF16 Floats32 Load(const BFloat16* x, __mmask32 mask) {
  const __m512i bits = mask == kWhole ? _mm512_loadu_si512(x)
                                      : _mm512_maskz_loadu_epi16(mask, x);
  const __m512i upper = _mm512_set1_epi32(static_cast<int32_t>(0xffff0000));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(bits, upper))};
}

MOE_INLINE_AVX512_BF16 void Store(BFloat16* x, const Floats32& v,
                                  __mmask32 mask) {
  alignas(64) static constexpr uint16_t kOrder[kStep] = {
      0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i halves =
      reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(v.odd, v.even));
  const __m512i bits =
      _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), halves);
  if (mask == kWhole) {
    _mm512_storeu_si512(x, bits);
  } else {
    _mm512_mask_storeu_epi16(x, mask, bits);
  }
}

// 1 / (1 + 2^z) with z = -x log2 e: 2^z = 2^floor(z) p(z - floor(z)), p fitted
// to the relative error over [0, 1) (8e-8 before rounding). Infinities and NaN
// go through as they should.
MOE_INLINE_AVX512_BF16 __m512 Sigmoid(__m512 x) {
  const __m512 z = _mm512_mul_ps(x, _mm512_set1_ps(-0x1.715476p0f));
  const __m512 r = _mm512_reduce_ps(z, _MM_FROUND_TO_NEG_INF);
  __m512 p = _mm512_set1_ps(0x1.ec320ap-10f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.26900cp-7f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.c95446p-5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.ebd5a8p-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.62e4f6p-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.fffffep-1f));
  const __m512 one = _mm512_set1_ps(1);
  return _mm512_div_ps(one, _mm512_add_ps(one, _mm512_scalef_ps(p, z)));
}

// What a step at element i does of the next row: its 2 F elements go by in as
// many steps as this row's F.
MOE_INLINE_AVX512_BF16 void Fetch(const Row& row, int64_t i) {
  _mm_prefetch(row.next_2F + 2 * i, _MM_HINT_T0);
  _mm_prefetch(row.next_2F + 2 * i + kStep, _MM_HINT_T0);
}

MOE_INLINE_AVX512_BF16 __m512 Forward(__m512 gate, __m512 up, __m512 weight) {
  return _mm512_mul_ps(_mm512_mul_ps(gate, Sigmoid(gate)),
                       _mm512_mul_ps(up, weight));
}

MOE_INLINE_AVX512_BF16 void ForwardStep(BFloat16* h_F, const Row& row,
                                        int64_t i, __mmask32 mask) {
  const Floats32 gate = Load(row.gate_up_2F + i, mask);
  const Floats32 up = Load(row.gate_up_2F + row.F + i, mask);
  const __m512 weight = _mm512_set1_ps(row.weight);
  Store(
      h_F + i,
      {Forward(gate.even, up.even, weight), Forward(gate.odd, up.odd, weight)},
      mask);
}

struct Gradients {
  __m512 gate;
  __m512 up;
  __m512 h;  // the forward's value, made on the way
};

// Adds to d_weight what it is summed of.
MOE_INLINE_AVX512_BF16 Gradients Backward(__m512 d_h, __m512 gate, __m512 up,
                                          __m512 weight, __m512& d_weight) {
  const __m512 sigmoid = Sigmoid(gate);
  const __m512 silu = _mm512_mul_ps(gate, sigmoid);
  const __m512 d_h_up = _mm512_mul_ps(d_h, up);
  d_weight = _mm512_fmadd_ps(d_h_up, silu, d_weight);
  // silu'(g) = s + g s (1 - s) with s = sigmoid(g).
  const __m512 slope =
      _mm512_fmadd_ps(silu, _mm512_sub_ps(_mm512_set1_ps(1), sigmoid), sigmoid);
  return {_mm512_mul_ps(_mm512_mul_ps(d_h_up, weight), slope),
          _mm512_mul_ps(_mm512_mul_ps(d_h, weight), silu),
          _mm512_mul_ps(silu, _mm512_mul_ps(up, weight))};
}

MOE_INLINE_AVX512_BF16 void BackwardStep(BFloat16* d_gate_up_2F, BFloat16* h_F,
                                         const BFloat16* d_h_F, const Row& row,
                                         int64_t i, __mmask32 mask,
                                         __m512& d_weight) {
  const Floats32 gate = Load(row.gate_up_2F + i, mask);
  const Floats32 up = Load(row.gate_up_2F + row.F + i, mask);
  const Floats32 d_h = Load(d_h_F + i, mask);
  const __m512 weight = _mm512_set1_ps(row.weight);
  const Gradients even =
      Backward(d_h.even, gate.even, up.even, weight, d_weight);
  const Gradients odd = Backward(d_h.odd, gate.odd, up.odd, weight, d_weight);
  Store(d_gate_up_2F + i, {even.gate, odd.gate}, mask);
  Store(d_gate_up_2F + row.F + i, {even.up, odd.up}, mask);
  Store(h_F + i, {even.h, odd.h}, mask);
}

// Lanes in one fixed order.
MOE_INLINE_AVX512_BF16 float Sum(__m512 v) {
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, v);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

__mmask32 FirstLanes(int64_t lanes) { return (__mmask32{1} << lanes) - 1; }

}  // namespace

MOE_AVX512_BF16 void SwiGluForwardBFloat16(BFloat16* h_F,
                                           const SwiGluRow<BFloat16>& row) {
  int64_t i = 0;
  for (; i + kStep <= row.F; i += kStep) {
    Fetch(row, i);
    ForwardStep(h_F, row, i, kWhole);
  }
  if (i < row.F) ForwardStep(h_F, row, i, FirstLanes(row.F - i));
}

MOE_AVX512_BF16 float SwiGluBackwardBFloat16(BFloat16* d_gate_up_2F,
                                             BFloat16* h_F,
                                             const BFloat16* d_h_F,
                                             const SwiGluRow<BFloat16>& row) {
  __m512 d_weight = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + kStep <= row.F; i += kStep) {
    Fetch(row, i);
    BackwardStep(d_gate_up_2F, h_F, d_h_F, row, i, kWhole, d_weight);
  }
  if (i < row.F) {
    BackwardStep(d_gate_up_2F, h_F, d_h_F, row, i, FirstLanes(row.F - i),
                 d_weight);
  }
  return Sum(d_weight);
}

}  // namespace moe::cpu

#else  // another kind of processor: HasBFloat16Instructions says no

namespace moe::cpu {

void SwiGluForwardBFloat16(BFloat16* /*h_F*/,
                           const SwiGluRow<BFloat16>& /*row*/) {
  CHECK(false);
}
float SwiGluBackwardBFloat16(BFloat16* /*d_gate_up_2F*/, BFloat16* /*h_F*/,
                             const BFloat16* /*d_h_F*/,
                             const SwiGluRow<BFloat16>& /*row*/) {
  CHECK(false);
  return 0;
}

}  // namespace moe::cpu

#endif
