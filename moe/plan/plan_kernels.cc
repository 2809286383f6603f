#include "moe/plan/plan_kernels.h"

#include <cstddef>
#include <utility>
#include <vector>

namespace moe {

void PlanKernels::ChoicesOfChunk(Tensor chunk_ids_TK, const Tensor&,
                                 const Tensor&, const ChunkOptions&) {
  chunk_ids_ = chunk_ids_TK.raw();
}

// A chunk's counts follow from those of the whole: nobody copies them.
void PlanKernels::SortChoices(Tensor, Tensor, Tensor, Tensor counts_E,
                              const Tensor& expert_ids_TK) {
  const bool is_chunk =
      chunk_ids_ != nullptr && chunk_ids_ == expert_ids_TK.raw();
  chunk_ids_ = nullptr;
  if (is_chunk) return;
  std::vector<int64_t> counts(static_cast<size_t>(counts_E.size()));
  load_.Leaving(expert_ids_TK.dim(0), absl::MakeSpan(counts));
  context_.Show(counts_E.raw(), std::move(counts));
}

}  // namespace moe
