#include "tests/guarded_kernels.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace moe {
namespace {

// Each kernel is the processor's, with the memory open around it; what it calls
// meanwhile (ProgressScope) finds it closed, if no other thread needs it.
class GuardedKernels final : public Kernels {
 public:
  GuardedKernels(int threads, GuardedContext& context)
      : context_(context),
        threads_(threads),
        kernels_(MakeCpuKernels(threads, context)) {}

  DeviceContext& context() const override { return context_; }
  absl::Status status() const override { return kernels_->status(); }
  std::vector<std::string> MatMulImplementations() const override {
    return kernels_->MatMulImplementations();
  }

  void LinearForward(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI,
                     bool accumulate) override {
    const GuardedMemoryOpen open(context_);
    kernels_->LinearForward(y_TO, x_TI, w_OI, accumulate);
  }
  void LinearInputGradient(Tensor d_x_TI, const Tensor& d_y_TO,
                           const Tensor& w_OI, bool accumulate) override {
    const GuardedMemoryOpen open(context_);
    kernels_->LinearInputGradient(d_x_TI, d_y_TO, w_OI, accumulate);
  }
  void LinearWeightGradient(Tensor d_w_OI, const Tensor& d_y_TO,
                            const Tensor& x_TI) override {
    const GuardedMemoryOpen open(context_);
    kernels_->LinearWeightGradient(d_w_OI, d_y_TO, x_TI);
  }
  void GroupedLinearForward(Tensor y_RO, const Tensor& x_RI,
                            const Tensor& w_eOI,
                            absl::Span<const int64_t> offsets) override {
    const GuardedMemoryOpen open(context_);
    kernels_->GroupedLinearForward(y_RO, x_RI, w_eOI, offsets);
  }
  void GroupedLinearInputGradient(Tensor d_x_RI, const Tensor& d_y_RO,
                                  const Tensor& w_eOI,
                                  absl::Span<const int64_t> offsets) override {
    const GuardedMemoryOpen open(context_);
    kernels_->GroupedLinearInputGradient(d_x_RI, d_y_RO, w_eOI, offsets);
  }
  void GroupedLinearWeightGradient(Tensor d_w_eOI, const Tensor& d_y_RO,
                                   const Tensor& x_RI,
                                   absl::Span<const int64_t> offsets) override {
    const GuardedMemoryOpen open(context_);
    kernels_->GroupedLinearWeightGradient(d_w_eOI, d_y_RO, x_RI, offsets);
  }
  void RmsNormForward(Tensor y_TD, Tensor inverse_rms_T, const Tensor& x_TD,
                      const Tensor& w_D, float epsilon) override {
    const GuardedMemoryOpen open(context_);
    kernels_->RmsNormForward(y_TD, inverse_rms_T, x_TD, w_D, epsilon);
  }
  void RmsNormBackward(Tensor d_x_TD, Tensor d_w_D, const Tensor& d_y_TD,
                       const Tensor& x_TD, const Tensor& w_D,
                       const Tensor& inverse_rms_T) override {
    const GuardedMemoryOpen open(context_);
    kernels_->RmsNormBackward(d_x_TD, d_w_D, d_y_TD, x_TD, w_D, inverse_rms_T);
  }
  void Rotary(Tensor qkv_TC, const Tensor& table_L2h, const Tensor& positions_T,
              const AttentionShape& shape, bool inverse) override {
    const GuardedMemoryOpen open(context_);
    kernels_->Rotary(qkv_TC, table_L2h, positions_T, shape, inverse);
  }
  void AttentionForward(Tensor y_TA, Tensor log_sum_exp_HT,
                        const Tensor& qkv_TC, const Tensor& positions_T,
                        const AttentionShape& shape) override {
    const GuardedMemoryOpen open(context_);
    kernels_->AttentionForward(y_TA, log_sum_exp_HT, qkv_TC, positions_T,
                               shape);
  }
  void AttentionBackward(Tensor d_qkv_TC, const Tensor& d_y_TA,
                         const Tensor& qkv_TC, const Tensor& y_TA,
                         const Tensor& log_sum_exp_HT,
                         const Tensor& positions_T,
                         const AttentionShape& shape) override {
    const GuardedMemoryOpen open(context_);
    kernels_->AttentionBackward(d_qkv_TC, d_y_TA, qkv_TC, y_TA, log_sum_exp_HT,
                                positions_T, shape);
  }
  void EmbeddingForward(Tensor x_TD, const Tensor& ids_T, const Tensor& w_VD,
                        int64_t first_id) override {
    const GuardedMemoryOpen open(context_);
    kernels_->EmbeddingForward(x_TD, ids_T, w_VD, first_id);
  }
  void EmbeddingBackward(Tensor d_w_VD, const Tensor& d_x_TD,
                         const Tensor& ids_T, int64_t first_id) override {
    const GuardedMemoryOpen open(context_);
    kernels_->EmbeddingBackward(d_w_VD, d_x_TD, ids_T, first_id);
  }
  void LogitStatistics(Tensor statistics_T3, const Tensor& logits_TV,
                       const Tensor& targets_T, int64_t first_id) override {
    const GuardedMemoryOpen open(context_);
    kernels_->LogitStatistics(statistics_T3, logits_TV, targets_T, first_id);
  }
  void MergeLogitStatistics(Tensor statistics_T3,
                            const Tensor& slices_PT3) override {
    const GuardedMemoryOpen open(context_);
    kernels_->MergeLogitStatistics(statistics_T3, slices_PT3);
  }
  void CrossEntropyLoss(Tensor loss_1, const Tensor& statistics_T3,
                        const Tensor& targets_T) override {
    const GuardedMemoryOpen open(context_);
    kernels_->CrossEntropyLoss(loss_1, statistics_T3, targets_T);
  }
  void CrossEntropyGradient(Tensor d_logits_TV, const Tensor& logits_TV,
                            const Tensor& statistics_T3,
                            const Tensor& targets_T, int64_t first_id,
                            float scale) override {
    const GuardedMemoryOpen open(context_);
    kernels_->CrossEntropyGradient(d_logits_TV, logits_TV, statistics_T3,
                                   targets_T, first_id, scale);
  }
  void RouterTopK(Tensor probabilities_TE, Tensor expert_ids_TK,
                  Tensor weights_TK, Tensor log_sum_exp_T,
                  const Tensor& logits_TE,
                  const TopKOptions& options) override {
    const GuardedMemoryOpen open(context_);
    kernels_->RouterTopK(probabilities_TE, expert_ids_TK, weights_TK,
                         log_sum_exp_T, logits_TE, options);
  }
  void ExpertLoad(Tensor counts_BE, Tensor probability_sums_BE,
                  const Tensor& expert_ids_TK, const Tensor& probabilities_TE,
                  int64_t first_token, int64_t length) override {
    const GuardedMemoryOpen open(context_);
    kernels_->ExpertLoad(counts_BE, probability_sums_BE, expert_ids_TK,
                         probabilities_TE, first_token, length);
  }
  void SumOfFirstChoices(Tensor sum_1, const Tensor& probabilities_TE,
                         const Tensor& expert_ids_TK) override {
    const GuardedMemoryOpen open(context_);
    kernels_->SumOfFirstChoices(sum_1, probabilities_TE, expert_ids_TK);
  }
  void ChosenProbabilities(Tensor chosen_TK, const Tensor& probabilities_TE,
                           const Tensor& expert_ids_TK) override {
    const GuardedMemoryOpen open(context_);
    kernels_->ChosenProbabilities(chosen_TK, probabilities_TE, expert_ids_TK);
  }
  void ApplyCapacity(Tensor kept_ids_TK, const Tensor& expert_ids_SK,
                     const Tensor& chosen_SK,
                     const CapacityOptions& options) override {
    const GuardedMemoryOpen open(context_);
    kernels_->ApplyCapacity(kept_ids_TK, expert_ids_SK, chosen_SK, options);
  }
  void RouterBackward(Tensor d_logits_TE, const Tensor& d_weights_TK,
                      const Tensor& balance_BE, const Tensor& probabilities_TE,
                      const Tensor& expert_ids_TK, const Tensor& weights_TK,
                      const Tensor& log_sum_exp_T, float z_scale,
                      int64_t first_token, int64_t length,
                      bool renormalize) override {
    const GuardedMemoryOpen open(context_);
    kernels_->RouterBackward(
        d_logits_TE, d_weights_TK, balance_BE, probabilities_TE, expert_ids_TK,
        weights_TK, log_sum_exp_T, z_scale, first_token, length, renormalize);
  }
  void SortChoices(Tensor choice_of_row_N, Tensor token_of_row_N,
                   Tensor row_of_choice_TK, Tensor counts_E,
                   const Tensor& expert_ids_TK) override {
    const GuardedMemoryOpen open(context_);
    kernels_->SortChoices(choice_of_row_N, token_of_row_N, row_of_choice_TK,
                          counts_E, expert_ids_TK);
  }
  void OrderArrivals(Tensor arrival_of_row_R, Tensor row_of_arrival_R,
                     absl::Span<const int64_t> counts_Pe,
                     int64_t num_local_experts) override {
    const GuardedMemoryOpen open(context_);
    kernels_->OrderArrivals(arrival_of_row_R, row_of_arrival_R, counts_Pe,
                            num_local_experts);
  }
  void ChoicesOfChunk(Tensor chunk_ids_TK, const Tensor& expert_ids_TK,
                      const Tensor& row_of_choice_TK,
                      const ChunkOptions& options) override {
    const GuardedMemoryOpen open(context_);
    kernels_->ChoicesOfChunk(chunk_ids_TK, expert_ids_TK, row_of_choice_TK,
                             options);
  }
  void GatherRows(Tensor y_ND, const Tensor& x_TD,
                  const Tensor& index_N) override {
    const GuardedMemoryOpen open(context_);
    kernels_->GatherRows(y_ND, x_TD, index_N);
  }
  void SumRows(Tensor y_TD, const Tensor& x_ND, const Tensor& index_TK,
               bool accumulate) override {
    const GuardedMemoryOpen open(context_);
    kernels_->SumRows(y_TD, x_ND, index_TK, accumulate);
  }
  void SwiGluForward(Tensor h_RF, const Tensor& gate_up_R2F,
                     const Tensor& weight_R) override {
    const GuardedMemoryOpen open(context_);
    kernels_->SwiGluForward(h_RF, gate_up_R2F, weight_R);
  }
  void SwiGluBackward(Tensor d_gate_up_R2F, Tensor d_weight_R, Tensor h_RF,
                      const Tensor& d_h_RF, const Tensor& gate_up_R2F,
                      const Tensor& weight_R) override {
    const GuardedMemoryOpen open(context_);
    kernels_->SwiGluBackward(d_gate_up_R2F, d_weight_R, h_RF, d_h_RF,
                             gate_up_R2F, weight_R);
  }
  void Convert(Tensor y, const Tensor& x) override {
    const GuardedMemoryOpen open(context_);
    kernels_->Convert(y, x);
  }
  void Add(Tensor y, const Tensor& x) override {
    const GuardedMemoryOpen open(context_);
    kernels_->Add(y, x);
  }
  void SetZero(Tensor x) override {
    const GuardedMemoryOpen open(context_);
    kernels_->SetZero(x);
  }
  void SumOfSquares(Tensor sum_1, const Tensor& x) override {
    const GuardedMemoryOpen open(context_);
    kernels_->SumOfSquares(sum_1, x);
  }
  int64_t FirstNonFinite(const Tensor& x) override {
    const GuardedMemoryOpen open(context_);
    return kernels_->FirstNonFinite(x);
  }
  void AdamW(Tensor weights, Tensor m, Tensor v, Tensor weights_copy,
             const Tensor& gradient, const AdamWOptions& options) override {
    const GuardedMemoryOpen open(context_);
    kernels_->AdamW(weights, m, v, weights_copy, gradient, options);
  }

 private:
  void PushProgress(std::function<void()> progress) override {
    scopes_.push_back(std::make_unique<ProgressScope>(
        *kernels_, [this, progress = std::move(progress)] {
          if (threads_ > 1) return progress();  // the others compute meanwhile
          const GuardedMemoryClosed closed(context_);
          progress();
        }));
  }
  void PopProgress() override { scopes_.pop_back(); }

  GuardedContext& context_;
  const int threads_;
  const std::unique_ptr<Kernels> kernels_;
  std::vector<std::unique_ptr<ProgressScope>> scopes_;
};

}  // namespace

std::unique_ptr<Kernels> MakeGuardedKernels(int threads,
                                            GuardedContext& context) {
  return std::make_unique<GuardedKernels>(threads, context);
}

}  // namespace moe
