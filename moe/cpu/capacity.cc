#include <algorithm>
#include <cstdint>

#include "moe/cpu/cpu_kernels.h"
#include "moe/kernels.h"

// Letters: S tokens in sequences of L, T of them this rank's, E experts, K
// experts per token.

namespace moe::cpu {
namespace {

constexpr int64_t kGrain = 4096;  // choices a thread is worth waking for

// Choices of one sequence sorted by expert, in token order: those of expert e
// are choices[begins[e]] up to choices[begins[e + 1]].
void SortByExpert(int32_t* choices, int64_t* begins, const int32_t* expert_ids,
                  int64_t num_choices, int64_t E) {
  // A counting sort: begins[e + 1] holds the next place of expert e meanwhile.
  std::fill_n(begins, E + 2, 0);
  for (int64_t n = 0; n < num_choices; ++n) ++begins[expert_ids[n] + 2];
  for (int64_t e = 0; e < E; ++e) begins[e + 2] += begins[e + 1];
  for (int64_t n = 0; n < num_choices; ++n)
    choices[begins[expert_ids[n] + 1]++] = static_cast<int32_t>(n);
}

// A total order of a sequence's choices, whatever the values.
struct MoreProbable {
  const float* p;
  bool operator()(int32_t a, int32_t b) const {
    const float p_a = p[a] >= 0 ? p[a] : -1;
    const float p_b = p[b] >= 0 ? p[b] : -1;
    return p_a > p_b || (p_a == p_b && a < b);
  }
};

}  // namespace

void CpuKernels::ChosenProbabilities(Tensor chosen_TK,
                                     const Tensor& probabilities_TE,
                                     const Tensor& expert_ids_TK) {
  const int64_t E = probabilities_TE.dim(1);
  const int64_t K = expert_ids_TK.dim(1);
  const float* probabilities = probabilities_TE.data<float>();
  const int32_t* expert_ids = expert_ids_TK.data<int32_t>();
  float* chosen = chosen_TK.data<float>();
  ParallelFor(*this, expert_ids_TK.size(), kGrain,
              [&](int64_t begin, int64_t end) {
                for (int64_t n = begin; n < end; ++n)
                  chosen[n] = probabilities[n / K * E + expert_ids[n]];
              });
}

void CpuKernels::ApplyCapacity(Tensor kept_ids_TK, const Tensor& expert_ids_SK,
                               const Tensor& chosen_SK,
                               const CapacityOptions& options) {
  const int64_t E = options.num_experts;
  const int64_t num_choices = options.length * expert_ids_SK.dim(1);
  const int64_t first = options.first_token * expert_ids_SK.dim(1);
  const int64_t end = first + kept_ids_TK.size();  // this rank's choices
  if (first == end) return;
  const ThreadScratch scratch =
      ReserveThreadScratch((E + 2) * static_cast<int64_t>(sizeof(int64_t)) +
                           num_choices * static_cast<int64_t>(sizeof(int32_t)));
  if (scratch.is_null()) return;
  const int32_t* expert_ids = expert_ids_SK.data<int32_t>();
  int32_t* kept_ids = kept_ids_TK.data<int32_t>();
  std::copy(expert_ids + first, expert_ids + end, kept_ids);

  const auto drop_in_sequence = [&](int64_t b, int thread) {
    int64_t* begins = scratch.Get<int64_t>(thread);
    int32_t* choices = reinterpret_cast<int32_t*>(begins + E + 2);
    const int64_t start = b * num_choices;
    SortByExpert(choices, begins, expert_ids + start, num_choices, E);
    for (int64_t e = 0; e < E; ++e) {
      if (begins[e + 1] - begins[e] <= options.capacity) continue;
      int32_t* dropped = choices + begins[e] + options.capacity;
      int32_t* dropped_end = choices + begins[e + 1];
      if (!chosen_SK.is_null()) {
        std::nth_element(choices + begins[e], dropped, dropped_end,
                         MoreProbable{chosen_SK.data<float>() + start});
      }
      for (; dropped < dropped_end; ++dropped) {
        const int64_t n = start + *dropped;
        if (n >= first && n < end) kept_ids[n - first] = -1;
      }
    }
  };
  const int64_t first_sequence = first / num_choices;
  ParallelFor(*this, (end - 1) / num_choices + 1 - first_sequence,
              [&](int64_t from, int64_t to, int thread) {
                for (int64_t i = from; i < to; ++i)
                  drop_in_sequence(first_sequence + i, thread);
              });
}

}  // namespace moe::cpu
