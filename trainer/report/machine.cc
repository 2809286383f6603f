#include "trainer/report/machine.h"

#include <immintrin.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "absl/time/time.h"
#include "comm/base/monotonic_time.h"

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

// The same with products of bfloat16 pairs.
__attribute__((target("avx512f,avx512bf16"))) float RunBFloat16() {
  const __m512bh factor = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.001f),  //
                                              _mm512_set1_ps(0.999f));
  __m512 sums[kSums];
  for (int i = 0; i < kSums; ++i)
    sums[i] = _mm512_set1_ps(1.0f + 0.1f * static_cast<float>(i));
  for (int n = 0; n < kIterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i)
      sums[i] = _mm512_dpbf16_ps(sums[i], factor, factor);
  }
  float total = 0;
  for (const __m512& sum : sums) total += sum[0];
  return total;
}

struct PeakLoop {
  float (*run)();
  double flops;  // of one run
};

PeakLoop WidestLoop(DType dtype) {
  constexpr double kSteps = double{kIterations} * kSums;
  if (dtype == DType::kBFloat16 && __builtin_cpu_supports("avx512bf16") != 0)
    return {RunBFloat16, kSteps * 2 * 32};
  if (__builtin_cpu_supports("avx512f") != 0) return {Run512, kSteps * 2 * 16};
  return {Run256, kSteps * 2 * 8};
}

// The number of kibibytes in a file's line "NAME:  1234 kB", in bytes; or 0.
int64_t BytesInLine(const char* path, const char* name) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return 0;
  const size_t length = std::strlen(name);
  char line[256];
  long long kibibytes = 0;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::strncmp(line, name, length) != 0 || line[length] != ':') continue;
    if (std::sscanf(line + length + 1, "%lld", &kibibytes) != 1) kibibytes = 0;
    break;
  }
  std::fclose(file);
  return int64_t{kibibytes} * 1024;
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

int64_t PeakResidentBytes() {
  return BytesInLine("/proc/self/status", "VmHWM");
}

void ForgetPeakResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/clear_refs", "w");
  if (file == nullptr) return;
  std::fputs("5", file);  // the peak alone; see proc(5)
  std::fclose(file);
}

int64_t AvailableBytes() {
  return BytesInLine("/proc/meminfo", "MemAvailable");
}

int64_t LastCacheBytes() {
  for (int level :
       {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE}) {
    const int64_t bytes = sysconf(level);
    if (bytes > 0) return bytes;
  }
  return int64_t{32} << 20;
}

double PeakFlopsPerCore(DType dtype) {
  const PeakLoop loop = WidestLoop(dtype);
  absl::Duration best = absl::InfiniteDuration();
  volatile float keep = 0;
  for (int run = 0; run < kRuns; ++run) {
    const absl::Duration begin = MonotonicTime();
    keep = loop.run();
    best = std::min(best, MonotonicTime() - begin);
  }
  static_cast<void>(keep);
  return loop.flops / absl::ToDoubleSeconds(best);
}

}  // namespace moe
