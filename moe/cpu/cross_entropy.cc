#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "comm/check.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/kernel_context.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: T tokens, V vocabulary.

namespace moe {
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

// Sum of e[v] = exp(z[v] - largest); e may be null or z itself.
double ExpAndSum(float* e, const float* z, int64_t V, float largest) {
  double sum = 0;
  for (int64_t begin = 0; begin < V; begin += kBlock) {
    Float8 block_sum = {};
    ForEachVector(
        std::min(kBlock, V - begin), [&](int64_t offset, int64_t lanes) {
          const int64_t v = begin + offset;
          const Float8 power = Exp(Load(z + v, lanes, kLowest) - largest);
          block_sum += power;
          if (e != nullptr) Store(e + v, power, lanes);
        });
    sum += Sum(block_sum);
  }
  return sum;
}

// d = (e / sum - onehot(target)) scale; d may be e itself.
template <typename T>
void Gradient(T* d, const float* e, int64_t V, double sum, int64_t target,
              float scale) {
  const double factor = scale / sum;
  const float at_target =
      static_cast<float>(e[target] * factor - double{scale});
  ForEachVector(V, [&](int64_t v, int64_t lanes) {
    Store(d + v, Load(e + v, lanes) * static_cast<float>(factor), lanes);
  });
  d[target] = FromFloat<T>(at_target);
}

// The loss of one token. `e` holds V floats of scratch, or is d itself.
template <typename T>
double TokenLoss(T* d, float* e, const float* z, int64_t V, int64_t target,
                 float scale) {
  const float z_target = z[target];  // d may be z
  const float largest = Largest(z, V);
  const double sum = ExpAndSum(d == nullptr ? nullptr : e, z, V, largest);
  if (d != nullptr) Gradient(d, e, V, sum, target, scale);
  return std::log(sum) + (double{largest} - double{z_target});
}

}  // namespace

void CrossEntropy(KernelContext& context, Tensor d_logits_TV, double* loss_sum,
                  const Tensor& logits_TV, const Tensor& targets_T,
                  float scale) {
  const int64_t T = logits_TV.dim(0);
  const int64_t V = logits_TV.dim(1);
  const float* z = logits_TV.data<float>();
  const int32_t* targets = targets_T.data<int32_t>();
  CHECK(targets_T.size() == T);
  if (T == 0) return;
  // Losses by token, in thread 0's piece, so that their sum is in order.
  const int64_t losses_bytes = T * SizeOf(DType::kFloat64);
  const ThreadScratch scratch =
      context.ReserveThreadScratch(losses_bytes + V * SizeOf(DType::kFloat32));
  if (scratch.is_null()) return;
  double* losses = scratch.Get<double>(0);
  DispatchDType(d_logits_TV.dtype(), [&]<typename D>() {
    D* d = d_logits_TV.data<D>();
    ParallelFor(context, T, [&](int64_t begin, int64_t end, int thread) {
      float* row = scratch.Get<float>(thread) + 2 * T;  // past the losses
      for (int64_t t = begin; t < end; ++t) {
        CHECK(targets[t] >= 0 && targets[t] < V);
        D* d_t = d == nullptr ? nullptr : d + t * V;
        float* e = row;
        if constexpr (std::is_same_v<D, float>) e = d_t;
        losses[t] = TokenLoss(d_t, e, z + t * V, V, targets[t], scale);
      }
    });
  });
  for (int64_t t = 0; t < T; ++t) *loss_sum += losses[t];
}

}  // namespace moe
