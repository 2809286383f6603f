#include <cmath>
#include <cstdint>

#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: T tokens in sequences of L, H heads, G key/value heads, d head
// width, h = d / 2, C = (H + 2 G) d.

namespace moe::cpu {
namespace {

// The pairs (i, i + h) of one head, times (cosine + sign i sine).
template <typename T>
void RotateHead(T* x_d, const float* cosine_h, const float* sine_h, int64_t h,
                float sign) {
  ForEachVector(h, [&](int64_t i, int64_t lanes) {
    const Float8 a = Load(x_d + i, lanes);
    const Float8 b = Load(x_d + h + i, lanes);
    const Float8 cosine = Load(cosine_h + i, lanes);
    const Float8 sine = Load(sine_h + i, lanes) * sign;
    Store(x_d + i, a * cosine - b * sine, lanes);
    Store(x_d + h + i, b * cosine + a * sine, lanes);
  });
}

}  // namespace

void CpuKernels::Rotary(Tensor qkv_TC, const Tensor& table_L2h,
                        const Tensor& positions_T, const AttentionShape& shape,
                        bool inverse) {
  const int64_t C = qkv_TC.dim(1);
  const int64_t d = shape.head_dim;
  const int64_t h = d / 2;
  const float* table = table_L2h.data<float>();
  const int32_t* positions =
      positions_T.is_null() ? nullptr : positions_T.data<int32_t>();
  constexpr int64_t kGrain = 16;  // tokens a thread is worth waking for
  DispatchDType(qkv_TC.dtype(), [&]<typename T>() {
    T* qkv = qkv_TC.data<T>();
    ParallelFor(*this, qkv_TC.dim(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t position =
            positions == nullptr ? t % shape.length : positions[t];
        const float* cosine_h = table + position * d;
        for (int64_t head = 0; head < shape.heads + shape.kv_heads; ++head)
          RotateHead(qkv + t * C + head * d, cosine_h, cosine_h + h, h,
                     inverse ? -1.0f : 1.0f);
      }
    });
  });
}

}  // namespace moe::cpu

namespace moe {

void RotaryTable(absl::Span<float> table_L2h, int64_t half_width,
                 double theta) {
  float* table = table_L2h.data();
  const int64_t h = half_width;
  const int64_t L = static_cast<int64_t>(table_L2h.size()) / (2 * h);
  for (int64_t i = 0; i < h; ++i) {
    const double frequency =
        std::pow(theta, -static_cast<double>(i) / static_cast<double>(h));
    for (int64_t p = 0; p < L; ++p) {
      const double angle = static_cast<double>(p) * frequency;
      table[2 * p * h + i] = static_cast<float>(std::cos(angle));
      table[(2 * p + 1) * h + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace moe
