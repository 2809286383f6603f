#ifndef MOE_PLAN_PLAN_KERNELS_H_
#define MOE_PLAN_PLAN_KERNELS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "comm/plan_context.h"
#include "moe/kernels.h"
#include "moe/plan/plan_load.h"

namespace moe {

// The kernels of a plan: the network runs over them and nothing is computed.
// No tensor is touched; copies to the host show 0, but for the counts of rows,
// which are the load's.
class PlanKernels final : public Kernels {
 public:
  // Both outlive the kernels.
  PlanKernels(PlanContext& context, const PlanLoad& load)
      : context_(context), load_(load) {}

  DeviceContext& context() const override { return context_; }
  absl::Status status() const override { return absl::OkStatus(); }
  std::vector<std::string> MatMulImplementations() const override { return {}; }

  void LinearForward(Tensor, const Tensor&, const Tensor&, bool) override {}
  void LinearInputGradient(Tensor, const Tensor&, const Tensor&,
                           bool) override {}
  void LinearWeightGradient(Tensor, const Tensor&, const Tensor&) override {}
  void GroupedLinearForward(Tensor, const Tensor&, const Tensor&,
                            absl::Span<const int64_t>) override {}
  void GroupedLinearInputGradient(Tensor, const Tensor&, const Tensor&,
                                  absl::Span<const int64_t>) override {}
  void GroupedLinearWeightGradient(Tensor, const Tensor&, const Tensor&,
                                   absl::Span<const int64_t>) override {}
  void RmsNormForward(Tensor, Tensor, const Tensor&, const Tensor&,
                      float) override {}
  void RmsNormBackward(Tensor, Tensor, const Tensor&, const Tensor&,
                       const Tensor&, const Tensor&) override {}
  void Rotary(Tensor, const Tensor&, const Tensor&, const AttentionShape&,
              bool) override {}
  void AttentionForward(Tensor, Tensor, const Tensor&, const Tensor&,
                        const AttentionShape&) override {}
  void AttentionBackward(Tensor, const Tensor&, const Tensor&, const Tensor&,
                         const Tensor&, const Tensor&,
                         const AttentionShape&) override {}
  void EmbeddingForward(Tensor, const Tensor&, const Tensor&,
                        int64_t) override {}
  void EmbeddingBackward(Tensor, const Tensor&, const Tensor&,
                         int64_t) override {}
  void LogitStatistics(Tensor, const Tensor&, const Tensor&, int64_t) override {
  }
  void MergeLogitStatistics(Tensor, const Tensor&) override {}
  void CrossEntropyLoss(Tensor, const Tensor&, const Tensor&) override {}
  void CrossEntropyGradient(Tensor, const Tensor&, const Tensor&, const Tensor&,
                            int64_t, float) override {}
  void RouterTopK(Tensor, Tensor, Tensor, Tensor, const Tensor&,
                  const TopKOptions&) override {}
  void ExpertLoad(Tensor, Tensor, const Tensor&, const Tensor&, int64_t,
                  int64_t) override {}
  void SumOfFirstChoices(Tensor, const Tensor&, const Tensor&) override {}
  void ChosenProbabilities(Tensor, const Tensor&, const Tensor&) override {}
  void ApplyCapacity(Tensor, const Tensor&, const Tensor&,
                     const CapacityOptions&) override {}
  void RouterBackward(Tensor, const Tensor&, const Tensor&, const Tensor&,
                      const Tensor&, const Tensor&, const Tensor&, float,
                      int64_t, int64_t, bool) override {}
  void SortChoices(Tensor choice_of_row_N, Tensor token_of_row_N,
                   Tensor row_of_choice_TK, Tensor counts_E,
                   const Tensor& expert_ids_TK) override;
  void OrderArrivals(Tensor, Tensor, absl::Span<const int64_t>,
                     int64_t) override {}
  void ChoicesOfChunk(Tensor chunk_ids_TK, const Tensor& expert_ids_TK,
                      const Tensor& row_of_choice_TK,
                      const ChunkOptions& options) override;
  void GatherRows(Tensor, const Tensor&, const Tensor&) override {}
  void SumRows(Tensor, const Tensor&, const Tensor&, bool) override {}
  void SwiGluForward(Tensor, const Tensor&, const Tensor&) override {}
  void SwiGluBackward(Tensor, Tensor, Tensor, const Tensor&, const Tensor&,
                      const Tensor&) override {}
  void Convert(Tensor, const Tensor&) override {}
  void Add(Tensor, const Tensor&) override {}
  void SetZero(Tensor) override {}
  void SumOfSquares(Tensor, const Tensor&) override {}
  int64_t FirstNonFinite(const Tensor&) override { return -1; }
  void AdamW(Tensor, Tensor, Tensor, Tensor, const Tensor&,
             const AdamWOptions&) override {}

 private:
  void PushProgress(std::function<void()>) override {}
  void PopProgress() override {}

  PlanContext& context_;
  const PlanLoad& load_;
  // The choices that ChoicesOfChunk made last, until they are sorted.
  const void* chunk_ids_ = nullptr;
};

}  // namespace moe

#endif  // MOE_PLAN_PLAN_KERNELS_H_
