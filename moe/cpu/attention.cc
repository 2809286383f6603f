#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "moe/cpu/attention_unit.h"
#include "moe/cpu/cpu_kernels.h"
#include "moe/cpu/dispatch_dtype.h"
#include "moe/kernels.h"

// Letters: T tokens in sequences of L, H heads, G key/value heads, d head
// width, C = (H + 2 G) d, A = H d.

namespace moe::cpu {
namespace {

// unit(sequence, kv_head, scratch) for each unit; progress in between.
template <typename Unit>
void ForEachUnit(CpuKernels& kernels, const AttentionShape& shape,
                 int64_t num_tokens, int64_t scratch_floats, const Unit& unit) {
  if (num_tokens == 0) return;
  const ThreadScratch scratch = kernels.ReserveThreadScratch(
      scratch_floats * static_cast<int64_t>(sizeof(float)));
  if (scratch.is_null()) return;
  const int64_t num_units = num_tokens / shape.length * shape.kv_heads;
  std::atomic<bool> failed = false;
  ParallelFor(kernels, num_units, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      if (!unit(i / shape.kv_heads, i % shape.kv_heads,
                scratch.Get<float>(thread)))
        failed = true;
      if (thread == 0) kernels.Progress();
    }
  });
  if (failed)
    kernels.SetError(absl::InternalError("attention: oneDNN's sgemm failed"));
}

template <typename T>
void Forward(CpuKernels& kernels, const AttentionCall<T>& call) {
  ForEachUnit(kernels, call.shape, call.num_tokens,
              AttentionForwardScratch(call.shape),
              [&](int64_t sequence, int64_t kv_head, float* scratch) {
                return AttentionForwardUnit(call, sequence, kv_head, scratch);
              });
}

template <typename T>
void Backward(CpuKernels& kernels, const AttentionCall<T>& call) {
  ForEachUnit(kernels, call.shape, call.num_tokens,
              AttentionBackwardScratch(call.shape),
              [&](int64_t sequence, int64_t kv_head, float* scratch) {
                return AttentionBackwardUnit(call, sequence, kv_head, scratch);
              });
}

template <typename T>
AttentionCall<T> MakeCall(const AttentionShape& shape,
                          const Tensor& positions_T, const Tensor& qkv_TC,
                          const Tensor& y_TA, const Tensor& log_sum_exp_HT) {
  return {.shape = shape,
          .num_tokens = qkv_TC.dim(0),
          .positions_T =
              positions_T.is_null() ? nullptr : positions_T.data<int32_t>(),
          .qkv_TC = qkv_TC.data<T>(),
          .y_TA = y_TA.data<T>(),
          .log_sum_exp_HT = log_sum_exp_HT.data<float>()};
}

}  // namespace

void CpuKernels::AttentionForward(Tensor y_TA, Tensor log_sum_exp_HT,
                                  const Tensor& qkv_TC,
                                  const Tensor& positions_T,
                                  const AttentionShape& shape) {
  DispatchDType(qkv_TC.dtype(), [&]<typename T>() {
    Forward(*this,
            MakeCall<T>(shape, positions_T, qkv_TC, y_TA, log_sum_exp_HT));
  });
}

void CpuKernels::AttentionBackward(Tensor d_qkv_TC, const Tensor& d_y_TA,
                                   const Tensor& qkv_TC, const Tensor& y_TA,
                                   const Tensor& log_sum_exp_HT,
                                   const Tensor& positions_T,
                                   const AttentionShape& shape) {
  DispatchDType(qkv_TC.dtype(), [&]<typename T>() {
    AttentionCall<T> call =
        MakeCall<T>(shape, positions_T, qkv_TC, y_TA, log_sum_exp_HT);
    call.d_y_TA = d_y_TA.data<T>();
    call.d_qkv_TC = d_qkv_TC.data<T>();
    Backward(*this, call);
  });
}

}  // namespace moe::cpu
