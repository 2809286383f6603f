#ifndef TESTS_MOE_ATTENTION_CASE_H_
#define TESTS_MOE_ATTENTION_CASE_H_

#include <cmath>
#include <cstdint>
#include <ostream>
#include <vector>

#include "tests/moe/kernel_test_util.h"

namespace moe {

// Letters: B sequences of L tokens, T = B L, H heads, G key/value heads, d head
// width, A = H d, C = (H + 2 G) d.

struct AttentionCase {
  const char* name;
  int64_t sequences;
  AttentionShape shape;
  DType dtype;
  // Lengths of the documents, one sequence after another; empty: each sequence
  // is one document.
  std::vector<int64_t> documents = {};
};

// As GoogleTest prints a parameter.
inline void PrintTo(const AttentionCase& c, std::ostream* out) {
  *out << c.name;
}

// Each token's index in its document.
inline std::vector<int32_t> Positions(const AttentionCase& c) {
  std::vector<int32_t> positions;
  for (int64_t length : c.documents) {
    for (int64_t i = 0; i < length; ++i)
      positions.push_back(static_cast<int32_t>(i));
  }
  return positions;
}

// Causal attention by its definition, one score at a time.
class AttentionReference {
 public:
  explicit AttentionReference(const AttentionCase& c)
      : sequences_(c.sequences), s_(c.shape) {
    const std::vector<int64_t> sequences(static_cast<size_t>(c.sequences),
                                         c.shape.length);
    for (int64_t length : c.documents.empty() ? sequences : c.documents)
      begins_.insert(begins_.end(), static_cast<size_t>(length),
                     static_cast<int64_t>(begins_.size()));
    CHECK(static_cast<int64_t>(begins_.size()) == c.sequences * s_.length);
  }

  // y[t, head d + i]; log_sum_exp[head, t] too, unless null.
  std::vector<double> Forward(const std::vector<double>& qkv,
                              std::vector<double>* log_sum_exp) const {
    const int64_t T = sequences_ * s_.length;
    std::vector<double> y(static_cast<size_t>(T * s_.heads * s_.head_dim));
    if (log_sum_exp != nullptr)
      log_sum_exp->assign(static_cast<size_t>(T * s_.heads), 0.0);
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t head = 0; head < s_.heads; ++head) {
        const double lse = Row(qkv, t, head, y);
        if (log_sum_exp != nullptr)
          (*log_sum_exp)[static_cast<size_t>(head * T + t)] = lse;
      }
    }
    return y;
  }

 private:
  double At(const std::vector<double>& qkv, int64_t t, int64_t head,
            int64_t i) const {
    const int64_t C = (s_.heads + 2 * s_.kv_heads) * s_.head_dim;
    return qkv[static_cast<size_t>(t * C + head * s_.head_dim + i)];
  }

  double Row(const std::vector<double>& qkv, int64_t t, int64_t head,
             std::vector<double>& y) const {
    const int64_t d = s_.head_dim;
    const int64_t key = s_.heads + head * s_.kv_heads / s_.heads;
    const int64_t value = key + s_.kv_heads;
    const int64_t begin = begins_[static_cast<size_t>(t)];
    std::vector<double> scores;
    double largest = -1e300;
    for (int64_t other = begin; other <= t; ++other) {
      double score = 0;
      for (int64_t i = 0; i < d; ++i)
        score += At(qkv, t, head, i) * At(qkv, other, key, i);
      scores.push_back(score / std::sqrt(static_cast<double>(d)));
      largest = std::max(largest, scores.back());
    }
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - largest);
    for (int64_t i = 0; i < d; ++i) {
      double& y_i = y[static_cast<size_t>((t * s_.heads + head) * d + i)];
      for (size_t j = 0; j < scores.size(); ++j) {
        y_i += scores[j] / sum *
               At(qkv, begin + static_cast<int64_t>(j), value, i);
      }
    }
    return largest + std::log(sum);
  }

  int64_t sequences_;
  AttentionShape s_;
  std::vector<int64_t> begins_;  // of each token's document
};

// The kernel's results on random inputs of a case.
struct Attended {
  Attended(const AttentionCase& c, int threads, float deviation = 1)
      : shape(c.shape),
        T(c.sequences * c.shape.length),
        A(c.shape.heads * c.shape.head_dim),
        C((c.shape.heads + 2 * c.shape.kv_heads) * c.shape.head_dim),
        qkv(RandomTensor({T, C}, c.dtype, 1, deviation)),
        d_y(RandomTensor({T, A}, c.dtype, 2)),
        y({T, A}, c.dtype),
        log_sum_exp({c.shape.heads, T}, DType::kFloat32),
        d_qkv({T, C}, c.dtype),
        positions(Positions(c)),
        context(MakeCpuKernels(threads)) {
    d_qkv.Fill(123);  // is overwritten
    Repeat();
  }

  void Repeat() {
    const Tensor positions_T =
        positions.empty() ? Tensor()
                          : Tensor(positions.data(), {T}, DType::kInt32);
    context->AttentionForward(y, log_sum_exp, qkv, positions_T, shape);
    context->AttentionBackward(d_qkv, d_y, qkv, y, log_sum_exp, positions_T,
                               shape);
    EXPECT_TRUE(context->status().ok());
  }

  AttentionShape shape;
  int64_t T, A, C;
  TestTensor qkv, d_y, y, log_sum_exp, d_qkv;
  std::vector<int32_t> positions;  // empty: none
  std::unique_ptr<Kernels> context;
};

}  // namespace moe

#endif  // TESTS_MOE_ATTENTION_CASE_H_
