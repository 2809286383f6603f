#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: T tokens in B sequences, E experts, K experts per token.
//
// A logit that is not a number makes its token's probabilities not a number,
// which the loss shows; expert ids stay in range whatever the values.

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 64;  // tokens a thread is worth waking for

// p = softmax(logits); returns log sum exp(logits).
float Softmax(float* p_E, const float* logits_E, int64_t E) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  Float8 largest8 = Splat(kNone);
  ForEachVector(E, [&](int64_t i, int64_t lanes) {
    largest8 = Max(largest8, Load(logits_E + i, lanes, kNone));
  });
  const float largest = MaxLane(largest8);
  Float8 sum8 = {};
  ForEachVector(E, [&](int64_t i, int64_t lanes) {
    const Float8 p = Exp(Load(logits_E + i, lanes, kNone) - largest);
    sum8 += p;
    Store(p_E + i, p, lanes);
  });
  const float sum = Sum(sum8);
  ForEachVector(E, [&](int64_t i, int64_t lanes) {
    Store(p_E + i, Load(p_E + i, lanes) / sum, lanes);
  });
  return largest + std::log(sum);
}

// The K largest of p in falling order, by insertion: an expert goes before
// those that are strictly less, so that ties stay in the order of the experts.
void TopK(int32_t* ids_K, float* largest_K, int64_t K, const float* p_E,
          int64_t E) {
  int64_t size = 0;
  for (int64_t e = 0; e < E; ++e) {
    if (size == K && !(p_E[e] > largest_K[K - 1])) continue;
    int64_t place = size < K ? size++ : K - 1;
    for (; place > 0 && p_E[e] > largest_K[place - 1]; --place) {
      largest_K[place] = largest_K[place - 1];
      ids_K[place] = ids_K[place - 1];
    }
    largest_K[place] = p_E[e];
    ids_K[place] = static_cast<int32_t>(e);
  }
}

// Token t's turn in a round that gives every expert equally many.
void BalancedChoice(int32_t* ids_K, float* weights_K, int64_t K,
                    const float* p_E, int64_t E, int64_t t) {
  for (int64_t k = 0; k < K; ++k) {
    ids_K[k] = static_cast<int32_t>((t * K + k) % E);
    weights_K[k] = p_E[ids_K[k]];
  }
}

void Renormalize(float* weights_K, int64_t K) {
  float sum = 0;
  for (int64_t k = 0; k < K; ++k) sum += weights_K[k];
  // Balanced choices may all have vanishing probabilities.
  sum = std::max(sum, std::numeric_limits<float>::min());
  for (int64_t k = 0; k < K; ++k) weights_K[k] /= sum;
}

// One token's tensors of RouterBackward.
struct TokenGradient {
  float* d_logits_E;
  const float* d_weights_K;
  const float* balance_E;
  const float* p_E;
  const int32_t* ids_K;
  const float* weights_K;

  // p (a - sum p a) is the derivative of sum p a through the softmax. For the
  // routing weights a is d_weights, at the chosen experts only; renormalising
  // is the softmax of the chosen logits alone, so there w and the sum over the
  // chosen take the place of p and the sum over all.
  void Compute(int64_t E, int64_t K, float d_log_sum_exp,
               bool renormalize) const {
    float weighted = 0;
    for (int64_t k = 0; k < K; ++k) weighted += weights_K[k] * d_weights_K[k];
    Float8 balance8 = {};
    ForEachVector(E, [&](int64_t i, int64_t lanes) {
      balance8 += Load(p_E + i, lanes) * Load(balance_E + i, lanes);
    });
    const float common =
        d_log_sum_exp - Sum(balance8) - (renormalize ? 0 : weighted);
    ForEachVector(E, [&](int64_t i, int64_t lanes) {
      Store(d_logits_E + i,
            Load(p_E + i, lanes) * (Load(balance_E + i, lanes) + common),
            lanes);
    });
    for (int64_t k = 0; k < K; ++k)
      d_logits_E[ids_K[k]] +=
          weights_K[k] * (d_weights_K[k] - (renormalize ? weighted : 0));
  }
};

}  // namespace

void CpuKernels::RouterTopK(Tensor probabilities_TE, Tensor expert_ids_TK,
                            Tensor weights_TK, Tensor log_sum_exp_T,
                            const Tensor& logits_TE,
                            const TopKOptions& options) {
  const int64_t E = logits_TE.dim(1);
  const int64_t K = options.num_experts_per_token;
  const float* logits = logits_TE.data<float>();
  float* probabilities = probabilities_TE.data<float>();
  int32_t* expert_ids = expert_ids_TK.data<int32_t>();
  float* weights = weights_TK.data<float>();
  float* log_sum_exp = log_sum_exp_T.data<float>();
  ParallelFor(*this, logits_TE.dim(0), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* p_E = probabilities + t * E;
      int32_t* ids_K = expert_ids + t * K;
      float* weights_K = weights + t * K;
      log_sum_exp[t] = Softmax(p_E, logits + t * E, E);
      if (options.force_balance) {
        BalancedChoice(ids_K, weights_K, K, p_E, E, t);
      } else {
        TopK(ids_K, weights_K, K, p_E, E);
      }
      if (options.renormalize) Renormalize(weights_K, K);
    }
  });
}

void CpuKernels::ExpertLoad(Tensor counts_BE, Tensor probability_sums_BE,
                            const Tensor& expert_ids_TK,
                            const Tensor& probabilities_TE, int64_t first_token,
                            int64_t length) {
  const int64_t T = expert_ids_TK.dim(0);
  const int64_t E = counts_BE.dim(1);
  const int64_t K = expert_ids_TK.dim(1);
  const int32_t* expert_ids = expert_ids_TK.data<int32_t>();
  const float* probabilities = probabilities_TE.data<float>();
  float* all_counts = counts_BE.data<float>();
  float* all_sums = probability_sums_BE.data<float>();
  ParallelFor(*this, counts_BE.dim(0), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* counts_E = all_counts + b * E;
      float* sums_E = all_sums + b * E;
      std::fill_n(counts_E, E, 0.0f);
      std::fill_n(sums_E, E, 0.0f);
      const int64_t from = std::max<int64_t>(b * length - first_token, 0);
      const int64_t to = std::min((b + 1) * length - first_token, T);
      for (int64_t t = from; t < to; ++t) {
        for (int64_t k = 0; k < K; ++k) ++counts_E[expert_ids[t * K + k]];
        ForEachVector(E, [&](int64_t i, int64_t lanes) {
          Store(
              sums_E + i,
              Load(sums_E + i, lanes) + Load(probabilities + t * E + i, lanes),
              lanes);
        });
      }
    }
  });
}

void CpuKernels::SumOfFirstChoices(Tensor sum_1, const Tensor& probabilities_TE,
                                   const Tensor& expert_ids_TK) {
  const int64_t E = probabilities_TE.dim(1);
  const int64_t K = expert_ids_TK.dim(1);
  const float* probabilities = probabilities_TE.data<float>();
  const int32_t* expert_ids = expert_ids_TK.data<int32_t>();
  double sum = 0;
  for (int64_t t = 0; t < expert_ids_TK.dim(0); ++t)
    sum += probabilities[t * E + expert_ids[t * K]];
  *sum_1.data<double>() = sum;
}

void CpuKernels::RouterBackward(
    Tensor d_logits_TE, const Tensor& d_weights_TK, const Tensor& balance_BE,
    const Tensor& probabilities_TE, const Tensor& expert_ids_TK,
    const Tensor& weights_TK, const Tensor& log_sum_exp_T, float z_scale,
    int64_t first_token, int64_t length, bool renormalize) {
  const int64_t E = d_logits_TE.dim(1);
  const int64_t K = expert_ids_TK.dim(1);
  const TokenGradient first = {.d_logits_E = d_logits_TE.data<float>(),
                               .d_weights_K = d_weights_TK.data<float>(),
                               .balance_E = balance_BE.data<float>(),
                               .p_E = probabilities_TE.data<float>(),
                               .ids_K = expert_ids_TK.data<int32_t>(),
                               .weights_K = weights_TK.data<float>()};
  const float* log_sum_exp = log_sum_exp_T.data<float>();
  ParallelFor(
      *this, d_logits_TE.dim(0), kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const TokenGradient token = {
              .d_logits_E = first.d_logits_E + t * E,
              .d_weights_K = first.d_weights_K + t * K,
              .balance_E = first.balance_E + (first_token + t) / length * E,
              .p_E = first.p_E + t * E,
              .ids_K = first.ids_K + t * K,
              .weights_K = first.weights_K + t * K};
          token.Compute(E, K, 2 * z_scale * log_sum_exp[t], renormalize);
        }
      });
}

}  // namespace moe::cpu
