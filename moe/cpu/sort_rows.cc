#include <algorithm>
#include <cstdint>
#include <vector>

#include "moe/cpu/cpu_kernels.h"
#include "moe/kernels.h"

// Letters: T tokens, K experts per token, N rows leaving, E experts, P ranks, e
// experts of this rank, R rows arrived.

namespace moe::cpu {

void CpuKernels::SortChoices(Tensor choice_of_row_N, Tensor token_of_row_N,
                             Tensor row_of_choice_TK, Tensor counts_E,
                             const Tensor& expert_ids_TK) {
  const int32_t* expert_ids = expert_ids_TK.data<int32_t>();
  int32_t* choice_of_row = choice_of_row_N.data<int32_t>();
  int32_t* token_of_row = token_of_row_N.data<int32_t>();
  int32_t* row_of_choice = row_of_choice_TK.data<int32_t>();
  int64_t* counts = counts_E.data<int64_t>();
  const int64_t E = counts_E.size();
  const int64_t num_choices = expert_ids_TK.size();
  std::fill_n(counts, E, 0);
  for (int64_t n = 0; n < num_choices; ++n) {
    if (expert_ids[n] >= 0) ++counts[expert_ids[n]];
  }
  // A counting sort: it is stable, so tokens stay in order, and a token chooses
  // an expert at most once. `counts` holds each expert's next row meanwhile.
  int64_t num_rows = 0;
  for (int64_t expert = 0; expert < E; ++expert) {
    const int64_t count_of_expert = counts[expert];
    counts[expert] = num_rows;
    num_rows += count_of_expert;
  }
  for (int64_t n = 0; n < num_choices; ++n) {
    if (expert_ids[n] < 0) {
      row_of_choice[n] = -1;
      continue;
    }
    const int64_t row = counts[expert_ids[n]]++;
    row_of_choice[n] = static_cast<int32_t>(row);
    choice_of_row[row] = static_cast<int32_t>(n);
  }
  for (int64_t expert = E; expert-- > 1;) counts[expert] -= counts[expert - 1];

  std::fill(choice_of_row + num_rows, choice_of_row + num_choices, -1);
  std::fill(token_of_row + num_rows, token_of_row + num_choices, -1);
  const int32_t K = static_cast<int32_t>(expert_ids_TK.dim(1));
  constexpr int64_t kGrain = 8192;  // rows a thread is worth waking for
  ParallelFor(*this, num_rows, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n)
      token_of_row[n] = choice_of_row[n] / K;
  });
}

void CpuKernels::ChoicesOfChunk(Tensor chunk_ids_TK,
                                const Tensor& expert_ids_TK,
                                const Tensor& row_of_choice_TK,
                                const ChunkOptions& options) {
  const int32_t* expert_ids = expert_ids_TK.data<int32_t>();
  const int32_t* row_of_choice = row_of_choice_TK.data<int32_t>();
  int32_t* chunk_ids = chunk_ids_TK.data<int32_t>();
  // Of each row, whether it belongs to the chunk.
  std::vector<bool> in_chunk;
  for (int64_t rows : options.rows_P) {
    const int64_t begin = rows * options.chunk / options.num_chunks;
    const int64_t end = rows * (options.chunk + 1) / options.num_chunks;
    for (int64_t row = 0; row < rows; ++row)
      in_chunk.push_back(begin <= row && row < end);
  }
  for (int64_t n = 0; n < expert_ids_TK.size(); ++n) {
    const int32_t row = row_of_choice[n];
    const bool is_in = row >= 0 && in_chunk[static_cast<size_t>(row)];
    chunk_ids[n] = is_in ? expert_ids[n] : -1;
  }
}

void CpuKernels::OrderArrivals(Tensor arrival_of_row_R, Tensor row_of_arrival_R,
                               absl::Span<const int64_t> counts_Pe,
                               int64_t num_local_experts) {
  int32_t* arrival_of_row = arrival_of_row_R.data<int32_t>();
  int32_t* row_of_arrival = row_of_arrival_R.data<int32_t>();
  const int64_t e = num_local_experts;
  const ThreadScratch scratch =
      ReserveThreadScratch(e * static_cast<int64_t>(sizeof(int64_t)));
  if (scratch.is_null()) return;
  // Each expert's next row: sources come in order, so they stay in order.
  int64_t* next_row_e = scratch.Get<int64_t>(0);
  int64_t begin = 0;
  for (int64_t expert = 0; expert < e; ++expert) {
    next_row_e[expert] = begin;
    for (size_t i = static_cast<size_t>(expert); i < counts_Pe.size();
         i += static_cast<size_t>(e))
      begin += counts_Pe[i];
  }
  int64_t arrival = 0;
  for (size_t i = 0; i < counts_Pe.size(); ++i) {
    int64_t& row = next_row_e[static_cast<int64_t>(i) % e];
    for (int64_t j = 0; j < counts_Pe[i]; ++j, ++row, ++arrival) {
      arrival_of_row[row] = static_cast<int32_t>(arrival);
      row_of_arrival[arrival] = static_cast<int32_t>(row);
    }
  }
}

}  // namespace moe::cpu
