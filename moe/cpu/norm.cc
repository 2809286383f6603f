#include <algorithm>
#include <cmath>
#include <cstdint>

#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/round_row.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: T tokens, D model width.
//
// Memory traffic: forward reads a row of x, then writes the row of y from what
// the first cache still holds. Both at once would be slower: memory turns from
// reading to writing at a cost.

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 16;  // tokens a thread is worth waking for

// Four accumulators hide the latency of an addition.
float SumOfSquaresOfRow(const float* x_D, int64_t D) {
  constexpr int64_t kChains = 4;
  Float8 sums[kChains] = {};
  int64_t i = 0;
  for (; i + kChains * kLanes <= D; i += kChains * kLanes) {
    for (int64_t chain = 0; chain < kChains; ++chain) {
      const Float8 x = Load(x_D + i + chain * kLanes);
      sums[chain] += x * x;
    }
  }
  ForEachVector(D - i, [&](int64_t rest, int64_t lanes) {
    const Float8 x = Load(x_D + i + rest, lanes);
    sums[0] += x * x;
  });
  return Sum((sums[0] + sums[2]) + (sums[1] + sums[3]));
}

// y = x r w.
template <typename T>
void ForwardRow(T* y_D, const float* x_D, const float* w_D, float r,
                int64_t D) {
  WriteRow(y_D, D, [=](float* y, int64_t begin, int64_t n) {
    const float* x = x_D + begin;
    const float* w = w_D + begin;
    ForEachVector(n, [=](int64_t i, int64_t lanes) {
      Store(y + i, Load(x + i, lanes) * r * Load(w + i, lanes), lanes);
    });
  });
}

// One token's row of d_x, and its share of d_w.
template <typename T>
void BackwardRow(float* d_x_D, float* d_w_D, const T* d_y_D, const float* x_D,
                 const float* w_D, float r, int64_t D) {
  Float8 dot8 = {};
  ForEachVector(D, [&](int64_t i, int64_t lanes) {
    dot8 +=
        Load(d_y_D + i, lanes) * Load(w_D + i, lanes) * Load(x_D + i, lanes);
  });
  const float along_x = Sum(dot8) / static_cast<float>(D) * r * r * r;
  ForEachVector(D, [&](int64_t i, int64_t lanes) {
    const Float8 x = Load(x_D + i, lanes);
    const Float8 r_d_y = Load(d_y_D + i, lanes) * r;
    Store(d_x_D + i,
          Load(d_x_D + i, lanes) + r_d_y * Load(w_D + i, lanes) - x * along_x,
          lanes);
    Store(d_w_D + i, Load(d_w_D + i, lanes) + r_d_y * x, lanes);
  });
}

}  // namespace

void CpuKernels::RmsNormForward(Tensor y_TD, Tensor inverse_rms_T,
                                const Tensor& x_TD, const Tensor& w_D,
                                float epsilon) {
  const int64_t D = x_TD.dim(1);
  const float* w = w_D.data<float>();
  const float* all_x = x_TD.data<float>();
  float* inverse_rms = inverse_rms_T.data<float>();
  DispatchDType(y_TD.dtype(), [&]<typename T>() {
    T* all_y = y_TD.data<T>();
    ParallelFor(*this, x_TD.dim(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const float* x = all_x + t * D;
        const float mean = SumOfSquaresOfRow(x, D) / static_cast<float>(D);
        inverse_rms[t] = 1 / std::sqrt(mean + epsilon);
        ForwardRow(all_y + t * D, x, w, inverse_rms[t], D);
      }
    });
  });
}

void CpuKernels::RmsNormBackward(Tensor d_x_TD, Tensor d_w_D,
                                 const Tensor& d_y_TD, const Tensor& x_TD,
                                 const Tensor& w_D,
                                 const Tensor& inverse_rms_T) {
  const int64_t D = x_TD.dim(1);
  const float* x = x_TD.data<float>();
  const float* w = w_D.data<float>();
  const float* inverse_rms = inverse_rms_T.data<float>();
  float* d_x = d_x_TD.data<float>();
  // Each thread sums d_w of its own tokens; the sums are added in the order of
  // the threads.
  const ThreadScratch sums =
      ReserveThreadScratch(D * static_cast<int64_t>(sizeof(float)));
  if (sums.is_null()) return;
  for (int thread = 0; thread < threads(); ++thread)
    std::fill_n(sums.Get<float>(thread), D, 0.0f);
  DispatchDType(d_y_TD.dtype(), [&]<typename T>() {
    const T* d_y = d_y_TD.data<T>();
    ParallelFor(*this, x_TD.dim(0), kGrain,
                [&](int64_t begin, int64_t end, int thread) {
                  for (int64_t t = begin; t < end; ++t)
                    BackwardRow(d_x + t * D, sums.Get<float>(thread),
                                d_y + t * D, x + t * D, w, inverse_rms[t], D);
                });
  });
  if (d_w_D.is_null()) return;  // of a frozen norm
  float* d_w = d_w_D.data<float>();
  for (int thread = 0; thread < threads(); ++thread) {
    const float* sum = sums.Get<float>(thread);
    for (int64_t i = 0; i < D; ++i) d_w[i] += sum[i];
  }
}

}  // namespace moe::cpu
