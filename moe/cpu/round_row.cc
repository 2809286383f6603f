#include "moe/cpu/round_row.h"

#include "moe/cpu/instructions.h"
#include "moe/cpu/vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moe::cpu {
namespace {

void RoundByVectors(BFloat16* y, const float* x, int64_t n) {
  ForEachVector(n, [&](int64_t i, int64_t lanes) {
    Store(y + i, Load(x + i, lanes), lanes);
  });
}

#if defined(__x86_64__)

// The instruction makes zeros of what is below the smallest normal number.
// ToBFloat16 does not, nor may a copy of weights depend on the processor: 16
// elements with such a number among them are rounded without it. Loads are no
// wider than the stores that wrote x just before: wider ones would wait for
// those to reach the cache.
__attribute__((target("avx512f,avx512vl,avx512dq,avx512bf16"))) void
RoundByInstruction(BFloat16* y, const float* x, int64_t n) {
  constexpr int64_t kStep = 2 * kLanes;
  constexpr int kDenormal = 0x20;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    const __m256 low = _mm256_loadu_ps(x + i);
    const __m256 high = _mm256_loadu_ps(x + i + kLanes);
    const auto denormal =
        static_cast<__mmask8>(_mm256_fpclass_ps_mask(low, kDenormal) |
                              _mm256_fpclass_ps_mask(high, kDenormal));
    if (denormal == 0) [[likely]] {
      _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(y + i),
          reinterpret_cast<__m256i>(_mm256_cvtne2ps_pbh(high, low)));
    } else {
      RoundByVectors(y + i, x + i, kStep);
    }
  }
  RoundByVectors(y + i, x + i, n - i);
}

#endif

}  // namespace

void RoundRow(BFloat16* y, const float* x, int64_t n) {
#if defined(__x86_64__)
  static const bool has_instruction = HasBFloat16Instructions();
  if (has_instruction) return RoundByInstruction(y, x, n);
#endif
  RoundByVectors(y, x, n);
}

}  // namespace moe::cpu
