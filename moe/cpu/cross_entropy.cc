#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: T tokens, V vocabulary.

namespace moe::cpu {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

float Largest(const float* z, int64_t V) {
  Float8 largest0 = Splat(kLowest);
  Float8 largest1 = largest0;
  int64_t i = 0;
  for (; i + 2 * kLanes <= V; i += 2 * kLanes) {
    largest0 = Max(largest0, Load(z + i));
    largest1 = Max(largest1, Load(z + i + kLanes));
  }
  ForEachVector(V - i, [&](int64_t offset, int64_t lanes) {
    largest0 = Max(largest0, Load(z + i + offset, lanes, kLowest));
  });
  return MaxLane(Max(largest0, largest1));
}

// Float sums stay this short; longer ones go on in double.
constexpr int64_t kBlock = 1024;

// Sum of exp(z[v] - largest).
double SumOfExp(const float* z, int64_t V, float largest) {
  double sum = 0;
  for (int64_t begin = 0; begin < V; begin += kBlock) {
    Float8 block_sum = {};
    ForEachVector(
        std::min(kBlock, V - begin), [&](int64_t offset, int64_t lanes) {
          block_sum += Exp(Load(z + begin + offset, lanes, kLowest) - largest);
        });
    sum += Sum(block_sum);
  }
  return sum;
}

// A token's row of a statistics tensor.
struct Statistics {
  float largest;
  float sum;
  float at_target;
};
static_assert(sizeof(Statistics) == 3 * sizeof(float));

Statistics* StatisticsOf(const Tensor& statistics_T3) {
  return reinterpret_cast<Statistics*>(statistics_T3.data<float>());
}

// d = (exp(z - largest) / sum - onehot(target)) scale; d may be z itself.
// `target` is of this slice, or outside of it.
template <typename T>
void Gradient(T* d, const float* z, int64_t V, const Statistics& statistics,
              int64_t target, float scale) {
  const float factor = scale / statistics.sum;
  const auto without_target = [&](float z_v) {
    return std::exp(double{z_v} - double{statistics.largest}) * double{factor};
  };
  const bool has_target = target >= 0 && target < V;
  const double at_target = has_target ? without_target(z[target]) : 0;
  ForEachVector(V, [&](int64_t v, int64_t lanes) {
    Store(d + v, Exp(Load(z + v, lanes) - statistics.largest) * factor, lanes);
  });
  if (has_target)
    d[target] = FromFloat<T>(static_cast<float>(at_target - double{scale}));
}

}  // namespace

void CpuKernels::LogitStatistics(Tensor statistics_T3, const Tensor& logits_TV,
                                 const Tensor& targets_T, int64_t first_id) {
  const int64_t V = logits_TV.dim(1);
  const float* z = logits_TV.data<float>();
  const int32_t* targets = targets_T.data<int32_t>();
  Statistics* statistics = StatisticsOf(statistics_T3);
  ParallelFor(*this, logits_TV.dim(0), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* z_V = z + t * V;
      const int64_t target = targets[t] - first_id;
      const float largest = Largest(z_V, V);
      statistics[t] = {
          .largest = largest,
          .sum = static_cast<float>(SumOfExp(z_V, V, largest)),
          .at_target = target >= 0 && target < V ? z_V[target] : 0};
    }
  });
}

void CpuKernels::MergeLogitStatistics(Tensor statistics_T3,
                                      const Tensor& slices_PT3) {
  const int64_t P = slices_PT3.dim(0);
  const int64_t T = statistics_T3.dim(0);
  Statistics* merged = StatisticsOf(statistics_T3);
  const Statistics* slices = StatisticsOf(slices_PT3);
  constexpr int64_t kGrain = 256;  // tokens a thread is worth waking for
  ParallelFor(*this, T, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float largest = kLowest;
      for (int64_t p = 0; p < P; ++p)
        largest = std::max(largest, slices[p * T + t].largest);
      double sum = 0;
      float at_target = 0;
      for (int64_t p = 0; p < P; ++p) {
        const Statistics& slice = slices[p * T + t];
        sum += double{slice.sum} *
               std::exp(double{slice.largest} - double{largest});
        at_target += slice.at_target;
      }
      merged[t] = {.largest = largest,
                   .sum = static_cast<float>(sum),
                   .at_target = at_target};
    }
  });
}

void CpuKernels::CrossEntropyLoss(Tensor loss_1, const Tensor& statistics_T3,
                                  const Tensor& targets_T) {
  double* loss_sum = loss_1.data<double>();
  const Statistics* statistics = StatisticsOf(statistics_T3);
  const int32_t* targets = targets_T.data<int32_t>();
  for (int64_t t = 0; t < targets_T.size(); ++t) {
    if (targets[t] < 0) continue;
    const Statistics& s = statistics[t];
    *loss_sum +=
        std::log(double{s.sum}) + (double{s.largest} - double{s.at_target});
  }
}

void CpuKernels::CrossEntropyGradient(Tensor d_logits_TV,
                                      const Tensor& logits_TV,
                                      const Tensor& statistics_T3,
                                      const Tensor& targets_T, int64_t first_id,
                                      float scale) {
  const int64_t V = logits_TV.dim(1);
  const float* z = logits_TV.data<float>();
  const int32_t* targets = targets_T.data<int32_t>();
  const Statistics* statistics = StatisticsOf(statistics_T3);
  DispatchDType(d_logits_TV.dtype(), [&]<typename D>() {
    D* d = d_logits_TV.data<D>();
    ParallelFor(*this, logits_TV.dim(0), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        if (targets[t] < 0) {
          std::fill_n(d + t * V, V, FromFloat<D>(0));
          continue;
        }
        Gradient(d + t * V, z + t * V, V, statistics[t],
                 int64_t{targets[t]} - first_id, scale);
      }
    });
  });
}

}  // namespace moe::cpu
