#include <algorithm>
#include <cmath>
#include <cstdint>

#include "comm/base/check.h"
#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/round_row.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

namespace moe::cpu {
namespace {

// Below this a second thread is not worth its start.
constexpr int64_t kGrain = 16384;

// What is the same for all elements of an update, worked out in double.
struct Factors {
  float gradient_scale;
  float beta1;
  float beta2;
  float fresh1;        // 1 - beta1
  float fresh2;        // 1 - beta2
  float decay;         // 1 - learning_rate weight_decay
  float step;          // learning_rate / (1 - beta1^update)
  float inverse_root;  // 1 / sqrt(1 - beta2^update)
  float epsilon;
};

Factors MakeFactors(const AdamWOptions& options) {
  const double update = static_cast<double>(options.update);
  const double rate = options.learning_rate;
  const auto single = [](double x) { return static_cast<float>(x); };
  return {.gradient_scale = single(options.gradient_scale),
          .beta1 = single(options.beta1),
          .beta2 = single(options.beta2),
          .fresh1 = single(1 - options.beta1),
          .fresh2 = single(1 - options.beta2),
          .decay = single(1 - rate * options.weight_decay),
          .step = single(rate / (1 - std::pow(options.beta1, update))),
          .inverse_root =
              single(1 / std::sqrt(1 - std::pow(options.beta2, update))),
          .epsilon = single(options.epsilon)};
}

struct Elements {
  float* weights;
  float* m;
  float* v;
  const float* gradient;
};

void UpdateElements(const Elements& e, int64_t begin, int64_t end,
                    const Factors& f) {
  ForEachVector(end - begin, [&](int64_t offset, int64_t lanes) {
    const int64_t i = begin + offset;
    const Float8 g = Load(e.gradient + i, lanes) * f.gradient_scale;
    const Float8 m = f.beta1 * Load(e.m + i, lanes) + f.fresh1 * g;
    const Float8 v = f.beta2 * Load(e.v + i, lanes) + f.fresh2 * (g * g);
    const Float8 root = Sqrt(v) * f.inverse_root + f.epsilon;
    const Float8 w = Load(e.weights + i, lanes) * f.decay - f.step * m / root;
    Store(e.m + i, m, lanes);
    Store(e.v + i, v, lanes);
    Store(e.weights + i, w, lanes);
  });
}

// The copy is rounded piece by piece, from weights that are still in the first
// cache.
void UpdateAndCopy(const Elements& e, BFloat16* copy, int64_t begin,
                   int64_t end, const Factors& f) {
  constexpr int64_t kPiece = 1024;
  for (int64_t i = begin; i < end; i += kPiece) {
    const int64_t piece_end = std::min(end, i + kPiece);
    UpdateElements(e, i, piece_end, f);
    RoundRow(copy + i, e.weights + i, piece_end - i);
  }
}

}  // namespace

void CpuKernels::AdamW(Tensor weights, Tensor m, Tensor v, Tensor weights_copy,
                       const Tensor& gradient, const AdamWOptions& options) {
  const int64_t n = weights.size();
  CHECK(m.size() == n && v.size() == n && gradient.size() == n);
  CHECK(options.update >= 1);
  const Elements elements{weights.data<float>(), m.data<float>(),
                          v.data<float>(), gradient.data<float>()};
  const Factors factors = MakeFactors(options);
  const bool has_copy = !weights_copy.is_null();
  CHECK(!has_copy || weights_copy.size() == n);
  BFloat16* copy = has_copy ? weights_copy.data<BFloat16>() : nullptr;
  ParallelFor(*this, n, kGrain, [&](int64_t begin, int64_t end) {
    if (has_copy) {
      UpdateAndCopy(elements, copy, begin, end, factors);
    } else {
      UpdateElements(elements, begin, end, factors);
    }
  });
}

}  // namespace moe::cpu
