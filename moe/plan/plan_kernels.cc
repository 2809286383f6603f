#include "moe/plan/plan_kernels.h"

#include <cstddef>
#include <utility>
#include <vector>

namespace moe {

void PlanKernels::ChoicesOfChunk(Tensor chunk_ids_TK, const Tensor&,
                                 const Tensor&, const ChunkOptions& options) {
  chunk_ids_ = chunk_ids_TK.raw();
  chunk_ = options.chunk;
  num_chunks_ = options.num_chunks;
}

// The counts are exchanged next, those of the same chunk.
void PlanKernels::SortChoices(Tensor, Tensor, Tensor, Tensor counts_E,
                              const Tensor& expert_ids_TK) {
  const bool is_chunk =
      chunk_ids_ != nullptr && chunk_ids_ == expert_ids_TK.raw();
  load_.SetChunk(is_chunk ? chunk_ : 0, is_chunk ? num_chunks_ : 1);
  chunk_ids_ = nullptr;
  std::vector<int64_t> counts(static_cast<size_t>(counts_E.size()));
  load_.Leaving(expert_ids_TK.dim(0), absl::MakeSpan(counts));
  context_.Show(counts_E.raw(), std::move(counts));
}

}  // namespace moe
