#include <algorithm>
#include <cstdint>

#include "moe/cpu/dispatch_dtype.h"
#include "moe/cpu/kernel_context.h"
#include "moe/cpu/vector.h"
#include "moe/kernels.h"

// Letters: R rows at the experts, F expert hidden width. A row of gate_up is
// [gate | up].

namespace moe {
namespace {

// Rows that a thread is worth waking for.
int64_t Grain(int64_t F) { return std::max<int64_t>(1, 8192 / F); }

template <typename T>
void ForwardRow(T* h_F, const T* gate_F, const T* up_F, float weight,
                int64_t F) {
  ForEachVector(F, [&](int64_t i, int64_t lanes) {
    const Float8 gate = Load(gate_F + i, lanes);
    const Float8 up = Load(up_F + i, lanes);
    Store(h_F + i, gate * Sigmoid(gate) * (up * weight), lanes);
  });
}

// Returns d_weight: sum of d_h silu(gate) up.
template <typename T>
float BackwardRow(T* d_gate_F, T* d_up_F, const T* d_h_F, const T* gate_F,
                  const T* up_F, float weight, int64_t F) {
  Float8 d_weight8 = {};
  ForEachVector(F, [&](int64_t i, int64_t lanes) {
    const Float8 gate = Load(gate_F + i, lanes);
    const Float8 up = Load(up_F + i, lanes);
    const Float8 d_h = Load(d_h_F + i, lanes);
    const Float8 sigmoid = Sigmoid(gate);
    const Float8 silu = gate * sigmoid;
    const Float8 d_h_up = d_h * up;
    d_weight8 += d_h_up * silu;
    // silu'(g) = s + g s (1 - s) with s = sigmoid(g).
    Store(d_gate_F + i, d_h_up * weight * (sigmoid + silu * (1.0f - sigmoid)),
          lanes);
    Store(d_up_F + i, d_h * weight * silu, lanes);
  });
  return Sum(d_weight8);
}

}  // namespace

void SwiGluForward(KernelContext& context, Tensor h_RF,
                   const Tensor& gate_up_R2F, const Tensor& weight_R) {
  if (h_RF.size() == 0) return;
  const int64_t F = h_RF.dim(1);
  const float* weight = weight_R.is_null() ? nullptr : weight_R.data<float>();
  DispatchDType(h_RF.dtype(), [&]<typename T>() {
    T* h = h_RF.data<T>();
    const T* gate_up = gate_up_R2F.data<T>();
    ParallelFor(context, h_RF.dim(0), Grain(F),
                [&](int64_t begin, int64_t end) {
                  for (int64_t r = begin; r < end; ++r) {
                    const T* gate = gate_up + 2 * r * F;
                    ForwardRow(h + r * F, gate, gate + F,
                               weight == nullptr ? 1 : weight[r], F);
                  }
                });
  });
}

void SwiGluBackward(KernelContext& context, Tensor d_gate_up_R2F,
                    Tensor d_weight_R, const Tensor& d_h_RF,
                    const Tensor& gate_up_R2F, const Tensor& weight_R) {
  if (d_h_RF.size() == 0) return;
  const int64_t F = d_h_RF.dim(1);
  const float* weight = weight_R.is_null() ? nullptr : weight_R.data<float>();
  float* d_weight = d_weight_R.is_null() ? nullptr : d_weight_R.data<float>();
  DispatchDType(d_h_RF.dtype(), [&]<typename T>() {
    const T* d_h = d_h_RF.data<T>();
    const T* gate_up = gate_up_R2F.data<T>();
    T* d_gate_up = d_gate_up_R2F.data<T>();
    ParallelFor(
        context, d_h_RF.dim(0), Grain(F), [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            const T* gate = gate_up + 2 * r * F;
            T* d_gate = d_gate_up + 2 * r * F;
            const float d_weight_r =
                BackwardRow(d_gate, d_gate + F, d_h + r * F, gate, gate + F,
                            weight == nullptr ? 1 : weight[r], F);
            if (d_weight != nullptr) d_weight[r] = d_weight_r;
          }
        });
  });
}

}  // namespace moe
