#include <algorithm>
#include <cstdint>

#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: T tokens, V pieces of the vocabulary's slice, D model width.

namespace moe::cpu {

void CpuKernels::EmbeddingForward(Tensor x_TD, const Tensor& ids_T,
                                  const Tensor& w_VD, int64_t first_id) {
  const int64_t V = w_VD.dim(0);
  const int64_t D = x_TD.dim(1);
  const int32_t* ids = ids_T.data<int32_t>();
  float* x = x_TD.data<float>();
  constexpr int64_t kGrain = 16;  // tokens a thread is worth waking for
  DispatchDType(w_VD.dtype(), [&]<typename W>() {
    const W* w = w_VD.data<W>();
    ParallelFor(*this, x_TD.dim(0), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t v = ids[t] - first_id;
        if (v < 0 || v >= V) {
          std::fill_n(x + t * D, D, 0.0f);
          continue;
        }
        const W* row = w + v * D;
        ForEachVector(D, [&](int64_t i, int64_t lanes) {
          Store(x + t * D + i, Load(row + i, lanes), lanes);
        });
      }
    });
  });
}

// Tokens may share a row, so threads divide the columns: each row's additions
// happen in the order of the tokens.
void CpuKernels::EmbeddingBackward(Tensor d_w_VD, const Tensor& d_x_TD,
                                   const Tensor& ids_T, int64_t first_id) {
  const int64_t V = d_w_VD.dim(0);
  const int64_t T = d_x_TD.dim(0);
  const int64_t D = d_x_TD.dim(1);
  const int32_t* ids = ids_T.data<int32_t>();
  const float* d_x = d_x_TD.data<float>();
  float* d_w = d_w_VD.data<float>();
  constexpr int64_t kGrain = 64;  // columns
  ParallelFor(*this, D, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < T; ++t) {
      const int64_t v = ids[t] - first_id;
      if (v < 0 || v >= V) continue;
      float* d_row = d_w + v * D;
      ForEachVector(end - begin, [&](int64_t i, int64_t lanes) {
        const int64_t column = begin + i;
        Store(d_row + column,
              Load(d_row + column, lanes) + Load(d_x + t * D + column, lanes),
              lanes);
      });
    }
  });
}

}  // namespace moe::cpu
