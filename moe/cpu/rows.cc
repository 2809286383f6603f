#include <algorithm>
#include <cstdint>

#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: T tokens, K experts per token, N rows, D elements of a row.

namespace moe::cpu {
namespace {

// y (+)= the sum of K rows of x, which stand at index_K, or nowhere.
template <bool kAccumulate, typename Y, typename X>
void SumRow(Y* y_D, const X* x, const int32_t* index_K, int64_t K, int64_t D) {
  ForEachVector(D, [&](int64_t i, int64_t lanes) {
    Float8 sum = {};
    if constexpr (kAccumulate) sum = Load(y_D + i, lanes);
    for (int64_t k = 0; k < K; ++k) {
      if (index_K[k] >= 0) sum += Load(x + index_K[k] * D + i, lanes);
    }
    Store(y_D + i, sum, lanes);
  });
}

}  // namespace

void CpuKernels::SumRows(Tensor y_TD, const Tensor& x_ND,
                         const Tensor& index_TK, bool accumulate) {
  if (y_TD.size() == 0) return;
  const int64_t D = y_TD.dim(1);
  const int64_t K = index_TK.dim(1);
  const int32_t* index = index_TK.data<int32_t>();
  const auto sum_rows = [&]<typename Y, typename X>(Y* y, const X* x) {
    ParallelFor(*this, y_TD.dim(0),
                RowsForAThread(K * D * SizeOf(DTypeOf<X>())),
                [&](int64_t begin, int64_t end) {
                  for (int64_t t = begin; t < end; ++t) {
                    if (accumulate) {
                      SumRow<true>(y + t * D, x, index + t * K, K, D);
                    } else {
                      SumRow<false>(y + t * D, x, index + t * K, K, D);
                    }
                  }
                });
  };
  DispatchDType(y_TD.dtype(), [&]<typename Y>() {
    DispatchDType(x_ND.dtype(), [&]<typename X>() {
      sum_rows(y_TD.data<Y>(), x_ND.data<X>());
    });
  });
}

}  // namespace moe::cpu
