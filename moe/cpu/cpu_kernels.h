#ifndef MOE_CPU_CPU_KERNELS_H_
#define MOE_CPU_CPU_KERNELS_H_

// The kernels of a CPU: what they keep between calls, and how they share a loop
// between threads.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "comm/base/buffer.h"
#include "comm/base/round_up.h"
#include "moe/kernels.h"

namespace moe::cpu {

class MatMulEngine;  // moe/cpu/matmul.h

// A piece of scratch memory for each thread, 64-byte aligned, holding whatever
// an earlier kernel left there.
class ThreadScratch {
 public:
  ThreadScratch() = default;
  ThreadScratch(std::byte* data, int64_t stride_bytes)
      : data_(data), stride_bytes_(stride_bytes) {}

  // The memory could not be had, which the status says: the kernel returns.
  bool is_null() const { return data_ == nullptr; }

  template <typename T>
  T* Get(int thread) const {
    return reinterpret_cast<T*>(data_ + thread * stride_bytes_);
  }

 private:
  std::byte* data_ = nullptr;
  int64_t stride_bytes_ = 0;
};

class CpuKernels final : public Kernels {
 public:
  // Starts the threads; ResourceExhausted in `status` where they cannot be had.
  CpuKernels(int threads, DeviceContext& context);
  ~CpuKernels() override;
  CpuKernels(const CpuKernels&) = delete;
  CpuKernels& operator=(const CpuKernels&) = delete;

  DeviceContext& context() const override { return context_; }
  absl::Status status() const override { return status_; }
  std::vector<std::string> MatMulImplementations() const override;

  void LinearForward(Tensor y_TO, const Tensor& x_TI, const Tensor& w_OI,
                     bool accumulate) override;
  void LinearInputGradient(Tensor d_x_TI, const Tensor& d_y_TO,
                           const Tensor& w_OI, bool accumulate) override;
  void LinearWeightGradient(Tensor d_w_OI, const Tensor& d_y_TO,
                            const Tensor& x_TI) override;
  void GroupedLinearForward(Tensor y_RO, const Tensor& x_RI,
                            const Tensor& w_eOI,
                            absl::Span<const int64_t> offsets) override;
  void GroupedLinearInputGradient(Tensor d_x_RI, const Tensor& d_y_RO,
                                  const Tensor& w_eOI,
                                  absl::Span<const int64_t> offsets) override;
  void GroupedLinearWeightGradient(Tensor d_w_eOI, const Tensor& d_y_RO,
                                   const Tensor& x_RI,
                                   absl::Span<const int64_t> offsets) override;
  void RmsNormForward(Tensor y_TD, Tensor inverse_rms_T, const Tensor& x_TD,
                      const Tensor& w_D, float epsilon) override;
  void RmsNormBackward(Tensor d_x_TD, Tensor d_w_D, const Tensor& d_y_TD,
                       const Tensor& x_TD, const Tensor& w_D,
                       const Tensor& inverse_rms_T) override;
  void Rotary(Tensor qkv_TC, const Tensor& table_L2h, const Tensor& positions_T,
              const AttentionShape& shape, bool inverse) override;
  void AttentionForward(Tensor y_TA, Tensor log_sum_exp_HT,
                        const Tensor& qkv_TC, const Tensor& positions_T,
                        const AttentionShape& shape) override;
  void AttentionBackward(Tensor d_qkv_TC, const Tensor& d_y_TA,
                         const Tensor& qkv_TC, const Tensor& y_TA,
                         const Tensor& log_sum_exp_HT,
                         const Tensor& positions_T,
                         const AttentionShape& shape) override;
  void EmbeddingForward(Tensor x_TD, const Tensor& ids_T, const Tensor& w_VD,
                        int64_t first_id) override;
  void EmbeddingBackward(Tensor d_w_VD, const Tensor& d_x_TD,
                         const Tensor& ids_T, int64_t first_id) override;
  void LogitStatistics(Tensor statistics_T3, const Tensor& logits_TV,
                       const Tensor& targets_T, int64_t first_id) override;
  void MergeLogitStatistics(Tensor statistics_T3,
                            const Tensor& slices_PT3) override;
  void CrossEntropyLoss(Tensor loss_1, const Tensor& statistics_T3,
                        const Tensor& targets_T) override;
  void CrossEntropyGradient(Tensor d_logits_TV, const Tensor& logits_TV,
                            const Tensor& statistics_T3,
                            const Tensor& targets_T, int64_t first_id,
                            float scale) override;
  void RouterTopK(Tensor probabilities_TE, Tensor expert_ids_TK,
                  Tensor weights_TK, Tensor log_sum_exp_T,
                  const Tensor& logits_TE, const TopKOptions& options) override;
  void ExpertLoad(Tensor counts_BE, Tensor probability_sums_BE,
                  const Tensor& expert_ids_TK, const Tensor& probabilities_TE,
                  int64_t first_token, int64_t length) override;
  void SumOfFirstChoices(Tensor sum_1, const Tensor& probabilities_TE,
                         const Tensor& expert_ids_TK) override;
  void ChosenProbabilities(Tensor chosen_TK, const Tensor& probabilities_TE,
                           const Tensor& expert_ids_TK) override;
  void ApplyCapacity(Tensor kept_ids_TK, const Tensor& expert_ids_SK,
                     const Tensor& chosen_SK,
                     const CapacityOptions& options) override;
  void RouterBackward(Tensor d_logits_TE, const Tensor& d_weights_TK,
                      const Tensor& balance_BE, const Tensor& probabilities_TE,
                      const Tensor& expert_ids_TK, const Tensor& weights_TK,
                      const Tensor& log_sum_exp_T, float z_scale,
                      int64_t first_token, int64_t length,
                      bool renormalize) override;
  void SortChoices(Tensor choice_of_row_N, Tensor token_of_row_N,
                   Tensor row_of_choice_TK, Tensor counts_E,
                   const Tensor& expert_ids_TK) override;
  void OrderArrivals(Tensor arrival_of_row_R, Tensor row_of_arrival_R,
                     absl::Span<const int64_t> counts_Pe,
                     int64_t num_local_experts) override;
  void ChoicesOfChunk(Tensor chunk_ids_TK, const Tensor& expert_ids_TK,
                      const Tensor& row_of_choice_TK,
                      const ChunkOptions& options) override;
  void GatherRows(Tensor y_ND, const Tensor& x_TD,
                  const Tensor& index_N) override;
  void SumRows(Tensor y_TD, const Tensor& x_ND, const Tensor& index_TK,
               bool accumulate) override;
  void SwiGluForward(Tensor h_RF, const Tensor& gate_up_R2F,
                     const Tensor& weight_R) override;
  void SwiGluBackward(Tensor d_gate_up_R2F, Tensor d_weight_R, Tensor h_RF,
                      const Tensor& d_h_RF, const Tensor& gate_up_R2F,
                      const Tensor& weight_R) override;
  void Convert(Tensor y, const Tensor& x) override;
  void Add(Tensor y, const Tensor& x) override;
  void SetZero(Tensor x) override;
  void SumOfSquares(Tensor sum_1, const Tensor& x) override;
  int64_t FirstNonFinite(const Tensor& x) override;
  void AdamW(Tensor weights, Tensor m, Tensor v, Tensor weights_copy,
             const Tensor& gradient, const AdamWOptions& options) override;

  // For the kernels' own use.

  int threads() const { return threads_; }

  // The first error wins. Outside of parallel regions only.
  void SetError(absl::Status error);

  void Progress() const {
    for (const std::function<void()>& progress : progress_) progress();
  }

  // At least `bytes_per_thread` for each thread, valid until the next call.
  // Grows and is kept. Outside of parallel regions only.
  ThreadScratch ReserveThreadScratch(int64_t bytes_per_thread);

  // Null if the library or the threads could not start, which the status says.
  MatMulEngine* matmul() const { return matmul_.get(); }

 private:
  void PushProgress(std::function<void()> progress) override {
    progress_.push_back(std::move(progress));
  }
  void PopProgress() override { progress_.pop_back(); }

  DeviceContext& context_;
  int threads_;
  absl::Status status_;
  std::vector<std::function<void()>> progress_;
  Buffer scratch_;
  std::unique_ptr<MatMulEngine> matmul_;
};

// A `grain` for rows that are but copied or added.
inline int64_t RowsForAThread(int64_t row_bytes) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, row_bytes));
}

// Calls body(begin, end), or body(begin, end, thread) with thread in
// [0, kernels.threads()), for consecutive pieces of [0, n), one a thread. Where
// the cuts fall depends on n and the number of threads only. Fewer than `grain`
// elements a thread are not worth a thread: then fewer share the work. The
// others come along all the same: OpenMP ends threads that a loop has no use
// for, and starts them anew for the next one.
template <typename Body>
void ParallelFor(const CpuKernels& kernels, int64_t n, int64_t grain,
                 const Body& body) {
  const auto call = [&body](int64_t begin, int64_t end, int thread) {
    if constexpr (std::is_invocable_v<Body, int64_t, int64_t, int>) {
      body(begin, end, thread);
    } else {
      body(begin, end);
    }
  };
  if (n <= 0) return;
  const int64_t useful = grain > 1 ? CeilDiv(n, grain) : n;
  const int pieces =
      useful < kernels.threads() ? static_cast<int>(useful) : kernels.threads();
  if (pieces <= 1) return call(0, n, 0);
#pragma omp parallel for schedule(static, 1) num_threads(kernels.threads())
  for (int piece = 0; piece < pieces; ++piece)
    call(n * piece / pieces, n * (piece + 1) / pieces, piece);
}

template <typename Body>
void ParallelFor(const CpuKernels& kernels, int64_t n, const Body& body) {
  ParallelFor(kernels, n, 1, body);
}

}  // namespace moe::cpu

#endif  // MOE_CPU_CPU_KERNELS_H_
