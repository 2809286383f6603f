#include "trainer/machine.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace moe {
namespace {

constexpr int kRuns = 10;
constexpr int kIterations = 100000;
// Independent sums: enough to hide the latency of a fused multiply-add on
// every processor with two units of it.
constexpr int kSums = 12;

// kIterations x kSums multiply-adds of vectors that the compiler keeps in
// registers; the returned sum keeps the loop from being optimised away.
template <typename Vector>
inline __attribute__((always_inline)) float MultiplyAdd() {
  Vector sums[kSums];
  for (int i = 0; i < kSums; ++i)
    sums[i] = Vector{} + (1.0f + 0.1f * static_cast<float>(i));
  for (int n = 0; n < kIterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * 0.999f + 0.001f;
  }
  float total = 0;
  for (const Vector& sum : sums) total += sum[0];
  return total;
}

using Vector8 = float __attribute__((vector_size(32)));
using Vector16 = float __attribute__((vector_size(64)));

__attribute__((target("avx2,fma"), optimize("fp-contract=fast"))) float
Run256() {
  return MultiplyAdd<Vector8>();
}

__attribute__((target("avx512f,avx512vl,fma"),
               optimize("fp-contract=fast"))) float
Run512() {
  return MultiplyAdd<Vector16>();
}

}  // namespace

int64_t ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  long long total = 0;
  long long resident = 0;
  const int read = std::fscanf(file, "%lld %lld", &total, &resident);
  std::fclose(file);
  return read == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}

double PeakFlopsPerCore() {
  const bool wide = __builtin_cpu_supports("avx512f") != 0;
  const double flops = 2.0 * kIterations * kSums * (wide ? 16 : 8);
  absl::Duration best = absl::InfiniteDuration();
  volatile float keep = 0;
  for (int run = 0; run < kRuns; ++run) {
    const absl::Time begin = absl::Now();
    keep = wide ? Run512() : Run256();
    best = std::min(best, absl::Now() - begin);
  }
  static_cast<void>(keep);
  return flops / absl::ToDoubleSeconds(best);
}

}  // namespace moe
