#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "comm/base/check.h"
#include "comm/base/round_up.h"
#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/round_row.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

namespace moe::cpu {
namespace {

// Elements below which a loop over memory is not worth a second thread.
constexpr int64_t kGrain = 16384;

// Sums and searches work on blocks of this size, so that what a block yields
// does not depend on the number of threads.
constexpr int64_t kBlock = 16384;

void ConvertRow(BFloat16* y, const float* x, int64_t n) { RoundRow(y, x, n); }
void ConvertRow(float* y, const BFloat16* x, int64_t n) {
  ForEachVector(n, [=](int64_t i, int64_t lanes) {
    Store(y + i, Load(x + i, lanes), lanes);
  });
}

template <typename To, typename From>
void ConvertElements(CpuKernels& kernels, Tensor y, const Tensor& x) {
  To* to = y.data<To>();
  const From* from = x.data<From>();
  ParallelFor(kernels, x.size(), kGrain, [=](int64_t begin, int64_t end) {
    ConvertRow(to + begin, from + begin, end - begin);
  });
}

void Copy(CpuKernels& kernels, Tensor y, const Tensor& x) {
  char* to = static_cast<char*>(y.raw());
  const char* from = static_cast<const char*>(x.raw());
  const int64_t num_bytes = x.size() * SizeOf(x.dtype());
  ParallelFor(kernels, num_bytes, kGrain * 4, [=](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

double BlockSumOfSquares(const float* x, int64_t n) {
  // Four accumulators hide the latency of an addition.
  Double4 sums[4] = {};
  ForEachVector(n, [&](int64_t i, int64_t lanes) {
    const Float8 v = Load(x + i, lanes);
    const Double4 low = LowDoubles(v);
    const Double4 high = HighDoubles(v);
    const int64_t pair = i / kLanes % 2 * 2;
    sums[pair] += low * low;
    sums[pair + 1] += high * high;
  });
  return Sum((sums[0] + sums[2]) + (sums[1] + sums[3]));
}

// The exponent's bits are all ones for infinities and NaN only.
bool AnyNonFinite(const float* x, int64_t n) {
  uint32_t found = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    found |= static_cast<uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
  }
  return found != 0;
}
bool AnyNonFinite(const BFloat16* x, int64_t n) {
  uint32_t found = 0;
  for (int64_t i = 0; i < n; ++i)
    found |= static_cast<uint32_t>((x[i].bits & 0x7f80u) == 0x7f80u);
  return found != 0;
}

template <typename T>
int64_t FirstNonFiniteOf(CpuKernels& kernels, const T* x, int64_t n) {
  const int64_t num_blocks = CeilDiv(n, kBlock);
  std::atomic<int64_t> first_block = num_blocks;
  ParallelFor(kernels, num_blocks, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t start = block * kBlock;
      if (!AnyNonFinite(x + start, std::min(kBlock, n - start))) continue;
      int64_t seen = first_block;
      while (block < seen && !first_block.compare_exchange_weak(seen, block)) {
      }
      return;
    }
  });
  for (int64_t i = first_block * kBlock; i < n; ++i) {
    if (!std::isfinite(ToFloat(x[i]))) return i;
  }
  return -1;
}

}  // namespace

void CpuKernels::Convert(Tensor y, const Tensor& x) {
  CHECK(y.size() == x.size());
  if (y.dtype() == x.dtype()) return Copy(*this, y, x);
  if (y.dtype() == DType::kBFloat16) {
    ConvertElements<BFloat16, float>(*this, y, x);
  } else {
    ConvertElements<float, BFloat16>(*this, y, x);
  }
}

void CpuKernels::Add(Tensor y, const Tensor& x) {
  CHECK(y.size() == x.size());
  float* sum = y.data<float>();
  const float* summand = x.data<float>();
  ParallelFor(*this, x.size(), kGrain, [=](int64_t begin, int64_t end) {
    ForEachVector(end - begin, [=](int64_t i, int64_t lanes) {
      float* place = sum + begin + i;
      Store(place, Load(place, lanes) + Load(summand + begin + i, lanes),
            lanes);
    });
  });
}

void CpuKernels::SetZero(Tensor x) {
  char* bytes = static_cast<char*>(x.raw());
  ParallelFor(*this, x.size() * SizeOf(x.dtype()), kGrain * 4,
              [=](int64_t begin, int64_t end) {
                std::memset(bytes + begin, 0, static_cast<size_t>(end - begin));
              });
}

void CpuKernels::SumOfSquares(Tensor sum_1, const Tensor& x) {
  const float* data = x.data<float>();
  const int64_t n = x.size();
  // At most kMaxParts sums are kept, each of whole blocks in their order.
  constexpr int64_t kMaxParts = 256;
  const int64_t num_blocks = CeilDiv(n, kBlock);
  const int64_t num_parts = std::min(num_blocks, kMaxParts);
  double sums[kMaxParts];
  ParallelFor(*this, num_parts, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      double sum = 0;
      const int64_t end_block = num_blocks * (part + 1) / num_parts;
      for (int64_t block = num_blocks * part / num_parts; block < end_block;
           ++block) {
        const int64_t start = block * kBlock;
        sum += BlockSumOfSquares(data + start, std::min(kBlock, n - start));
      }
      sums[part] = sum;
    }
  });
  double total = 0;
  for (int64_t part = 0; part < num_parts; ++part) total += sums[part];
  *sum_1.data<double>() = total;
}

int64_t CpuKernels::FirstNonFinite(const Tensor& x) {
  int64_t first = -1;
  DispatchDType(x.dtype(), [&]<typename T>() {
    first = FirstNonFiniteOf(*this, x.data<T>(), x.size());
  });
  return first;
}

}  // namespace moe::cpu
